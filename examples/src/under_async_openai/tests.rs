use std::time::Duration;

use async_openai::{
    error::OpenAIError,
    traits::RequestOptionsBuilder,
    types::{
        chat::{CreateChatCompletionRequest, CreateChatCompletionResponse, CreateChatCompletionStreamResponse},
        embeddings::{CreateEmbeddingRequest, EncodingFormat},
    },
};
use futures_util::StreamExt;
use llm_testkit::{Fault, RetryForm, Rule, Server, Vendor};
use serde_json::{Value, json};

use super::*;

async fn start(vendor: Vendor) -> (Application, Vendor, Server) {
    let server = vendor.serve().await;
    (Application::new(&server.base_url()).unwrap(), vendor, server)
}

/// Returns `async-openai`'s client without a layer under it.
fn plain(server: &Server) -> Client<OpenAIConfig> {
    Client::with_config(OpenAIConfig::new().with_api_key("no-real-key").with_api_base(server.base_url()))
}

fn chat_request() -> CreateChatCompletionRequest {
    read(json!({"model": "gpt-4o-mini", "temperature": 0.0, "messages": [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": [{"type": "text", "text": "What is this?"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,cG5n", "detail": "low"}}]}]}))
}

fn with_tools() -> CreateChatCompletionRequest {
    read(json!({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Is it raining in Paris?"}],
        "tool_choice": "required", "tools": [{"type": "function", "function": {"name": "weather", "strict": true,
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}]}))
}

fn read<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

async fn stream(
    client: &Client<OpenAIConfig>,
    request: CreateChatCompletionRequest,
) -> Vec<Result<CreateChatCompletionStreamResponse, OpenAIError>> {
    client.chat().create_stream(request).await.unwrap().collect().await
}

/// Returns the content of a stream: its texts, and the names and arguments of its tool calls.
fn said(chunks: &[Result<CreateChatCompletionStreamResponse, OpenAIError>]) -> (String, String) {
    let (mut text, mut calls) = (String::new(), String::new());
    for choice in chunks.iter().flat_map(|chunk| &chunk.as_ref().unwrap().choices) {
        text.push_str(choice.delta.content.as_deref().unwrap_or_default());
        for function in choice.delta.tool_calls.iter().flatten().flat_map(|call| &call.function) {
            calls.push_str(function.name.as_deref().unwrap_or_default());
            calls.push_str(function.arguments.as_deref().unwrap_or_default());
        }
    }
    (text, calls)
}

fn text(response: &CreateChatCompletionResponse) -> &str {
    response.choices[0].message.content.as_deref().unwrap()
}

/// Returns a response without fields that differ from call to call, and without empty ones: null, zero, no annotations.
fn content(response: &CreateChatCompletionResponse) -> Value {
    let mut value = serde_json::to_value(response).unwrap();
    for name in ["id", "created", "system_fingerprint"] {
        value.as_object_mut().unwrap().remove(name);
    }
    prune(&mut value);
    value
}

fn prune(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.values_mut().for_each(prune);
            fields.retain(|name, value| name == "index" || ![json!(null), json!(0), json!([])].contains(value));
        }
        Value::Array(list) => list.iter_mut().for_each(prune),
        _ => {}
    }
}

#[tokio::test]
async fn async_openai_returns_plain_clients_response() {
    let (application, vendor, server) = start(Vendor::builder().cached_percent(50).build()).await;
    for request in [chat_request(), with_tools()] {
        let before = vendor.calls();
        let expected = plain(&server).chat().create(request.clone()).await.unwrap();
        let first = application.client.chat().create(request.clone()).await.unwrap();
        let second = application.client.chat().create(request).await.unwrap();
        assert_eq!(content(&first), content(&expected));
        assert_eq!(first, second);
        assert_eq!(vendor.calls() - before, 2, "one of the plain client, one of ours");
    }
    let sent: Vec<Value> = vendor.requests().iter().map(|sent| serde_json::from_slice(sent.body()).unwrap()).collect();
    assert_eq!((&sent[0], &sent[2]), (&sent[1], &sent[3]), "both clients send the same request");
}

#[tokio::test]
async fn async_openai_serves_second_stream_from_cache() {
    let (application, vendor, server) = start(Vendor::new()).await;
    for request in [chat_request(), with_tools()] {
        let before = vendor.calls();
        let expected = said(&stream(&plain(&server), request.clone()).await);
        let first = stream(&application.client, request.clone()).await;
        let second = stream(&application.client, request).await;
        assert!(first.len() > 2);
        assert_eq!([said(&first), said(&second)], [expected.clone(), expected]);
        assert_eq!(vendor.calls() - before, 2, "one of the plain client, one of ours");
        let reason = first.iter().flat_map(|chunk| &chunk.as_ref().unwrap().choices).find_map(|c| c.finish_reason);
        assert!(reason.is_some());
    }
}

#[tokio::test]
async fn async_openai_cache_serves_streams_and_responses() {
    let (application, vendor, _server) = start(Vendor::new()).await;
    let whole = application.client.chat().create(chat_request()).await.unwrap();
    assert_eq!(said(&stream(&application.client, chat_request()).await).0, text(&whole));
    let called = said(&stream(&application.client, with_tools()).await).1;
    let whole = application.client.chat().create(with_tools()).await.unwrap();
    let call = serde_json::to_value(&whole.choices[0].message.tool_calls.as_ref().unwrap()[0]).unwrap();
    let function = &call["function"];
    assert_eq!(called, format!("{}{}", function["name"].as_str().unwrap(), function["arguments"].as_str().unwrap()));
    assert_eq!(vendor.calls(), 2);
}

#[tokio::test]
async fn async_openai_stream_usage_only_on_request() {
    let (application, vendor, _server) = start(Vendor::new()).await;
    let usages = |chunks: &[Result<CreateChatCompletionStreamResponse, OpenAIError>]| -> Vec<_> {
        chunks.iter().filter_map(|chunk| chunk.as_ref().unwrap().usage.clone()).collect()
    };
    assert_eq!(usages(&stream(&application.client, chat_request()).await), []);
    let mut request = chat_request();
    request.stream_options = Some(read(json!({"include_usage": true})));
    let stated = usages(&stream(&application.client, request).await);
    let bill = vendor.bills()[0].clone();
    assert_eq!((stated.len(), u64::from(stated[0].prompt_tokens)), (1, bill.input_tokens));
    assert_eq!((u64::from(stated[0].completion_tokens), vendor.calls()), (bill.output_tokens, 1));
}

#[tokio::test]
async fn embeddings_are_those_of_the_plain_client() {
    let (application, vendor, server) = start(Vendor::new()).await;
    let request: CreateEmbeddingRequest = read(json!({"model": "text-embedding-3-small", "input": ["one", "two"]}));
    let expected = plain(&server).embeddings().create(request.clone()).await.unwrap();
    let first = application.client.embeddings().create(request.clone()).await.unwrap();
    let second = application.client.embeddings().create(request.clone()).await.unwrap();
    let packed = CreateEmbeddingRequest { encoding_format: Some(EncodingFormat::Base64), ..request };
    let packed = application.client.embeddings().create_base64(packed).await.unwrap();
    assert_eq!((&first.data, &second.data), (&expected.data, &expected.data));
    let unpacked: Vec<Vec<f32>> = packed.data.into_iter().map(|packed| packed.embedding.into()).collect();
    assert_eq!(unpacked, expected.data.iter().map(|vector| vector.embedding.clone()).collect::<Vec<_>>());
    assert_eq!(vendor.calls(), 2, "one of the plain client, one of ours");
}

#[tokio::test]
async fn async_openai_refusal_is_not_retried() {
    let (application, vendor, _server) = start(Vendor::new()).await;
    vendor.script(Rule::new(Fault::rate_limited(Duration::from_millis(1), RetryForm::Seconds)));
    let error = application.client.chat().create(chat_request()).await.unwrap_err();
    let OpenAIError::ApiError(error) = error else { panic!("{error:?}") };
    assert_eq!((error.status_code.as_u16(), error.api_error.code.as_deref()), (429, Some("rate_limit_exceeded")));
    let streamed = application.client.chat().create_stream(chat_request()).await.err().unwrap();
    assert!(matches!(streamed, OpenAIError::ApiError(error) if error.status_code.as_u16() == 429));
    assert_eq!(vendor.calls(), 2);
}

#[tokio::test]
async fn async_openai_broken_stream_ends_with_error() {
    let (application, vendor, _server) = start(Vendor::new()).await;
    vendor.script(Rule::new(Fault::CutAfter(4)));
    let chunks = stream(&application.client, chat_request()).await;
    assert!(chunks.len() > 1 && chunks[..chunks.len() - 1].iter().all(Result::is_ok));
    assert!(chunks.last().unwrap().is_err());
}

#[tokio::test]
async fn async_openai_refuses_invalid_request_unsent() {
    let (application, vendor, _server) = start(Vendor::new()).await;
    let empty: CreateChatCompletionRequest = read(json!({"model": "gpt-4o-mini", "messages": []}));
    let error = application.client.chat().create(empty).await.unwrap_err();
    assert!(matches!(error, OpenAIError::ApiError(error) if error.status_code.as_u16() == 400));
    assert_eq!(vendor.calls(), 0);
}

#[tokio::test]
async fn async_openai_header_names_tenant() {
    let vendor = Vendor::new();
    let server = vendor.serve().await;
    let cache = Cache::builder("tenants").ttl(llm_cache::Ttl::unlimited()).build().unwrap();
    let vendors = OpenAi::new("no-real-key").unwrap().base_url(&server.base_url()).unwrap();
    let provider = into_provider(ServiceBuilder::new().layer(CacheLayer::new(cache)).service(vendors));
    let layer = ProviderLayer::new(provider).tenant_header(reqwest::header::HeaderName::from_static("x-tenant"));
    let client = plain(&server).with_http_service(layer.layer(ReqwestService::default()));
    for tenant in ["acme", "other", "acme"] {
        client.chat().header("x-tenant", tenant).unwrap().create(chat_request()).await.unwrap();
    }
    client.chat().create(chat_request()).await.unwrap();
    assert_eq!(vendor.calls(), 3, "acme's is its own, and so is that of nobody named");
}
