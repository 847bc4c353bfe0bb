//! Puts a cache and a ledger under async-openai's own client, for plain and streamed responses.
//!
//! `cargo run --release -p examples --features async-openai --bin under_async_openai`, with no key: it calls a
//! simulated vendor, and ends.

use async_openai::types::chat::{
    ChatCompletionRequestUserMessageArgs, CreateChatCompletionRequest, CreateChatCompletionRequestArgs,
};
use examples::under_async_openai::Application;
use futures_util::StreamExt;
use llm_core::BoxError;
use llm_testkit::Vendor;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    // List prices of gpt-4o-mini: nano-dollars for a million tokens of input, cached input, output.
    let vendor = Vendor::builder().price("", 150_000_000, 75_000_000, 600_000_000).build();
    let server = vendor.serve().await;
    let Application { client, ledger } = Application::new(&server.base_url())?;

    for scenario in ["a login form", "a search field", "a login form"] {
        let request = chat_request(scenario)?;
        let response = client.chat().create(request.clone()).await?;
        let text = response.choices.first().and_then(|choice| choice.message.content.as_deref()).unwrap_or_default();
        let mut stream = client.chat().create_stream(request).await?;
        let mut streamed = String::new();
        while let Some(chunk) = stream.next().await {
            streamed.extend(chunk?.choices.into_iter().filter_map(|choice| choice.delta.content));
        }
        println!("{scenario}: {} bytes, streamed {}", text.len(), if streamed == text { "the same" } else { "others" });
    }
    println!("\n{}", ledger.snapshot());
    println!("6 responses, {} calls to the vendor; its texts and prices are simulated", vendor.calls());
    Ok(())
}

fn chat_request(scenario: &str) -> Result<CreateChatCompletionRequest, BoxError> {
    let text = format!("Write test cases for: {scenario}");
    let message = ChatCompletionRequestUserMessageArgs::default().content(text).build()?;
    let request = CreateChatCompletionRequestArgs::default().model("gpt-4o-mini").messages([message.into()]).build()?;
    Ok(request)
}
