//! Tests of the paths of each format. A client with a wrong base URL must not receive a response.

use crate::client::{ask, prompt};
use bytes::Bytes;
use http::{Method, Request};
use llm_testkit::{Flavor, Vendor};
use serde_json::json;

/// Returns the status of a call that is correct except, perhaps, for its path.
async fn status(flavor: Flavor, path: &str) -> u16 {
    let mut body = prompt("one");
    body["max_tokens"] = json!(9);
    body["input"] = json!("a");
    body["contents"] = json!([{"role": "user", "parts": [{"text": "one"}]}]);
    let method = if path.ends_with("/models") { Method::GET } else { Method::POST };
    let request = Request::builder().method(method).uri(path);
    let request = match path {
        path if path.contains("messages") => request.header("x-api-key", "k").header("anthropic-version", "2023-06-01"),
        path if path.contains(':') => request.header("x-goog-api-key", "k"),
        _ => request.header("authorization", "Bearer k"),
    };
    let request = request.body(Bytes::from(body.to_string())).expect("a request");
    ask(&Vendor::builder().flavor(flavor).build(), request).await.status.as_u16()
}

const FLAVORS: [(Flavor, &[&str]); 8] = [
    (Flavor::OpenAi, &["/v1"]),
    (Flavor::Azure, &["/openai/v1", "/models", "/openai/deployments/d"]),
    (Flavor::Mistral, &["/v1"]),
    (Flavor::DeepSeek, &["", "/v1", "/beta"]),
    (Flavor::Groq, &["/openai/v1"]),
    (Flavor::OpenRouter, &["/api/v1"]),
    (Flavor::Ollama, &["/v1"]),
    (Flavor::Vllm, &["/v1"]),
];

#[tokio::test]
async fn flavor_is_served_at_own_paths_only() {
    let others = ["", "/v1", "/v1/v1", "/v2", "/api", "/api/v1", "/openai", "/openai/v1", "/any/v1", "/v1beta"];
    for (flavor, prefixes) in FLAVORS {
        assert!(prefixes.contains(&flavor.path_prefix()), "{flavor:?}");
        for of in ["chat/completions", "embeddings"] {
            for prefix in others.iter().chain(prefixes) {
                let expected = if prefixes.contains(prefix) { 200 } else { 404 };
                let path = format!("{prefix}/{of}");
                assert_eq!(status(flavor, &path).await, expected, "{flavor:?}: {path}");
            }
        }
        let models = format!("{}/models", flavor.path_prefix());
        assert_eq!(status(flavor, &models).await, 200, "{flavor:?}");
        let doubled = format!("{}/chat/completions/chat/completions", flavor.path_prefix());
        assert_eq!(status(flavor, &doubled).await, 404, "{flavor:?}");
    }
}

#[tokio::test]
async fn anthropic_and_gemini_have_exact_paths() {
    for (path, expected) in [
        ("/v1/messages", 200),
        ("/v1/messages/count_tokens", 200),
        ("/messages", 404),
        ("/v1/v1/messages", 404),
        ("/anthropic/v1/messages", 404),
        ("/v1/messages/messages", 404),
        ("/v1beta/models/m:generateContent", 200),
        ("/v1/models/m:generateContent", 200),
        ("/v1beta/tunedModels/m:generateContent", 200),
        ("/v1/projects/p/locations/l/publishers/google/models/m:generateContent", 200),
        ("/models/m:generateContent", 404),
        ("/v1beta/m:generateContent", 404),
        ("/v1beta/v1beta/models/m:generateContent", 404),
        ("/v1beta/models/models/m:generateContent", 404),
        ("/v2/models/m:generateContent", 404),
    ] {
        assert_eq!(status(Flavor::OpenAi, path).await, expected, "{path}");
    }
}

#[tokio::test]
async fn base_url_has_prefix_of_flavor() {
    for (flavor, _) in FLAVORS {
        let server = Vendor::builder().flavor(flavor).build().serve().await;
        assert_eq!(server.base_url(), format!("{}{}", server.origin(), flavor.path_prefix()));
    }
}
