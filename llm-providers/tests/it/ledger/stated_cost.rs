//! Tests that the amount which a vendor states as billed counts if the table lists no price.

use std::sync::Arc;

use llm_providers::{
    Ledger,
    ledger::Row,
    llm_core::{Call, ChatRequest, Usd, into_provider, into_service, price::PriceTable},
    prices,
};
use serde_json::{Value, json};
use tower::ServiceBuilder;

use crate::streaming::{Canned, block_on};

use crate::codec::openai::Dialect;

const MODEL: &str = "openai/gpt-oss-120b";

fn books(table: &PriceTable, dialect: Dialect, canned: Canned, streamed: bool) -> (Row, Option<Usd>) {
    let ledger = Ledger::new(table.clone());
    let client = llm_providers::Client::with_dialect(dialect, Some("sk-test".to_owned().into()), canned).unwrap();
    let layers = ServiceBuilder::new().layer(ledger.requests()).layer(ledger.attempts());
    let provider = into_provider(layers.service(into_service(Arc::new(client))));
    let call = Call::new("acme", ChatRequest::new(MODEL).user("hi"));
    let paid = block_on(async {
        if streamed {
            let reply = provider.chat_stream(call).await.unwrap();
            let receipt = reply.receipt.clone();
            reply.output.complete().await.unwrap();
            receipt.paid().exact()
        } else {
            provider.chat(call).await.unwrap().receipt.paid().exact()
        }
    });
    let snapshot = ledger.snapshot();
    assert!(snapshot.balance().is_balanced(), "{snapshot}");
    (snapshot.total().clone(), paid)
}

/// Returns the amounts booked for a unary and a streamed response with this usage, in nano-dollars; `None` if unknown.
fn paid(table: &PriceTable, dialect: Dialect, usage: &Value) -> Option<i64> {
    let whole = json!({"id": "1", "model": MODEL, "usage": usage,
        "choices": [{"index": 0, "message": {"content": "yes"}, "finish_reason": "stop"}]});
    let chunks = [
        json!({"id": "1", "model": MODEL, "choices": [{"index": 0, "delta": {"content": "yes"}, "finish_reason": null}]}),
        json!({"id": "1", "model": MODEL, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}),
        json!({"id": "1", "model": MODEL, "choices": [], "usage": usage}),
    ];
    let stream: String = chunks.iter().map(|chunk| format!("data: {chunk}\n\n")).collect();
    let whole = Canned::response("application/json", [whole.to_string()]);
    let [whole, streamed] = [(whole, false), (Canned::events([stream + "data: [DONE]\n\n"]), true)]
        .map(|(canned, streamed)| books(table, dialect, canned, streamed));
    assert_eq!(
        (whole.1, whole.0.paid, whole.0.unpriced_attempts),
        (streamed.1, streamed.0.paid, streamed.0.unpriced_attempts)
    );
    whole.1.map(Usd::nanos)
}

fn usage(further: Value) -> Value {
    let mut usage = json!({"prompt_tokens": 1_000, "completion_tokens": 100, "total_tokens": 1_100});
    usage.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
    usage
}

#[test]
fn stated_cost_counts_without_providers_row() {
    let all = prices::all();
    let openrouter = |further| paid(&all, Dialect::OPENROUTER, &usage(further));
    assert_eq!(openrouter(json!({"cost": 0.000049})), Some(49_000), "not by Groq's row");
    assert_eq!(openrouter(json!({"cost": 8.6e-05, "is_byok": false})), Some(86_000));
    assert_eq!(openrouter(json!({"cost": 0})), Some(0), "a free model");
    assert_eq!(openrouter(json!({})), None);
    for unusable in [json!(-1), json!("0.1"), json!(1e12), json!({"total": 1}), json!(null)] {
        assert_eq!(openrouter(json!({"cost": unusable})), None);
    }
    let groq = 1_000 * 150 + 100 * 600;
    assert_eq!(paid(&all, Dialect::GROQ, &usage(json!({"cost": 0.5}))), Some(groq), "the table's own row counts");
}

#[test]
fn stated_cost_includes_bill_of_own_key() {
    let own_key = |details: Value| {
        let further = json!({"cost": 0.001, "is_byok": true, "cost_details": details});
        paid(&prices::all(), Dialect::OPENROUTER, &usage(further))
    };
    assert_eq!(own_key(json!({"upstream_inference_cost": 0.02})), Some(21_000_000));
    assert_eq!(own_key(json!({"upstream_inference_cost": null})), None, "the larger part is unknown");
}

#[test]
fn stated_zero_without_usage_is_unknown() {
    let zero = json!({"prompt_tokens": null, "cost": 0});
    assert_eq!(paid(&prices::all(), Dialect::OPENROUTER, &zero), None);
    let some = json!({"prompt_tokens": null, "cost": 0.01});
    assert_eq!(paid(&prices::all(), Dialect::OPENROUTER, &some), Some(10_000_000));
}

#[test]
fn alias_prices_what_states_no_cost() {
    let table = prices::all().alias(MODEL, "openai/gpt-oss-20b");
    assert_eq!(paid(&table, Dialect::AZURE, &usage(json!({}))), Some(1_000 * 75 + 100 * 300));
    assert_eq!(paid(&table, Dialect::OPENROUTER, &usage(json!({"cost": 0.5}))), Some(500_000_000));
}

#[test]
fn groq_on_demand_is_standard_service() {
    let whole = json!({"id": "1", "model": MODEL, "service_tier": "on_demand", "usage": usage(json!({})),
        "choices": [{"index": 0, "message": {"content": "yes"}, "finish_reason": "stop"}]});
    let canned = Canned::response("application/json", [whole.to_string()]);
    let (_, paid) = books(&prices::groq(), Dialect::GROQ, canned, false);
    assert_eq!(paid.map(Usd::nanos), Some(1_000 * 150 + 100 * 600));
}
