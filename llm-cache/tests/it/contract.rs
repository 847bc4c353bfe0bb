//! Tests of the layer's contract with the service below it.

use std::sync::Arc;

use llm_cache::Cached;
use llm_core::{
    Call, ChatRequest, ChatStream, Error, ManualClock, Operation, Reply, Usd, into_provider, into_service,
    layer::{CostShare, End, LlmService, ResponseFuture, Streamed, oneshot},
};
use llm_testkit::probe::Probe;
use tower::{Service, ServiceBuilder, ServiceExt};

use crate::upstream::{Upstream, ask, cache, say};

/// Service that adds a cost of seven nano-dollars and a cost share to every reply.
#[derive(Clone)]
pub(crate) struct Priced<S>(S);

pub(crate) fn priced(upstream: &Upstream) -> Priced<llm_core::layer::ProviderService<Upstream>> {
    Priced(into_service(Arc::new(upstream.clone())))
}

impl<T: Operation, S: LlmService<T>> Service<Call<T>> for Priced<S> {
    type Response = Reply<T::Output>;
    type Error = Error;
    type Future = ResponseFuture<T::Output>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Error>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: Call<T>) -> Self::Future {
        let inner = self.0.clone();
        ResponseFuture::waiting(async move {
            Ok(oneshot(inner, call).await?.on_end(|end, receipt| {
                if let End::Complete(_) = end {
                    receipt.edit(|accounting| {
                        accounting.cost = Some(Usd::from_nanos(7));
                        accounting.cost_share = Some(CostShare::new(Usd::from_nanos(7), |_| {}));
                    });
                }
            }))
        })
    }
}

#[tokio::test(start_paused = true)]
async fn layer_calls_only_ready_service() {
    let upstream = Upstream::default();
    let (probe, handle) = Probe::new(into_service(Arc::new(upstream)));
    let service = Cached::new(probe, cache(&ManualClock::default()));
    for _ in 0..3 {
        let call: Call<ChatRequest> = ask("a");
        service.clone().oneshot(call.clone()).await.unwrap();
        let stream: ChatStream = service.clone().oneshot(call.map(Streamed)).await.unwrap().output;
        crate::upstream::read(stream).await.unwrap();
    }
    handle.assert_ready_contract();
    handle.assert_quiescent();
    assert_eq!(handle.snapshot().calls, 1, "hits do not touch the inner service");
}

#[tokio::test(start_paused = true)]
async fn layer_composes_with_tower_layers() {
    let upstream = Upstream::default();
    let stack = ServiceBuilder::new()
        .timeout(std::time::Duration::from_secs(5))
        .layer(llm_cache::CacheLayer::new(cache(&ManualClock::default())))
        .load_shed()
        .timeout(std::time::Duration::from_secs(3))
        .service(into_service(Arc::new(upstream.clone())));
    let provider = into_provider(stack);
    for streamed in [false, true, false] {
        assert_eq!(say(&*provider, "a b", streamed).await.unwrap(), "a b");
    }
    assert_eq!(upstream.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn cost_share_is_claimed_once_per_call() {
    let upstream = Upstream::default();
    let provider = into_provider(Cached::new(priced(&upstream), cache(&ManualClock::default())));
    let replies = futures_util::future::join_all((0..20).map(|_| provider.chat(ask("a")))).await;
    let taken = replies.into_iter().filter(|reply| {
        let claim = reply.as_ref().unwrap().receipt.accounting().cost_share;
        claim.expect("all came of one purchase").take().is_some()
    });
    assert_eq!(taken.count(), 1);
    assert_eq!(upstream.calls(), 1);
}
