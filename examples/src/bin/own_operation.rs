//! Sends an operation of the application through the stack, and then a new version of it. Entries of the old version
//! are never served to the new one. They serve a rollback, until they expire or are invalidated.
//!
//! `cargo run -p examples --bin own_operation`

use llm_cache::{Cache, CacheLayer, Tag};
use llm_core::layer::{Fingerprinter, oneshot};
use llm_core::{BoxError, Call, ChatRequest, ChatResponse, Error, Operation, Task, Tasks};
use llm_providers::OpenAi;

/// Task that names a product.
#[derive(Clone)]
struct NameProduct {
    prompt: &'static str,
    description: String,
}

impl Operation for NameProduct {
    type Output = String;
    const NAME: &'static str = "name_product";

    fn model(&self) -> &str {
        "gpt-4o-mini"
    }

    fn fingerprint(&self, h: &mut Fingerprinter) {
        h.text(self.prompt).text(&self.description);
    }
}

impl Task for NameProduct {
    fn to_request(&self) -> ChatRequest {
        ChatRequest::new(self.model()).system(self.prompt).user(self.description.as_str())
    }

    fn parse_response(&self, response: ChatResponse) -> Result<String, Error> {
        Ok(response.text().into_owned())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    // A simulated vendor in this process. A real one: `OpenAi::new(key)?`.
    let client = OpenAi::with_transport("no-real-key", llm_testkit::Vendor::new().transport())?;
    let cache = Cache::builder("products").build()?;
    let stack = tower::ServiceBuilder::new().layer(CacheLayer::new(cache.clone())).layer_fn(Tasks::new).service(client);
    let [v1, v2] = [("v1", "Name the product."), ("v2", "Name the product in two words.")];
    for (version, prompt) in [v1, v1, v2, v1] {
        let task = NameProduct { prompt, description: "A kettle that sings.".into() };
        let reply = oneshot(stack.clone(), Call::new("acme", task).with_label("prompt", version)?).await?;
        println!("{version}: {} ({:?})", reply.output, reply.receipt.origin());
    }
    // No rollback is planned, so the entries of the first version are invalidated at once.
    Ok(cache.invalidate(Tag::label("prompt", "v1")).await?)
}
