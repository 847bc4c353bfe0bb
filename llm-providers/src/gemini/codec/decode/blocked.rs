use llm_core::{Charge, Error, ErrorKind};
use serde_json::Value;

use super::super::fields::Fields;

/// Returns the error of a response without candidates whose prompt was blocked; `None` if the prompt was not blocked.
pub(crate) fn blocked(fields: &Fields) -> Option<Error> {
    let any = fields.get("candidates").and_then(Value::as_array).is_some_and(|list| !list.is_empty());
    let feedback = fields.get("promptFeedback").filter(|_| !any)?;
    let reason = match feedback.get("blockReason")? {
        Value::String(reason) => reason.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    let message = match feedback.get("blockReasonMessage").and_then(Value::as_str) {
        Some(message) => format!("the prompt was blocked ({reason}): {message}"),
        None => format!("the prompt was blocked ({reason})"),
    };
    Some(Error::new(ErrorKind::ContentFiltered, message).with_code(reason).with_charge(Charge::Unknown))
}
