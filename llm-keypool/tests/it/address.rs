//! Tests of a pool whose IP address is throttled.

use std::time::Duration;

use llm_core::{Call, ChatRequest, layer::oneshot};
use llm_keypool::{KeyPool, Member};
use llm_providers::OpenAi;
use llm_testkit::{Latency, Vendor};
use tokio::{task::JoinSet, time::sleep};

const SECOND: Duration = Duration::from_secs(1);
const KEYS: usize = 20;

#[tokio::test(start_paused = true)]
async fn throttled_address_parks_no_key() {
    let latency = Latency::fixed(Duration::from_millis(200), Duration::ZERO);
    let vendor = Vendor::builder().limit_each_address(100, 10 * SECOND).rate_limits(None).latency(latency).build();
    let member = |key: usize| {
        let client = OpenAi::with_transport(format!("sk-{key}"), vendor.transport()).unwrap();
        Member::new(format!("member-{key}"), client)
    };
    let pool = KeyPool::builder().members((0..KEYS).map(member)).max_wait(120 * SECOND).seed(7).build().unwrap();
    // A burst of more calls than the address may send in ten seconds, followed by few calls for a minute.
    let mut running = JoinSet::new();
    for call in 0..180 {
        running.spawn(oneshot(pool.clone(), Call::new("acme", ChatRequest::new("m").user(format!("call {call}")))));
        sleep(if call < 120 { SECOND / 20 } else { SECOND }).await;
    }
    let failed: Vec<_> = running.join_all().await.into_iter().filter_map(Result::err).collect();
    assert!(failed.is_empty(), "{} {:?}", failed.len(), failed.first());
    // Refusals at half of the keys and of the attempts in flight reveal the common cause. Then one call is sent as a
    // probe after each pause.
    let refused = vendor.limited().len();
    assert!((KEYS / 2..=KEYS).contains(&refused), "{refused} refused");
    let (status, parked) = (pool.status(), |parked: &Vec<llm_keypool::ParkedStatus>| !parked.is_empty());
    assert!(!status.is_paused && status.waiting == 0, "{status:?}");
    assert!(!status.members.iter().any(|member| parked(&member.parked)), "{status:?}");
    assert!(!status.groups.iter().any(|group| parked(&group.parked)), "{status:?}");
}
