//! Tests of Azure's three kinds of URLs, over loopback.

use llm_providers::{
    OpenAi,
    llm_core::{Error, Provider},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use crate::streaming::question;

/// Returns the request line and the headers, in lower case, of a call that the client sends to an endpoint.
async fn head(client: impl FnOnce(&str) -> Result<OpenAi, Error>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = client(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
    let serve = async {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut seen = Vec::new();
        while !seen.ends_with(b"}") {
            assert_ne!(socket.read_buf(&mut seen).await.unwrap(), 0, "a whole request comes");
        }
        socket.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\n{}").await.unwrap();
        String::from_utf8(seen).unwrap().to_lowercase()
    };
    let (reply, seen) = tokio::join!(client.chat(question()), serve);
    assert!(reply.is_err());
    seen
}

#[tokio::test]
async fn azure_sends_to_v1_url() {
    let head = head(|endpoint| OpenAi::azure(endpoint, "the-key")).await;
    assert!(head.starts_with("post /openai/v1/chat/completions http/1.1\r\n"), "{head}");
    assert!(head.contains("\r\napi-key: the-key\r\n"), "{head}");
}

#[tokio::test]
async fn azure_deployments_sends_to_deployment_url() {
    let model = question().body.model.to_lowercase();
    let head = head(|endpoint| OpenAi::azure_deployments(endpoint, "2024-10-21", "the-key")).await;
    let line = format!("post /openai/deployments/{model}/chat/completions?api-version=2024-10-21 http/1.1\r\n");
    assert!(head.starts_with(&line), "{head}");
    assert!(head.contains("\r\napi-key: the-key\r\n") && !head.contains("authorization"), "{head}");
}

#[tokio::test]
async fn azure_foundry_sends_to_models_url() {
    let head = head(|endpoint| OpenAi::azure_foundry(endpoint, "2024-05-01-preview", "the-key")).await;
    let line = "post /models/chat/completions?api-version=2024-05-01-preview http/1.1\r\n";
    assert!(head.starts_with(line), "{head}");
    assert!(head.contains("\r\napi-key: the-key\r\n"), "{head}");
}

#[test]
fn azure_deployments_refuses_invalid_api_version() {
    for version in ["", "2024 10", "2024-10-21&x=1", "../v1"] {
        assert!(
            OpenAi::azure_deployments("https://example.openai.azure.com", version, "the-key").is_err(),
            "{version}"
        );
        assert!(OpenAi::azure_foundry("https://example.openai.azure.com", version, "the-key").is_err(), "{version}");
    }
}
