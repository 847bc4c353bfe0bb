//! Tenants that share entries share no running call: no budget, no connection, no deadline.
#![expect(clippy::unwrap_used, reason = "cases are tests, and so is what they are made of")]

use std::{sync::Arc, time::Duration};

use llm_cache::{Cache, Cached, Directive, DirectivePolicy};
use llm_core::{
    Call, ChatRequest, ChatResponse, ChatStream, EmbedRequest, Embeddings, Error, ErrorKind, Origin, Provider, Reply,
    into_provider, into_service,
};
use tokio::time::Instant;

use crate::upstream::{HEAD, STEP, Upstream, ask, read};

/// Service that treats the tenant `acme` differently.
#[derive(Clone, Default)]
struct Partial {
    acme: Upstream,
    others: Upstream,
}

impl Partial {
    fn of(&self, tenant: &str) -> &Upstream {
        if tenant == "acme" { &self.acme } else { &self.others }
    }
}

#[async_trait::async_trait]
impl Provider for Partial {
    async fn chat(&self, call: Call<ChatRequest>) -> Result<Reply<ChatResponse>, Error> {
        self.of(&call.tenant).chat(call).await
    }
    async fn chat_stream(&self, call: Call<ChatRequest>) -> Result<Reply<ChatStream>, Error> {
        self.of(&call.tenant).chat_stream(call).await
    }
    async fn embed(&self, call: Call<EmbedRequest>) -> Result<Reply<Embeddings>, Error> {
        self.of(&call.tenant).embed(call).await
    }
}

/// Returns a call whose response all tenants share.
fn shared(tenant: &str) -> Call<ChatRequest> {
    let mut call = Call::new(tenant, ask("a b c").body);
    call.extensions.insert(Directive::new().shared("all"));
    call
}

async fn said(provider: &dyn Provider, call: Call<ChatRequest>, streamed: bool) -> Result<String, Error> {
    if streamed {
        return Ok(read(provider.chat_stream(call).await?.output).await?.0);
    }
    Ok(provider.chat(call).await?.output.text().into_owned())
}

/// Sends a call of `acme`, and calls of another tenant just before and just after it. Only `acme` fails, with an error
/// of this kind.
async fn fails_alone(upstream: &Partial, acme: impl Fn() -> Call<ChatRequest>, streamed: bool, kind: ErrorKind) {
    for acme_leads in [true, false] {
        let cache = Cache::builder("t").directive_policy(DirectivePolicy::none().allow_sharing()).build().unwrap();
        let provider: Arc<dyn Provider> =
            into_provider(Cached::new(into_service(Arc::new(upstream.clone())), cache.clone()));
        let delay = |waits: bool| tokio::time::sleep(if waits { HEAD / 10 } else { Duration::ZERO });
        let (failed, whole) = tokio::join!(
            async {
                delay(!acme_leads).await;
                said(&*provider, acme(), streamed).await
            },
            async {
                delay(acme_leads).await;
                said(&*provider, shared("umbrella"), streamed).await
            }
        );
        assert_eq!(failed.unwrap_err().kind(), kind, "acme leads: {acme_leads}");
        assert_eq!(whole.unwrap(), "a b c", "acme leads: {acme_leads}");
        let stats = cache.stats();
        assert_eq!((stats.coalesced, stats.entries, stats.running), (0, 1, 0), "acme leads: {acme_leads}");
        let origin = provider.chat(shared("acme")).await.unwrap().receipt.origin();
        assert!(matches!(origin, Origin::Cache { .. }), "what the other bought is his too");
    }
}

#[tokio::test(start_paused = true)]
async fn tenant_budget_failure_spares_other_tenant() {
    for streamed in [false, true] {
        let upstream = Partial::default();
        *upstream.acme.fail.lock().unwrap() = Some(ErrorKind::OverBudget);
        fails_alone(&upstream, || shared("acme"), streamed, ErrorKind::OverBudget).await;
    }
}

#[tokio::test(start_paused = true)]
async fn tenant_cut_off_spares_other_reader() {
    let upstream = Partial { acme: Upstream { break_after: Some(2), ..Upstream::default() }, ..Partial::default() };
    fails_alone(&upstream, || shared("acme"), true, ErrorKind::Incomplete).await;
}

#[tokio::test(start_paused = true)]
async fn tenant_deadline_spares_other_tenant() {
    for (streamed, patience) in [(false, HEAD / 2), (true, HEAD / 2), (true, HEAD + STEP * 5 / 2)] {
        let hasty = || shared("acme").with_deadline((Instant::now() + patience).into_std());
        fails_alone(&Partial::default(), hasty, streamed, ErrorKind::DeadlineExceeded).await;
    }
}
