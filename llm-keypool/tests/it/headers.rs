//! Tests of limits and groups that clients read from vendors' headers.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use llm_core::{Call, ChatRequest, ErrorKind, Provider, erase, into_provider};
use llm_keypool::{KeyPool, Member};
use llm_providers::{Anthropic, OpenAi};
use llm_testkit::{Fault, Latency, Limit, RefusalKind, Rule, Vendor};
use tokio::{task::JoinSet, time::Instant};

const MINUTE: Duration = Duration::from_secs(60);
const LIMIT: u64 = 100;
const KEYS: [&str; 3] = ["sk-a", "sk-b", "sk-c"];

fn vendor() -> Vendor {
    let limits = [Limit::requests(LIMIT, MINUTE).of_model("m"), Limit::requests(10, MINUTE).of_model("n")];
    let latency = Latency::fixed(Duration::from_millis(900), Duration::ZERO);
    Vendor::builder().limit_organisation("org", KEYS, limits).state_organisation(true).latency(latency).build()
}

/// Keeps calling two models for three minutes. Returns the served calls of each, and the vendor's refusals.
async fn saturate(vendor: &Vendor, provider: Arc<dyn Provider>) -> ([u64; 2], usize) {
    let (end, served) = (Instant::now() + 3 * MINUTE, Arc::new([AtomicU64::new(0), AtomicU64::new(0)]));
    let mut workers = JoinSet::new();
    for worker in 0..12 {
        let (provider, served) = (Arc::clone(&provider), Arc::clone(&served));
        workers.spawn(async move {
            let which = usize::from(worker % 4 == 0);
            while Instant::now() < end {
                let call = Call::new("acme", ChatRequest::new(["m", "n"][which]).user("hello"));
                match tokio::time::timeout_at(end, provider.chat(call)).await {
                    Ok(Ok(_)) => drop(served[which].fetch_add(1, Relaxed)),
                    Ok(Err(error)) => assert_eq!(error.kind(), ErrorKind::RateLimited, "{error}"),
                    Err(_) => {}
                }
            }
        });
    }
    tokio::time::sleep_until(end - Duration::from_millis(1)).await;
    let refused = vendor.limited().len();
    workers.join_all().await;
    ([served[0].load(Relaxed), served[1].load(Relaxed)], refused)
}

async fn check(name: &str, client: impl Fn(&str) -> llm_core::layer::ProviderService<dyn Provider>, vendor: Vendor) {
    let members = KEYS.map(|key| Member::new(key.replace("sk", "member"), client(key)));
    let pool = KeyPool::builder().members(members).max_wait(2 * MINUTE).seed(7).build().unwrap();
    let ([m, n], refused) = saturate(&vendor, into_provider(pool.clone())).await;
    let groups = pool.status().groups;
    assert_eq!(groups.len(), 1, "{name}: the keys are of one organisation");
    assert!(m >= 3 * LIMIT * 98 / 100 && n >= 29 && refused <= 12, "{name}: {m} and {n} served, {refused} refused");
}

#[tokio::test(start_paused = true)]
async fn openai_headers_teach_limits_and_groups() {
    let vendor = vendor();
    let transport = vendor.transport();
    check("openai", |key| erase(OpenAi::with_transport(key, transport.clone()).unwrap()), vendor).await;
}

#[tokio::test(start_paused = true)]
async fn anthropic_headers_teach_limits_and_groups() {
    let vendor = vendor();
    let transport = vendor.transport();
    check("anthropic", |key| erase(Anthropic::with_transport(key, transport.clone()).unwrap()), vendor).await;
}

#[tokio::test(start_paused = true)]
async fn overload_in_handshake_moves_stream() {
    let vendor = vendor();
    vendor.script(Rule::new(Fault::Refused(RefusalKind::Overloaded)).key("sk-a"));
    vendor.script(Rule::new(Fault::ErrorEvent { after: 1 }).key("sk-b"));
    let members = KEYS.map(|key| {
        Member::new(key.replace("sk", "member"), Anthropic::with_transport(key, vendor.transport()).unwrap())
    });
    let budget = llm_core::layer::RetryBudget::new(100, 20);
    let provider = into_provider(KeyPool::builder().members(members).retry_budget(budget).seed(7).build().unwrap());
    for _ in 0..20 {
        let call = Call::new("acme", ChatRequest::new("m").user("hello"));
        let reply = provider.chat_stream(call).await.unwrap();
        assert!(!reply.output.complete().await.unwrap().text().is_empty());
    }
}
