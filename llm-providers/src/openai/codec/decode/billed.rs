use llm_core::Usd;
use serde_json::Value;

use crate::protocol::{dollars, fields::Fields};

/// Returns the amount that the server states it billed, in `usage.cost`, as OpenRouter and similar gateways do. Returns
/// `None` if the server states no amount, or if the vendor behind it also billed the caller's own key and the server
/// does not state how much.
pub(crate) fn billed(fields: &Fields) -> Option<Usd> {
    let usage = fields.get("usage")?;
    let cost = dollars(usage.get("cost")?)?;
    match usage.get("is_byok") {
        // `cost` is only the server's own fee, because the vendor behind it bills the caller's key.
        Some(Value::Bool(true)) => Some(cost + dollars(usage.get("cost_details")?.get("upstream_inference_cost")?)?),
        _ => Some(cost),
    }
}
