//! Tests of waiting: it is bounded, calls are woken in time, and no call waits in vain.

use std::{
    sync::{Arc, Mutex, atomic::AtomicU64, atomic::Ordering::SeqCst, mpsc},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures_util::future::{FutureExt, join_all};
use llm_core::{Clock, Error, ErrorKind};
use llm_providers::prices;
use llm_ratelimit::{Demand, Limiter, Plans, Reason, Waiting};
use llm_testkit::probe::CountPolls;
use tokio::time::{Instant, sleep};

use crate::support::{AtOnce, HOUR, NOON, Paused, ask, limits, noon, used};

fn patient() -> Waiting {
    Waiting::at_most(HOUR)
}

#[tokio::test(start_paused = true)]
async fn waiting_lasts_until_room() {
    let limiter = limits(["60/minute burst 1"]).clock(Paused::new()).waiting(patient()).build().unwrap();
    let began = Instant::now();
    for _ in 0..5 {
        limiter.reserve(&ask("a")).await.unwrap().settle(used(0, 0));
    }
    let took = began.elapsed();
    assert!(took >= Duration::from_secs(4) && took < Duration::from_millis(4_010), "{took:?}");
    assert_eq!((limiter.stats().waited, limiter.stats().waiting), (4, 0));
}

#[tokio::test(start_paused = true)]
async fn waiting_wakes_when_slot_returns() {
    let limiter = limits(["1 concurrent"]).clock(Paused::new()).waiting(patient()).build().unwrap();
    let polls = Arc::new(AtomicU64::new(0));
    let callers: Vec<_> = (0..100)
        .map(|_| {
            let limiter = limiter.clone();
            let call = async move {
                let reservation = limiter.reserve(&ask("a")).await.unwrap();
                sleep(Duration::from_millis(5)).await;
                reservation.settle(used(0, 0));
            };
            tokio::spawn(CountPolls::new(call, Arc::clone(&polls)))
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    let polls = polls.load(SeqCst);
    // Each call is polled when it joins, when it is served and after its sleep, and once more if it became the first.
    assert!(polls <= 100 * 5, "{polls} polls");
}

#[tokio::test(start_paused = true)]
async fn waiting_beyond_deadline_is_refused_at_once() {
    let limiter = limits(["60 tokens/minute burst 10"]).clock(Paused::new()).waiting(patient()).build().unwrap();
    limiter.reserve(&ask("a").tokens(10, 0)).await.unwrap().settle(used(10, 0));
    let began = Instant::now();
    let within = |seconds| (Instant::now() + Duration::from_secs(seconds)).into_std();
    let refusal = limiter.reserve(&ask("a").tokens(5, 0).deadline(within(4))).await.unwrap_err();
    assert_eq!((refusal.reason(), began.elapsed()), (Reason::TooLate, Duration::ZERO));
    assert_eq!(refusal.retry_after(), Some(Duration::from_secs(5)));
    assert_eq!(Error::from(refusal).kind(), ErrorKind::RateLimited);
    let demand = ask("a").tokens(5, 0).deadline(within(6));
    let served = limiter.reserve(&demand);
    let behind = async {
        sleep(Duration::from_millis(1)).await;
        // Alone, the call would fit in time, but not behind the other one.
        limiter.reserve(&ask("a").tokens(5, 0).deadline(within(8))).await.unwrap_err()
    };
    let (served, behind) = tokio::join!(served, behind);
    served.unwrap().settle(used(5, 0));
    assert_eq!((behind.reason(), began.elapsed().as_secs()), (Reason::TooLate, 5));
}

#[tokio::test(start_paused = true)]
async fn retry_after_includes_waiting_calls() {
    let limiter = limits(["60 tokens/minute burst 10"]).clock(Paused::new()).waiting(patient()).build().unwrap();
    limiter.try_reserve(&ask("a").tokens(4, 0)).unwrap().settle(used(4, 0));
    let large = tokio::spawn({
        let limiter = limiter.clone();
        async move { limiter.reserve(&ask("a").tokens(10, 0)).await.map(drop) }
    });
    sleep(Duration::from_millis(1)).await;
    let refusal = limiter.try_reserve(&ask("a").tokens(3, 0)).unwrap_err();
    // Alone, the call would fit at once. 4 + 10 + 3 of 10 are 7 too many, and one drains in a second.
    assert_eq!((refusal.reason(), refusal.retry_after()), (Reason::UsedUp, Some(Duration::from_secs(7))));
    large.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn waiting_ends_at_deadline() {
    let limiter = limits(["1 concurrent"]).clock(Paused::new()).waiting(patient()).build().unwrap();
    let held = limiter.reserve(&ask("a")).await.unwrap();
    let began = Instant::now();
    let deadline = (began + Duration::from_millis(700)).into_std();
    let refusal = limiter.reserve(&ask("a").deadline(deadline)).await.unwrap_err();
    assert_eq!((refusal.reason(), began.elapsed().as_millis()), (Reason::TooLate, 700));
    drop(held);
    drop(limiter.try_reserve(&ask("a")).unwrap());
}

#[tokio::test(start_paused = true)]
async fn waiting_is_bounded_in_calls_and_tokens() {
    for waiting in [patient().max_calls(3), patient().max_tokens(300)] {
        let limiter = limits(["1 concurrent"]).clock(Paused::new()).waiting(waiting).build().unwrap();
        let held = limiter.reserve(&ask("a").tokens(100, 0)).await.unwrap();
        let callers = (0..5).map(|_| async {
            limiter.reserve(&ask("a").tokens(100, 0)).await.map(|r| r.settle(used(1, 0))).map_err(|r| r.reason())
        });
        let release = async {
            sleep(Duration::from_secs(1)).await;
            drop(held);
        };
        let (outcomes, ()) = tokio::join!(join_all(callers), release);
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 3);
        assert_eq!(outcomes.iter().filter(|outcome| **outcome == Err(Reason::QueueFull)).count(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn try_reserve_takes_no_room_of_waiters() {
    let limiter = limits(["60 tokens/minute burst 60"]).clock(Paused::new()).waiting(patient()).build().unwrap();
    limiter.try_reserve(&ask("a").tokens(60, 0)).unwrap().settle(used(60, 0));
    let waits = tokio::spawn({
        let limiter = limiter.clone();
        async move { limiter.reserve(&ask("a").tokens(30, 0)).await.map(|r| r.settle(used(30, 0))) }
    });
    sleep(Duration::from_secs(20)).await;
    assert!(limiter.try_reserve(&ask("a").tokens(5, 0)).is_err(), "there is room for five, but thirty wait for it");
    assert!(limiter.try_reserve(&ask("b").tokens(5, 0)).is_ok(), "another tenant's counter");
    sleep(Duration::from_secs(11)).await;
    waits.await.unwrap().unwrap();
    assert!(limiter.try_reserve(&ask("a").tokens(1, 0)).is_ok());
}

#[tokio::test(start_paused = true)]
async fn waiting_for_two_accounts_gets_both() {
    let plans = llm_ratelimit::Plans::uniform(["1 concurrent"]).unwrap();
    let plans = plans.limit("60/minute burst 1".parse::<llm_ratelimit::Limit>().unwrap()).unwrap();
    let limiter = llm_ratelimit::Limiter::builder(plans).clock(Paused::new()).waiting(patient()).build().unwrap();
    let served = Arc::new(AtomicU64::new(0));
    let callers: Vec<_> = (0..40)
        .map(|n| {
            let (limiter, served) = (limiter.clone(), Arc::clone(&served));
            tokio::spawn(async move {
                let reservation = limiter.reserve(&ask(["a", "b", "c"][n % 3])).await.unwrap();
                served.fetch_add(1, SeqCst);
                sleep(Duration::from_millis(2_500)).await;
                reservation.settle(used(0, 0));
            })
        })
        .collect();
    let began = Instant::now();
    for caller in callers {
        caller.await.unwrap();
    }
    assert_eq!(served.load(SeqCst), 40);
    // Three tenants with one slot each, and 2.5 s for each call: 14 rounds. The limit of one call a second is not
    // slower for 40 calls.
    assert!(began.elapsed() <= Duration::from_secs(48), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn waiting_unpolled_first_call_blocks_no_other() {
    let limiter = limits(["60/minute burst 1"]).clock(Paused::new()).waiting(patient()).build().unwrap();
    limiter.try_reserve(&ask("a")).unwrap().settle(used(0, 0));
    let demand = ask("a");
    let mut still = Box::pin(limiter.reserve(&demand));
    assert!(futures_util::poll!(&mut still).is_pending());
    let began = Instant::now();
    limiter.reserve(&ask("a")).await.unwrap().settle(used(0, 0));
    assert!(began.elapsed() <= Duration::from_secs(4), "{:?}", began.elapsed());
    still.await.unwrap().settle(used(0, 0));
}

#[tokio::test(start_paused = true)]
async fn close_refuses_waiters_and_awaits_running_calls() {
    let limiter = limits(["1 concurrent"]).clock(Paused::new()).waiting(patient()).build().unwrap();
    let held = limiter.reserve(&ask("a")).await.unwrap();
    let waits = tokio::spawn({
        let limiter = limiter.clone();
        async move { limiter.reserve(&ask("a")).await.map(drop).unwrap_err().reason() }
    });
    sleep(Duration::from_millis(1)).await;
    let settles = async {
        sleep(Duration::from_secs(3)).await;
        held.settle(used(0, 0));
    };
    let began = Instant::now();
    let (open, ()) = tokio::join!(limiter.close(), settles);
    assert_eq!((open, began.elapsed().as_secs(), waits.await.unwrap()), (Ok(0), 3, Reason::Closed));
    assert_eq!(limiter.try_reserve(&ask("b")).unwrap_err().reason(), Reason::Closed);
}

/// No task drives the runtime, so timers never fire, and a call that is not woken hangs.
#[test]
fn waiting_loses_no_wake_up_between_threads() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let limiter = limits(["1 concurrent"]).clock(noon()).waiting(patient()).build().unwrap();
    let (done, ended) = mpsc::channel();
    for _ in 0..2 {
        let (limiter, handle, done) = (limiter.clone(), runtime.handle().clone(), done.clone());
        std::thread::spawn(move || {
            for round in 0..5_000u32 {
                let reservation = handle.block_on(limiter.reserve(&ask("a"))).expect("it waits for ever");
                (0..round % 64 * 16).for_each(|_| std::hint::spin_loop());
                reservation.settle(used(0, 0));
            }
            done.send(()).expect("the test waits");
        });
    }
    for _ in 0..2 {
        ended.recv_timeout(Duration::from_secs(20)).expect("somebody was not woken");
    }
}

/// Clock that closes a limiter in the middle of its decision, when the limiter reads the time.
#[derive(Clone, Debug, Default)]
struct Closes(Arc<Mutex<Option<Limiter>>>);

impl Clock for Closes {
    fn now(&self) -> SystemTime {
        let limiter = self.0.lock().expect("nobody panics").take();
        if let Some(limiter) = limiter {
            assert_eq!(limiter.close().now_or_never(), Some(Ok(0)), "nothing is open yet");
        }
        UNIX_EPOCH + Duration::from_secs(NOON)
    }
}

#[tokio::test(start_paused = true)]
async fn close_admits_no_call_afterwards() {
    let clock = Closes::default();
    let limiter = limits(["5/day"]).clock(clock.clone()).build().unwrap();
    limiter.try_reserve(&ask("a")).unwrap().settle(used(0, 0));
    *clock.0.lock().unwrap() = Some(limiter.clone());
    assert_eq!(limiter.try_reserve(&ask("a")).map(drop).unwrap_err().reason(), Reason::Closed);
    assert_eq!(limiter.usage("a").at_once().iter().map(|status| (status.used, status.reserved)).next(), Some((1, 0)));
}

#[tokio::test(start_paused = true)]
async fn waiting_pays_by_replaced_plans() {
    let limiter =
        limits(["1 concurrent"]).clock(Paused::new()).prices(prices::openai()).waiting(patient()).build().unwrap();
    let held = limiter.try_reserve(&ask("a")).unwrap();
    let waits = tokio::spawn({
        let limiter = limiter.clone();
        async move { limiter.reserve(&Demand::new("a", "gpt-4o-mini").tokens(1_000, 1_000)).await }
    });
    sleep(Duration::from_millis(1)).await;
    limiter.replace(&Plans::uniform(["1 concurrent", "$1/day"]).unwrap()).unwrap();
    drop(held);
    let _running = waits.await.unwrap().unwrap();
    let reserved = limiter.usage("a").at_once().iter().nth(1).unwrap().reserved;
    assert_eq!(reserved, 1_000 * 150 + 1_000 * 600);
}

#[tokio::test(start_paused = true)]
async fn close_within_bounds_wait_for_calls() {
    let limiter = limits(["2 concurrent"]).close_within(Duration::from_secs(5)).build().unwrap();
    let running = limiter.try_reserve(&ask("a")).unwrap();
    let began = tokio::time::Instant::now();
    assert_eq!((limiter.close().await, began.elapsed()), (Ok(1), Duration::from_secs(5)));
    drop(running);
    assert_eq!((limiter.close().await, began.elapsed()), (Ok(0), Duration::from_secs(5)));
}
