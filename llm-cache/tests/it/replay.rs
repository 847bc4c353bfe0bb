//! Tests of the whole stack with each vendor: a stream is replayed exactly, for streamed and for unary callers.

use std::{sync::Arc, time::Duration};

use futures_util::StreamExt;
use llm_cache::{Cache, CacheLayer};
use llm_core::{
    Call, ChatEvent, ChatRequest, ChatStream, Error, FinishReason, Origin, Part, Provider, Receipt, Tool, Usage,
    chat::ToolChoice, into_provider,
};
use llm_providers::{Anthropic, Gemini, Ledger, OpenAi, prices};
use llm_testkit::{Latency, Vendor};
use serde_json::json;
use tower::ServiceBuilder;

fn vendor() -> Vendor {
    Vendor::builder()
        .response_tokens(12..=12)
        .reasoning_tokens(9)
        .cached_percent(40)
        .latency(Latency::fixed(Duration::from_millis(20), Duration::from_millis(2)))
        .build()
}

/// Returns a stack with a cache and a ledger in front of a vendor's client.
fn stack<S>(client: S, cache: &Cache, ledger: &Ledger) -> Arc<dyn Provider>
where
    S: Clone + Send + Sync + 'static,
    S: llm_core::layer::LlmService<ChatRequest>,
    S: llm_core::layer::LlmService<llm_core::layer::Streamed<ChatRequest>>,
    S: llm_core::layer::LlmService<llm_core::EmbedRequest>,
{
    let layers = ServiceBuilder::new().layer(ledger.requests()).layer(CacheLayer::new(cache.clone()));
    into_provider(layers.layer(ledger.attempts()).service(client))
}

/// Assembled content of a stream: text, reasoning, signatures, tool calls, finish reason and usage.
#[derive(Debug, Default, PartialEq)]
struct Said {
    text: String,
    reasoning: String,
    seals: Vec<String>,
    calls: Vec<(String, String)>,
    finish: Option<FinishReason>,
    usage: Option<Usage>,
}

async fn read(mut stream: ChatStream) -> Result<Said, Error> {
    let mut said = Said::default();
    while let Some(event) = stream.next().await {
        match event? {
            ChatEvent::Text { text, .. } => said.text += &text,
            ChatEvent::Reasoning { text, .. } => said.reasoning += &text,
            ChatEvent::PartEnd { signature: Some(seal), .. } => said.seals.push(seal.to_string()),
            ChatEvent::ToolCall { name, .. } => said.calls.push((name.to_string(), String::new())),
            ChatEvent::ToolArguments { fragment, .. } => {
                said.calls.last_mut().expect("a call begins before its arguments").1 += &fragment;
            }
            ChatEvent::Finish { reason, .. } => said.finish = Some(reason),
            ChatEvent::Usage(usage) => said.usage = Some(usage),
            _ => {}
        }
    }
    Ok(said)
}

fn question(model: &str, thinking: (&str, serde_json::Value), tools: bool) -> Call<ChatRequest> {
    let mut request = ChatRequest::new(model).system("Be brief.").user("What is the weather in Lima?");
    request = request.extra(thinking.0, thinking.1).max_output_tokens(4_000);
    if tools {
        let parameters = json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]});
        request = request.tool(Tool::function("weather", "looks it up", parameters)).tool_choice(ToolChoice::Required);
    }
    Call::new("acme", request)
}

async fn replays_exactly(name: &str, provider: Arc<dyn Provider>, vendor: &Vendor, call: Call<ChatRequest>) {
    let first = provider.chat_stream(call.clone()).await.expect(name);
    assert_eq!(first.receipt.origin(), Origin::Vendor, "{name}");
    let (live, receipt): (Said, Receipt) = (read(first.output).await.expect(name), first.receipt);
    assert!(live.usage.is_some() && live.finish.is_some(), "{name}: {live:?}");

    let again = provider.chat_stream(call.clone()).await.expect(name);
    assert!(matches!(again.receipt.origin(), Origin::Cache { .. }), "{name}");
    assert_eq!(again.receipt.usage(), receipt.usage(), "{name}");
    assert_eq!(read(again.output).await.expect(name), live, "{name}");

    let whole = provider.chat(call).await.expect(name);
    assert_eq!(whole.output.text(), live.text, "{name}");
    let calls: Vec<_> = whole.output.tool_calls().map(|c| (c.name.to_string(), c.arguments.to_string())).collect();
    assert_eq!(calls, live.calls, "{name}");
    let choice = &whole.output.choices[0];
    assert_eq!(choice.reasoning(), live.reasoning, "{name}");
    let seals = choice.parts.iter().filter_map(|part| match part {
        Part::Reasoning(thought) => thought.signature.as_deref().map(str::to_owned),
        _ => None,
    });
    assert_eq!(seals.collect::<Vec<_>>(), live.seals, "{name}");
    assert_eq!(vendor.calls(), 1, "{name}");
}

#[tokio::test(start_paused = true)]
async fn cached_stream_replays_exactly_for_each_vendor() {
    for tools in [false, true] {
        let (cache, ledger) = (|| Cache::builder("vendors").build().expect("it is right"), Ledger::new(prices::all()));

        let anthropic = vendor();
        let client = Anthropic::with_transport("no-real-key", anthropic.transport()).expect("a header value");
        let thinking = ("thinking", json!({"type": "enabled", "budget_tokens": 1_024}));
        // Anthropic's models cannot be forced to call a tool while they think.
        let thinking = if tools { ("metadata", json!({"user_id": "u"})) } else { thinking };
        let call = question("claude-sonnet-4-5", thinking, tools);
        replays_exactly("anthropic", stack(client, &cache(), &ledger), &anthropic, call).await;

        let gemini = vendor();
        let client = Gemini::with_transport("no-real-key", gemini.transport()).expect("a header value");
        let thinking = ("generationConfig", json!({"thinkingConfig": {"includeThoughts": true}}));
        let call = question("gemini-2.5-flash", thinking, tools);
        replays_exactly("gemini", stack(client, &cache(), &ledger), &gemini, call).await;

        let openai = vendor();
        let client = OpenAi::with_transport("no-real-key", openai.transport()).expect("a header value");
        let call = question("gpt-4o-mini", ("verbosity", json!("low")), tools);
        replays_exactly("openai", stack(client, &cache(), &ledger), &openai, call).await;

        assert!(ledger.snapshot().balance().is_balanced(), "{}", ledger.snapshot());
    }
}
