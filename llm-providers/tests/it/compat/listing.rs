//! Tests of lists of models and token counts.

use llm_providers::{
    OpenAi,
    llm_core::{Charge, ChatRequest, ErrorKind},
};
use llm_testkit::Vendor;
use serde_json::json;

use crate::streaming::{Canned, block_on};

use crate::codec::openai::Dialect;

#[test]
fn list_models_reads_details() {
    let list = json!({"object": "list", "data": [
        {"id": "a", "object": "model", "created": 1, "owned_by": "x"},
        {"id": "b", "name": "B", "context_length": 1_000, "top_provider": {"max_completion_tokens": 100}},
        {"id": "c", "max_model_len": 2_000}, {"no": "id"}]});
    let client =
        OpenAi::with_dialect(Dialect::OPENROUTER, None, Canned::response("application/json", [list.to_string()]))
            .unwrap();
    let models = block_on(client.models(None)).unwrap();
    let stated: Vec<_> = models.iter().map(|m| (&*m.id, m.name.as_deref(), m.input_limit, m.output_limit)).collect();
    assert_eq!(
        stated,
        [("a", None, None, None), ("b", Some("B"), Some(1_000), Some(100)), ("c", None, Some(2_000), None)]
    );
    assert_eq!(models[0].extra.get("owned_by"), Some(&"x".into()));
}

#[tokio::test]
async fn list_models_sends_key_without_body() {
    let vendor = Vendor::builder().keys(["sk-test"]).models(["m-1", "m-2"]).build();
    let server = vendor.serve().await;
    let client = OpenAi::new("sk-test").unwrap().base_url(&server.base_url()).unwrap();
    let ids: Vec<_> = client.models(None).await.unwrap().into_iter().map(|model| model.id).collect();
    assert_eq!(ids.len(), 2);
    let request = vendor.requests().remove(0);
    assert_eq!((request.method().as_str(), request.body().len()), ("GET", 0));
    assert!(!request.headers().contains_key("content-type"));
    let stranger = OpenAi::new("sk-other").unwrap().base_url(&server.base_url()).unwrap();
    let error = stranger.models(None).await.unwrap_err();
    assert_eq!((error.kind(), error.charge()), (ErrorKind::Authentication, Charge::None));
}

#[test]
fn count_tokens_is_unsupported() {
    for dialect in [Dialect::OPENAI, Dialect::MISTRAL] {
        let client = OpenAi::with_dialect(dialect, None, Canned::response("application/json", ["{}"])).unwrap();
        let error = block_on(client.count_tokens(&ChatRequest::new("m").user("hi"), None)).unwrap_err();
        assert!(error.kind() == ErrorKind::Unsupported && error.message().contains(dialect.name), "{error}");
    }
}

#[test]
fn azure_calls_have_header_and_version() {
    block_on(async {
        let vendor = Vendor::builder().flavor(llm_testkit::Flavor::Azure).build();
        let client = OpenAi::with_dialect(Dialect::AZURE, Some("the-key".into()), vendor.transport()).unwrap();
        let client = client.deployments("2024-10-21").unwrap().base_url("http://h.test/openai/").unwrap();
        let call = llm_providers::llm_core::Call::new("t", ChatRequest::new("my dep").user("hi"));
        let reply = llm_providers::llm_core::Provider::chat(&client, call).await.unwrap();
        assert_eq!(reply.receipt.accounting().provider.as_deref(), Some("azure"));
        let request = vendor.requests().remove(0);
        let address = "http://h.test/openai/deployments/my%20dep/chat/completions?api-version=2024-10-21";
        assert_eq!(request.uri(), address);
        assert_eq!(request.headers()["api-key"], "the-key");
        assert!(request.headers()["api-key"].is_sensitive() && !request.headers().contains_key("authorization"));
        let error = client.api_version("a&b").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest);
    });
}
