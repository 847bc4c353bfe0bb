//! Tests that price data in vendors' responses reach the ledger through the clients.

use llm_providers::{
    Anthropic, Gemini, Ledger,
    ledger::Row,
    llm_core::{Call, ChatRequest, Provider, into_provider, into_service},
    prices,
};
use serde_json::{Value, json};
use tower::ServiceBuilder;

use crate::streaming::{Canned, block_on};

/// Returns the totals after one unary and one streamed call, whether they fail or not.
fn booked(provider: impl Provider + 'static, model: &str) -> Row {
    asked(provider, ChatRequest::new(model).user("hi"))
}

fn asked(provider: impl Provider + 'static, request: ChatRequest) -> Row {
    let ledger = Ledger::new(prices::all());
    let provider = std::sync::Arc::new(provider);
    let stack = into_provider(ServiceBuilder::new().layer(ledger.attempts()).service(into_service(provider)));
    let call = || Call::new("acme", request.clone());
    block_on(async {
        drop(stack.chat(call()).await);
        if let Ok(reply) = stack.chat_stream(call()).await {
            drop(reply.output.complete().await);
        }
    });
    ledger.snapshot().total().clone()
}

fn unary(response: &Value) -> Canned {
    Canned::response("application/json", [response.to_string()])
}

fn anthropic(canned: Canned) -> Row {
    booked(Anthropic::with_transport("sk-ant-test", canned).unwrap(), "claude-opus-5-5")
}

fn message(usage: &Value) -> Value {
    json!({"id": "1", "model": "claude-opus-5-5", "content": [{"type": "text", "text": "yes"}], "stop_reason": "end_turn",
        "usage": usage})
}

#[test]
fn surcharges_of_anthropic_are_booked() {
    let usage = json!({"input_tokens": 1_000, "output_tokens": 100, "inference_geo": "us", "speed": "fast"});
    // (1,000 × $4 + 100 × $20) per million, × 1.1 × 2, for each of two calls.
    let list = 2 * (1_000 * 4_000 + 100 * 20_000);
    assert_eq!(anthropic(unary(&message(&usage))).paid.nanos(), list * 22 / 10);
    let events = [
        json!({"type": "message_start", "message": {"id": "1", "model": "claude-opus-5-5", "content": [], "usage": usage}}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "yes"}}),
        json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 100}}),
        json!({"type": "message_stop"}),
    ];
    let text: String = events.iter().map(|event| format!("data: {event}\n\n")).collect();
    let row = anthropic(Canned::events([text]));
    assert_eq!(
        (row.paid.nanos(), row.unconfirmed.count),
        (list / 2 * 22 / 10, 1),
        "the whole response was no such text"
    );
}

#[test]
fn surcharge_of_request_counts_if_unstated() {
    let list = 2 * (1_000 * 4_000 + 100 * 20_000);
    let paid = |stated: Value| {
        let mut usage = json!({"input_tokens": 1_000, "output_tokens": 100});
        usage.as_object_mut().unwrap().extend(stated.as_object().unwrap().clone());
        let request = ChatRequest::new("claude-opus-5-5").user("hi");
        let request = request.extra("speed", "fast").extra("inference_geo", "us");
        let events = [
            json!({"type": "message_start", "message": {"model": "claude-opus-5-5", "usage": usage}}),
            json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 100}}),
            json!({"type": "message_stop"}),
        ];
        let events = events.map(|event| format!("data: {event}\n\n"));
        let [whole, streamed] = [unary(&message(&usage)), Canned::events(events)]
            .map(|canned| asked(Anthropic::with_transport("sk-ant-test", canned).unwrap(), request.clone()));
        assert_eq!(whole.paid.nanos(), 2 * streamed.paid.nanos(), "stated whole, it can be read twice");
        whole.paid.nanos() * 10 / list
    };
    assert_eq!(paid(json!({})), 22);
    assert_eq!(paid(json!({"speed": null, "inference_geo": null})), 22);
    assert_eq!(paid(json!({"speed": "standard"})), 11);
    assert_eq!(paid(json!({"inference_geo": "not_available"})), 20);
    assert_eq!(paid(json!({"speed": "standard", "inference_geo": "global"})), 10);
}

#[test]
fn surcharge_unknown_makes_attempt_unpriced() {
    for more in [json!({"inference_geo": "eu"}), json!({"speed": "ludicrous"})] {
        let mut usage = json!({"input_tokens": 1, "output_tokens": 1});
        usage.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let row = anthropic(unary(&message(&usage)));
        assert_eq!((row.paid.nanos(), row.unpriced_attempts), (0, 2), "{more}");
    }
}

#[test]
fn surcharges_of_openai_regional_host_are_booked() {
    let response = json!({"id": "1", "model": "gpt-5.6", "choices": [{"index": 0, "finish_reason": "stop",
        "message": {"role": "assistant", "content": "yes"}}], "usage": {"prompt_tokens": 1_000, "completion_tokens": 100}});
    let list = 2 * (1_000 * 4_000 + 100 * 20_000);
    for (host, cost) in [("api.openai.com", list), ("eu.api.openai.com", list / 10 * 11), ("example.com", list)] {
        let client = unary(&response).client().base_url(&format!("https://{host}/v1")).unwrap();
        assert_eq!(booked(client, "gpt-5.6").paid.nanos(), cost, "{host}");
    }
}

#[test]
fn attempts_failed_response_costs_own_tier() {
    let blocked = json!({"promptFeedback": {"blockReason": "SAFETY"}, "modelVersion": "gemini-2.5-flash",
        "usageMetadata": {"promptTokenCount": 1_000, "serviceTier": "priority"}});
    let row = booked(Gemini::with_transport("key", unary(&blocked)).unwrap(), "gemini-2.5-flash");
    assert_eq!(row.paid.nanos(), 2 * 1_000 * 540);
    let stream = Canned::events([format!("data: {blocked}\n\n")]);
    let row = booked(Gemini::with_transport("key", stream).unwrap(), "gemini-2.5-flash");
    assert_eq!(row.paid.nanos(), 1_000 * 540);

    let usage = json!({"input_tokens": 1_000, "output_tokens": 0, "service_tier": "batch", "inference_geo": "us"});
    let hollow = json!({"id": "1", "model": "claude-opus-5-5", "usage": usage});
    assert_eq!(anthropic(unary(&hollow)).paid.nanos(), 2 * 1_000 * 2_200);

    let hollow = json!({"model": "gpt-5", "service_tier": "flex", "choices": null,
        "usage": {"prompt_tokens": 1_000, "completion_tokens": 0}});
    assert_eq!(booked(unary(&hollow).client(), "gpt-5").paid.nanos(), 2 * 1_000 * 625);
}
