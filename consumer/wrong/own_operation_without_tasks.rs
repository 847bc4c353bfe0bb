//! An application's own operation reaches a client, which does not know it.

use llm_cache::{Cache, CacheLayer};
use llm_providers::{
    OpenAi,
    llm_core::{
        Call, Operation,
        layer::{Fingerprinter, oneshot},
    },
};

#[derive(Clone)]
struct NameProduct;

impl Operation for NameProduct {
    type Output = String;

    const NAME: &'static str = "name_product";

    fn model(&self) -> &str {
        "gpt-4o-mini"
    }

    fn fingerprint(&self, _: &mut Fingerprinter) {}
}

fn main() {
    let cache = Cache::builder("products").build().expect("the settings agree");
    let client = OpenAi::new("no-real-key").expect("a key");
    let stack = tower::ServiceBuilder::new().layer(CacheLayer::new(cache)).service(client);
    let _ = oneshot(stack, Call::new("acme", NameProduct));
}
