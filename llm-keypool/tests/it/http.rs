//! Tests of each kind of outcome over real HTTP.

use futures_util::StreamExt;
use llm_core::{Call, ChatEvent, ChatRequest, Provider, into_provider, layer::RetryBudget};
use llm_keypool::{KeyPool, KeyPoolBuilder, Member, Reason};
use llm_providers::{OpenAi, transport::Reqwest};
use llm_testkit::{Fault, RefusalKind, RetryForm, Rule, Server, Vendor};
use std::{sync::Arc, time::Duration};

/// Serves three keys, the first of which fails.
async fn serve(fault: Fault) -> (Vendor, Server) {
    let vendor = Vendor::builder().keys(["sk-b", "sk-c", "sk-a"]).build();
    vendor.script(of_first(fault));
    let server = vendor.serve().await;
    (vendor, server)
}

fn pool(server: &Server) -> KeyPoolBuilder<OpenAi<Reqwest>> {
    let http = Reqwest::new().unwrap();
    let client = |key: &str| OpenAi::with_transport(key, http.clone()).unwrap().base_url(&server.base_url()).unwrap();
    let members = ["sk-a", "sk-b", "sk-c"].map(|key| Member::new(key.replace("sk", "member"), client(key)));
    KeyPool::builder().members(members).response_timeout(None).seed(7)
}

fn call() -> Call<ChatRequest> {
    Call::new("acme", ChatRequest::new("gpt-4o-mini").user("hello"))
}

/// Returns a rule that applies to the first key only.
fn of_first(fault: Fault) -> Rule {
    Rule::new(fault).key("sk-a")
}

#[tokio::test]
async fn http_calls_are_served_beside_failing_key() {
    for (fault, attempts) in [
        (Fault::rate_limited(Duration::from_secs(60), RetryForm::Seconds), 31),
        (Fault::Refused(RefusalKind::Forbidden), 31),
        (Fault::Refused(RefusalKind::NoCredit), 31),
        (Fault::status(http::StatusCode::UNAUTHORIZED, "{}"), 31),
        (Fault::status(http::StatusCode::NOT_FOUND, "{}"), 31),
        (Fault::Reset, 35),
        (Fault::Refused(RefusalKind::ServerError), 35),
    ] {
        let (vendor, server) = serve(fault.clone()).await;
        let provider: Arc<dyn Provider> = into_provider(pool(&server).build().unwrap());
        let mut served = 0;
        for _ in 0..30 {
            let reply = provider.chat(call()).await;
            served += usize::from(reply.is_ok_and(|reply| !reply.output.text().is_empty()));
        }
        let calls = vendor.calls();
        // An HTTP client may send a request again by itself if its connection was closed.
        assert!(served == 30 && (attempts..=attempts + 1).contains(&calls), "{fault:?}: {served} of {calls}");
    }
}

/// Only a timer ends a call that hangs. Its length does not matter: if a slow machine ends another call too early, that
/// call is retried too.
#[tokio::test]
async fn http_calls_are_served_beside_hanging_key() {
    let (vendor, server) = serve(Fault::NoResponse).await;
    let budget = RetryBudget::new(100, 1_000);
    let builder = pool(&server).first_content_timeout(Duration::from_millis(20)).retry_budget(budget).max_moves(1_000);
    let pool = builder.build().unwrap();
    let provider: Arc<dyn Provider> = into_provider(pool.clone());
    for _ in 0..30 {
        let stream = provider.chat_stream(call()).await.unwrap().output;
        let events: Vec<_> = stream.map(Result::unwrap).collect().await;
        assert!(events.iter().any(|event| matches!(event, ChatEvent::Text { .. })));
    }
    // Waits until the connections of the hanging calls are closed.
    vendor.wait_until(|vendor| vendor.in_flight() == 0).await;
    let hanging = &pool.status().members[0];
    let parked = &hanging.parked[0];
    // The member is parked after five attempts, and again after each later probe.
    assert_eq!((parked.reason, hanging.attempts), (Reason::TimedOut, 4 + u64::from(parked.times)), "{hanging:?}");
}
