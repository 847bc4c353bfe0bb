//! Tests of the responses that are stored, and of the requests whose responses are stored.

use std::sync::Arc;

use llm_cache::{Cache, CacheLayer};
use llm_core::{
    Call, ChatRequest, ChatResponse, Choice, FinishReason, Origin, Part, Provider, ToolCall, chat::Reasoning,
    into_provider,
};
use llm_providers::scripted::{Rule, Scripted};
use serde_json::json;
use tower::ServiceBuilder;

use crate::upstream::{ask, read};

fn over(upstream: &Scripted) -> (Cache, Arc<dyn Provider>) {
    let cache = Cache::builder("t").build().expect("the settings are right");
    let layers = ServiceBuilder::new().layer(CacheLayer::new(cache.clone()));
    (cache, into_provider(layers.service(upstream.clone())))
}

/// Returns a response with one choice for each of `choices`.
fn response(choices: Vec<(Vec<Part>, FinishReason)>) -> ChatResponse {
    let choices = (0..).zip(choices).map(|(index, (parts, finish))| Choice::new(index, parts, finish));
    ChatResponse::new("id", "m", choices.collect())
}

#[tokio::test(start_paused = true)]
async fn is_cacheable_only_for_complete_responses() {
    use FinishReason::{ContentFilter, Failed, Length, Other, Stop, ToolCalls, Unknown};
    let said = || vec![Part::text("x")];
    let refusal = || Part::Refusal { text: "no".into() };
    let called = || {
        vec![Part::ToolCall(ToolCall {
            name: "search".into(),
            arguments: r#"{"q": "x"}"#.into(),
            ..ToolCall::default()
        })]
    };
    let cases = [
        ("cut short", response(vec![(said(), Length)]), false),
        ("filtered", response(vec![(said(), ContentFilter)]), false),
        ("ended without a reason", response(vec![(said(), Unknown)]), false),
        ("refused", response(vec![(vec![refusal()], Stop)]), false),
        ("refused after some words", response(vec![(vec![Part::text("x"), refusal()], Stop)]), false),
        ("nothing said", response(vec![(vec![], Stop)]), false),
        ("one of two cut short", response(vec![(said(), Stop), (said(), Length)]), false),
        ("one of two refused", response(vec![(vec![refusal()], Stop), (said(), Stop)]), false),
        ("a call cut short", response(vec![(called(), Length)]), false),
        ("whole", response(vec![(said(), Stop)]), true),
        ("two, whole", response(vec![(said(), Stop), (said(), Stop)]), true),
        ("a call", response(vec![(called(), ToolCalls)]), true),
        ("broken off by the vendor", response(vec![(said(), Failed("abort".into()))]), false),
        ("ended by an unknown word", response(vec![(said(), Other("end_turn".into()))]), false),
        ("reasoning alone", response(vec![(vec![Part::Reasoning(Reasoning::default())], Stop)]), false),
        ("a call without a name", response(vec![(vec![Part::ToolCall(ToolCall::default())], ToolCalls)]), false),
    ];
    for (what, response, is_kept) in cases {
        for streamed in [false, true] {
            let upstream = Scripted::new().rule(Rule::respond(response.clone()));
            let (cache, provider) = over(&upstream);
            for _ in 0..2 {
                if streamed {
                    read(provider.chat_stream(ask("q")).await.unwrap().output).await.unwrap();
                } else {
                    assert_eq!(provider.chat(ask("q")).await.unwrap().output.choices, response.choices, "{what}");
                }
            }
            let counted = (cache.stats().entries, upstream.calls());
            assert_eq!(counted, if is_kept { (1, 1) } else { (0, 2) }, "{what}, streamed: {streamed}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn is_cacheable_false_without_choices() {
    let upstream = Scripted::new().rule(Rule::respond(response(vec![])));
    let (cache, provider) = over(&upstream);
    for _ in 0..2 {
        provider.chat(ask("q")).await.unwrap();
    }
    assert_eq!((cache.stats().entries, upstream.calls()), (0, 2));
}

#[tokio::test(start_paused = true)]
async fn is_self_contained_false_is_never_stored() {
    for field in ChatRequest::OUTSIDE_FIELDS {
        for streamed in [false, true] {
            let upstream = Scripted::new();
            let (cache, provider) = over(&upstream);
            let call = || Call::new("acme", ChatRequest::new("m").user("q").extra(field, json!({"id": "x"})));
            for _ in 0..2 {
                let origin = match streamed {
                    true => {
                        let reply = provider.chat_stream(call()).await.unwrap();
                        read(reply.output).await.unwrap();
                        reply.receipt.origin()
                    }
                    false => provider.chat(call()).await.unwrap().receipt.origin(),
                };
                assert_eq!(origin, Origin::Vendor, "{field}");
            }
            assert_eq!((cache.stats().entries, upstream.calls()), (0, 2), "{field}");
        }
    }
    // Fields that ask a vendor to search, to use external tools, or to read content that the vendor keeps.
    for field in ["enable_search", "mcp_servers", "plugins", "prompt", "search_parameters", "web_search_options"] {
        assert!(ChatRequest::OUTSIDE_FIELDS.contains(&field), "{field}");
    }
}
