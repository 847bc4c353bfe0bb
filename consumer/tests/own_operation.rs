//! An application's own operation that implements only what is required, through the README's stack.

use std::{sync::Arc, time::Duration};

use llm_cache::{Cache, CacheLayer};
use llm_providers::{
    Ledger, OpenAi,
    llm_core::{
        Call, ChatRequest, ChatResponse, Error, Operation, Origin, Task, Tasks,
        layer::{Fingerprinter, oneshot},
    },
    prices,
    retry::RetryLayer,
};
use llm_testkit::Vendor;
use tower::ServiceBuilder;

/// Task that names a product. It was written for the first release of the traits, and is unchanged since.
#[derive(Clone)]
struct NameProduct {
    description: Arc<str>,
}

impl Operation for NameProduct {
    type Output = String;

    const NAME: &'static str = "name_product";

    fn model(&self) -> &str {
        "gpt-4o-mini"
    }

    fn fingerprint(&self, h: &mut Fingerprinter) {
        h.text("prompt v1").text(&self.description);
    }
}

impl Task for NameProduct {
    fn to_request(&self) -> ChatRequest {
        ChatRequest::new(self.model()).system("Name the product.").user(Arc::clone(&self.description))
    }

    fn parse_response(&self, response: ChatResponse) -> Result<String, Error> {
        Ok(response.text().into_owned())
    }
}

#[tokio::test(start_paused = true)]
async fn own_operation_is_cached_and_booked() {
    let vendor = Vendor::new();
    let cache = Cache::builder("products").ttl(Duration::from_secs(60)).build().expect("the settings agree");
    let ledger = Ledger::new(prices::openai());
    let stack = ServiceBuilder::new()
        .layer(ledger.requests())
        .layer(CacheLayer::new(cache))
        .layer(RetryLayer::new())
        .layer(ledger.attempts())
        .layer_fn(Tasks::new)
        .service(OpenAi::with_transport("no-real-key", vendor.transport()).expect("the key is a header value"));
    let request = NameProduct { description: "A kettle that sings.".into() };
    let mut origins = Vec::new();
    for _ in 0..2 {
        let reply = oneshot(stack.clone(), Call::new("acme", request.clone())).await.expect("the vendor answers");
        origins.push(reply.receipt.origin());
        assert!(!reply.output.is_empty());
    }
    assert!(matches!(origins[..], [Origin::Vendor, Origin::Cache { .. }]), "{origins:?}");
    assert_eq!((vendor.calls(), ledger.snapshot().total().attempts), (1, 1));
    assert!(request.with_model("another".into()).is_none(), "it does not say how");
    assert_eq!(request.affinity(), 0);
}
