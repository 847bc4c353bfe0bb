//! Tests of requests with another name for their model, and of operations that do not support this.

use std::sync::Arc;

use llm_core::{ChatRequest, EmbedRequest, Operation, layer::Streamed};
use proptest::prelude::*;

use crate::arbitrary;

/// Operation as an application would have written it before operations had `with_model`.
#[derive(Clone)]
struct Summarize(Arc<str>);

impl Operation for Summarize {
    type Output = String;

    const NAME: &'static str = "summarize";

    fn model(&self) -> &str {
        "gpt-4o-mini"
    }

    fn fingerprint(&self, h: &mut llm_core::layer::Fingerprinter) {
        h.text(&self.0);
    }
}

#[test]
fn with_model_defaults_to_none() {
    let summary = Summarize("a text".into());
    assert!(summary.with_model("other".into()).is_none());
    assert_eq!((summary.model(), summary.affinity()), ("gpt-4o-mini", 0));
}

#[test]
fn with_model_of_embeddings_changes_only_model() {
    let request = EmbedRequest { dimensions: Some(3), ..EmbedRequest::new("m", ["a", "b"]) };
    let renamed = request.with_model("deployment".into()).unwrap();
    assert_eq!(renamed.model(), "deployment");
    assert_eq!(EmbedRequest { model: request.model.clone(), ..renamed }, request);
}

proptest! {
    #[test]
    fn with_model_changes_only_model(request in arbitrary::request(), model in arbitrary::text()) {
        let renamed = request.with_model(Arc::clone(&model)).unwrap();
        prop_assert_eq!(renamed.model(), &*model);
        prop_assert_eq!(renamed.estimate(), request.estimate());
        prop_assert_eq!(Streamed(request.clone()).with_model(model), Some(Streamed(renamed.clone())));
        prop_assert_eq!(ChatRequest { model: request.model.clone(), ..renamed }, request);
    }
}
