//! Creates providers of many vendors and servers, each by one address as a line of configuration has it.
//!
//! `cargo run -p examples --bin vendors`

use llm_core::{BoxError, Call, ChatRequest};
use llm_providers::from_url;
use llm_testkit::{Flavor, Vendor};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    // Real addresses are `openai:`, `anthropic:`, … Here the address and the variable of the key are those of the
    // simulated vendor.
    for (address, flavor) in [
        ("openai+http://HOST/v1?key=KEY", Flavor::OpenAi),
        ("anthropic+http://HOST/v1?key=KEY", Flavor::OpenAi),
        ("gemini+http://HOST/v1beta?key=KEY", Flavor::OpenAi),
        ("azure+http://HOST?key=KEY&api-version=2024-10-21", Flavor::Azure),
        ("mistral+http://HOST/v1?key=KEY", Flavor::Mistral),
        ("groq+http://HOST/openai/v1?key=KEY", Flavor::Groq),
        ("deepseek+http://HOST?key=KEY", Flavor::DeepSeek),
        ("openrouter+http://HOST/api/v1?key=KEY", Flavor::OpenRouter),
        ("ollama+http://HOST/v1", Flavor::Ollama),
        ("vllm+http://HOST/v1", Flavor::Vllm),
        ("openai+http://HOST/v1", Flavor::Vllm),
    ] {
        let server = Vendor::builder().flavor(flavor).build().serve().await;
        let url = address.replace("HOST", &server.address().to_string());
        let provider = from_url(&url, |name| (name == "KEY").then(|| "no-real-key".into()))?;
        let reply = provider.chat(Call::new("acme", ChatRequest::new("gpt-4o-mini").user("hello"))).await?;
        println!("{address}: {}", reply.output.text());
    }
    Ok(())
}
