//! Tests of responses that violate the schema of their request.

use std::sync::Arc;

use llm_cache::{Cache, CacheBuilder, CacheLayer};
use llm_core::{Call, ChatRequest, Provider, chat::ResponseFormat, into_provider};
use llm_providers::scripted::{Rule, Scripted};
use serde_json::json;
use tower::ServiceBuilder;

fn over(builder: CacheBuilder, upstream: &Scripted) -> (Cache, Arc<dyn Provider>) {
    let cache = builder.build().expect("the settings are right");
    let layers = ServiceBuilder::new().layer(CacheLayer::new(cache.clone()));
    (cache, into_provider(layers.service(upstream.clone())))
}

async fn said(provider: &dyn Provider, call: Call<ChatRequest>) -> String {
    provider.chat(call).await.expect("the vendor answers").output.text().into_owned()
}

#[tokio::test(start_paused = true)]
async fn conforms_false_response_is_served_not_stored() {
    let schema = json!({
        "type": "object",
        "properties": {"stars": {"type": "integer"}},
        "required": ["stars"],
        "additionalProperties": false,
    });
    let object = ResponseFormat::JsonObject;
    let typed = ResponseFormat::json_schema("score", schema);
    let cases = [
        (typed.clone(), r#"{"stars": 4}"#, true),
        (typed.clone(), r#"{"stars": "four"}"#, false),
        (typed.clone(), r#"{"points": 4}"#, false),
        (typed.clone(), r#"{"stars": 4, "why": ""}"#, false),
        (typed, "4 stars", false),
        (object.clone(), "{}", true),
        (object, "[]", false),
        (ResponseFormat::Text, "4 stars", true),
    ];
    for (format, response, is_kept) in cases {
        let upstream = Scripted::new().rule(Rule::say(response));
        let (cache, provider) = over(Cache::builder("t"), &upstream);
        let call = || Call::new("acme", ChatRequest::new("m").user("q").response_format(format.clone()));
        assert_eq!(said(&*provider, call()).await, response);
        crate::upstream::read(provider.chat_stream(call()).await.unwrap().output).await.unwrap();
        assert_eq!(cache.stats().entries, u64::from(is_kept), "{response} for {format:?}");
        assert_eq!(upstream.calls(), if is_kept { 1 } else { 2 });
    }
}
