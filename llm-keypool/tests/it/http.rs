//! One case of each kind over real HTTP, but for a vendor that hangs: only a timer ends such a call, so it is in virtual time.

use llm_core::{Call, ChatRequest, Provider, into_provider};
use llm_keypool::{KeyPool, Member};
use llm_providers::{OpenAi, transport::Reqwest};
use llm_testkit::{Fault, RefusalKind, RetryForm, Rule, Vendor};
use std::{sync::Arc, time::Duration};

/// Sends thirty calls to three keys, one of which fails.
async fn serve_thirty(script: impl Fn(&Vendor)) -> (u64, usize) {
    let vendor = Vendor::builder().keys(["sk-b", "sk-c", "sk-a"]).build();
    script(&vendor);
    let server = vendor.serve().await;
    let http = Reqwest::new().unwrap();
    let client = |key: &str| OpenAi::with_transport(key, http.clone()).unwrap().base_url(&server.base_url()).unwrap();
    let members = ["sk-a", "sk-b", "sk-c"].map(|key| Member::new(key.replace("sk", "member"), client(key)));
    let pool = KeyPool::builder().members(members).response_timeout(None).seed(7).build().unwrap();
    let provider: Arc<dyn Provider> = into_provider(pool);
    let mut served = 0;
    for _ in 0..30 {
        let reply = provider.chat(Call::new("acme", ChatRequest::new("gpt-4o-mini").user("hello"))).await;
        served += usize::from(reply.is_ok_and(|reply| !reply.output.text().is_empty()));
    }
    (vendor.calls(), served)
}

/// A rule for the first key alone.
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
        let (calls, served) = serve_thirty(|vendor| vendor.script(of_first(fault.clone()))).await;
        // An HTTP client may itself send a request again whose connection was closed.
        assert!(served == 30 && (attempts..=attempts + 1).contains(&calls), "{fault:?}: {served} of {calls}");
    }
}
