//! Tests with callers that come and go at random: no amount may be lost.

use std::{sync::Arc, time::Duration};

use llm_ratelimit::{Limiter, Plans, Settlement, Waiting};
use proptest::{
    prelude::Rng,
    test_runner::{RngAlgorithm, TestRng},
};
use tokio::time::{sleep, timeout};

use crate::{
    full,
    support::{
        AtOnce, {HOUR, Paused, ask, used},
    },
};

fn limiter() -> Limiter {
    let plans = serde_json::from_str::<Plans>(
        r#"{"plans": {"default": {"limits": ["4 concurrent", "1200 tokens/minute burst 200", "1m tokens/day"]}},
            "limits": ["8 concurrent", "6000/minute burst 5 per model"]}"#,
    );
    let plans = plans.expect("the plans are right");
    Limiter::builder(plans).clock(Paused::new()).waiting(Waiting::at_most(HOUR)).build().expect("the limits are right")
}

#[tokio::test(start_paused = true)]
async fn concurrent_slots_survive_thundering_herd() {
    for seed in 0..if full() { 1_000 } else { 100u64 } {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let mut random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        let mut below = |n: u32| u64::from(random.next_u32() % n);
        let limiter = limiter();
        let callers: Vec<_> = (0..150)
            .map(|_| {
                let limiter = limiter.clone();
                let (tenant, tokens) = (["a", "b", "c"][below(3) as usize], below(150));
                let (start, run, stay) = (below(3_000), below(500), below(3_000));
                let (leaves, end) = (below(2) == 0, below(4));
                tokio::spawn(async move {
                    sleep(Duration::from_millis(start)).await;
                    let call = async {
                        let mut reservation = limiter.reserve(&ask(tenant).tokens(tokens, 0)).await?;
                        sleep(Duration::from_millis(run)).await;
                        match end {
                            0 => drop(reservation),
                            1 => reservation.settle(Settlement::Unsent),
                            2 => reservation.mark_sent(),
                            _ => reservation.settle(used(tokens * 2, 1)),
                        }
                        Ok::<_, llm_ratelimit::Refusal>(())
                    };
                    let stay = if leaves { Duration::from_millis(stay) } else { 2 * HOUR };
                    timeout(stay, call).await.ok()
                })
            })
            .collect();
        let calls = Arc::new(limiter.clone());
        if seed % 3 == 0 {
            let emergency = calls.emergency();
            sleep(Duration::from_millis(1_000)).await;
            emergency.scale(200);
            sleep(Duration::from_millis(1_000)).await;
            emergency.restore();
        }
        for caller in callers {
            if let Some(outcome) = caller.await.unwrap() {
                outcome.unwrap_or_else(|refusal| panic!("seed {seed}: {refusal}"));
            }
        }
        assert_eq!((limiter.stats().waiting, limiter.close().await), (0, Ok(0)), "seed {seed}");
        for tenant in ["a", "b", "c"] {
            for status in limiter.usage(tenant).at_once().iter() {
                assert_eq!(status.reserved, 0, "seed {seed}: {}", status.limit);
            }
        }
    }
}
