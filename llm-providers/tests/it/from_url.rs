//! Tests of providers by URL: each vendor and server in one line.

use llm_providers::{
    from_url,
    llm_core::{Call, ChatRequest, ErrorKind},
};
use llm_testkit::{Flavor, Server, Vendor};

const KEY: &str = "sk-test-0123456789";

fn lookup(name: &str) -> Option<String> {
    (name == "OWN_KEY").then(|| KEY.to_owned())
}

fn message(url: &str, lookup: impl Fn(&str) -> Option<String>) -> String {
    let error = from_url(url, lookup).map(|_| ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidRequest);
    assert!(!error.message().contains("secret"), "{error}");
    error.message().to_owned()
}

#[tokio::test]
async fn from_url_reaches_every_vendors_address() {
    type Address = fn(&Server) -> String;
    let base: Address = |server| server.base_url();
    let rows: [(_, _, Address, _); 12] = [
        ("openai", Flavor::OpenAi, base, ""),
        ("anthropic", Flavor::OpenAi, base, ""),
        ("gemini", Flavor::OpenAi, |server| format!("{}/v1beta", server.origin()), ""),
        ("gemini-openai", Flavor::OpenAi, base, ""),
        ("azure", Flavor::Azure, |server| server.origin(), "&api-version=2024-10-21"),
        ("mistral", Flavor::Mistral, base, ""),
        ("groq", Flavor::Groq, base, ""),
        ("deepseek", Flavor::DeepSeek, base, ""),
        ("openrouter", Flavor::OpenRouter, base, ""),
        ("ollama", Flavor::Ollama, base, ""),
        ("vllm", Flavor::Vllm, base, ""),
        ("openai", Flavor::Ollama, base, ""),
    ];
    for (vendor, flavor, address, options) in rows {
        let simulated = Vendor::builder().keys([KEY]).flavor(flavor).build();
        let server = simulated.serve().await;
        let url = format!("{vendor}+{}?key=OWN_KEY{options}", address(&server));
        let provider = from_url(&url, lookup).unwrap_or_else(|error| panic!("{vendor}: {error}"));
        let call = Call::new("acme", ChatRequest::new("gpt-4o-mini").user("hello"));
        let reply = provider.chat(call).await.unwrap_or_else(|error| panic!("{vendor}: {error}"));
        let name = reply.receipt.accounting().provider.unwrap();
        assert!(vendor.starts_with(&*name), "{vendor}: {name}");
        assert_eq!(simulated.calls(), 1, "{vendor}");
    }
}

#[test]
fn from_url_uses_vendors_own_key() {
    for (vendor, variable) in [
        ("openai", "OPENAI_API_KEY"),
        ("anthropic", "ANTHROPIC_API_KEY"),
        ("gemini", "GEMINI_API_KEY"),
        ("gemini-openai", "GEMINI_API_KEY"),
        ("mistral", "MISTRAL_API_KEY"),
        ("groq", "GROQ_API_KEY"),
        ("deepseek", "DEEPSEEK_API_KEY"),
        ("openrouter", "OPENROUTER_API_KEY"),
        ("azure+https://example.openai.azure.com", "AZURE_OPENAI_API_KEY"),
        ("azure-foundry+https://example.services.ai.azure.com?api-version=2024-05-01-preview", "AZURE_OPENAI_API_KEY"),
    ] {
        let url = if vendor.contains('+') { vendor.to_owned() } else { format!("{vendor}:") };
        assert!(from_url(&url, |name| (name == variable).then(|| KEY.to_owned())).is_ok(), "{url}");
        for unset in [None, Some(String::new())] {
            assert!(message(&url, |_| unset.clone()).contains(&format!("set {variable}")), "{url}");
        }
    }
    for url in ["ollama:", "vllm:", "openai+http://localhost:11434/v1", " ollama+http://ollama.internal:11434/v1 "] {
        assert!(from_url(url, |_| None).is_ok(), "{url}");
    }
}

#[tokio::test]
async fn from_url_protects_key_from_http() {
    let vendor = Vendor::builder().keys([KEY]).build();
    let server = vendor.serve().await;
    for scheme in ["http:", "HTTP:", "hTTp:"] {
        let address = server.base_url().replacen("http:", scheme, 1);
        let provider = from_url(&format!("openai+{address}"), |_| Some(KEY.to_owned())).unwrap();
        let refused =
            provider.chat(Call::new("acme", ChatRequest::new("gpt-4o-mini").user("hello"))).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Authentication, "{scheme}");
    }
}

#[test]
fn from_url_errors_say_what_to_write() {
    let any = |_: &str| Some(KEY.to_owned());
    for (url, what) in [
        ("", "write openai:"),
        ("openai", "write openai:"),
        ("https://secret.example/v1", "write openai:"),
        ("opneai:", "one of openai, anthropic"),
        ("openai:?secret=1", "other than key"),
        ("openai:?api-version=2024-10-21", "no api-version"),
        ("openai:?key=", "names no variable"),
        ("openai:?key=sk-secret", "names no variable"),
        ("openai:?key=AIzaSecret", "names no variable"),
        ("openai:?key=A&key=B", "twice"),
        ("azure+https://h?api-version=1&api-version=2", "twice"),
        ("openai+ftp://secret/v1", "neither http nor https"),
        ("azure:", "azure+https://example.openai.azure.com"),
        ("azure+http://localhost:1", "?key=NAME"),
        ("azure-foundry+https://example.services.ai.azure.com", "?api-version="),
    ] {
        assert!(message(url, any).contains(what), "{url}: {}", message(url, any));
    }
}
