//! Tests of token counts and lists of models: deadlines and spans.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use llm_providers::{
    Anthropic, OpenAi,
    llm_core::{Charge, ChatRequest, Error, ErrorKind},
};
use llm_testkit::{Traces, Vendor};
use tokio::time::Instant;

fn asked() -> ChatRequest {
    ChatRequest::new("m").user("hi")
}

#[tokio::test(start_paused = true)]
async fn deadline_bounds_counts_and_lists() {
    let sent = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&sent);
    let silent = tower::service_fn(move |_: Request<Bytes>| {
        count.fetch_add(1, Ordering::Relaxed);
        pending::<Result<Response<Full<Bytes>>, Error>>()
    });
    let client = Anthropic::with_transport("sk-test", silent).unwrap();
    let begun = Instant::now();
    let deadline = Some((begun + Duration::from_secs(5)).into_std());
    let counted = client.count_tokens(&asked(), deadline).await.unwrap_err();
    assert_eq!((counted.kind(), counted.charge()), (ErrorKind::DeadlineExceeded, Charge::None));
    assert_eq!(begun.elapsed(), Duration::from_secs(5));
    let deadline = Some((begun + Duration::from_secs(8)).into_std());
    assert_eq!(client.models(deadline).await.unwrap_err().kind(), ErrorKind::DeadlineExceeded);
    assert_eq!((begun.elapsed(), sent.load(Ordering::Relaxed)), (Duration::from_secs(8), 2));
    // If the deadline has passed, nothing is sent.
    assert_eq!(client.models(deadline).await.unwrap_err().kind(), ErrorKind::DeadlineExceeded);
    assert_eq!(sent.load(Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn telemetry_spans_cover_counts_and_lists() {
    let traces = Traces::record();
    let vendor = Vendor::new();
    let client = Anthropic::with_transport("sk-test", vendor.transport()).unwrap();
    client.count_tokens(&asked(), None).await.unwrap();
    client.models(None).await.unwrap();
    let compatible = OpenAi::with_transport("sk-test", vendor.transport()).unwrap();
    compatible.count_tokens(&asked(), None).await.unwrap_err();
    let stated: Vec<_> = traces.take().into_iter().filter(|trace| trace.name == "llm.call").collect();
    let of = |at: usize| stated[at].fields.iter().map(|(name, value)| (*name, &**value)).collect::<Vec<_>>();
    let operation = |name| ("gen_ai.operation.name", name);
    let (anthropic, model) = (("gen_ai.provider.name", "anthropic"), ("gen_ai.request.model", "m"));
    assert_eq!(of(0), [operation("count_tokens"), anthropic, model]);
    assert_eq!(of(1), [operation("list_models"), anthropic]);
    let openai = ("gen_ai.provider.name", "openai");
    assert_eq!(of(2), [operation("count_tokens"), openai, model, ("error.type", "unsupported")]);
}
