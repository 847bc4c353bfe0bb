//! Tests of the ledger as a whole: it balances after any calls, stays bounded, and can be shared.

use futures_util::{FutureExt, StreamExt};
use llm_core::{Charge, Error, ErrorKind, Reply, Usage, Usd};
use llm_providers::ledger::{Charged, Snapshot};
use proptest::prelude::*;
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicI64, Ordering},
};
use tokio::task::JoinSet;

use super::{
    requests::{answered, buy, joined},
    vendor::{Head, Plan, Tail, call, ledger, stack},
};

fn plans() -> impl Strategy<Value = Plan> {
    let usage = prop::option::of((0u64..5_000, 0u64..500).prop_map(|(input, output)| Usage::new(input, output)));
    let tier = prop_oneof![4 => Just(None), 1 => Just(Some("flex"))];
    let model = prop_oneof![4 => Just(None), 1 => Just(Some("other"))];
    (any::<bool>(), 0u8..8, 0u8..4, usage, tier, model).prop_map(|(sent, head, tail, usage, tier, model)| {
        let failed = |charge| Error::new(ErrorKind::Server, "it broke").with_charge(charge);
        let head = match head {
            0 => Head::Hangs,
            1 => Head::Fails(failed(Charge::None)),
            2 => Head::Fails(failed(Charge::Unknown)),
            3 => Head::Fails(failed(Charge::Known(usage.unwrap_or_default()))),
            _ => Head::Responses,
        };
        let tail = match tail {
            0 => Tail::Hangs,
            1 => Tail::Fails(failed(Charge::Unknown)),
            _ => Tail::Whole,
        };
        Plan { sent, head, tail, usage, tier, model, ..Plan::default() }
    })
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().expect("a plain runtime can be built")
}

fn check(books: &Snapshot) {
    assert!(books.balance().is_balanced(), "{books}");
    let rows = books.tenants().chain(books.models()).chain(books.labels().map(|(name, _, row)| (name, row)));
    for (name, row) in rows.chain([("in all", books.total())]) {
        assert_eq!((row.balance().attempts, row.balance().responses), (Usd::ZERO, Usd::ZERO), "{name}\n{books}");
        assert_eq!(row.calls, row.completed + row.failed + row.dropped, "{name}");
        assert_eq!(row.completed, row.vendor + row.hits + row.coalesced, "{name}");
    }
    let tenants: Usd = books.tenants().map(|(_, row)| row.paid).sum();
    assert_eq!(tenants, books.total().paid);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn balance_holds_after_any_calls(
        steps in prop::collection::vec((plans(), 0usize..3, any::<bool>(), 0usize..3), 1..40),
    ) {
        let stated = Arc::new(Mutex::new((0, Usd::ZERO, Usd::ZERO)));
        let kept = Arc::clone(&stated);
        let ledger = ledger().on_attempt(move |attempt| {
            let mut stated = kept.lock().unwrap();
            stated.0 += 1;
            match attempt.charged {
                Charged::Paid(cost) => stated.1 += cost,
                Charged::Unconfirmed(bound) => stated.2 += bound.unwrap_or_default(),
                _ => {}
            }
        });
        runtime().block_on(async {
            for (plan, tenant, streamed, read) in &steps {
                let provider = stack(&ledger, [plan.clone()]);
                let call = call(["a", "b", "c"][*tenant]).with_label("read", &read.to_string()).unwrap();
                if *streamed {
                    if let Some(Ok(mut reply)) = provider.chat_stream(call).now_or_never() {
                        for _ in 0..*read {
                            let _ = reply.output.next().now_or_never();
                        }
                    }
                } else {
                    let _ = provider.chat(call).now_or_never();
                }
                check(&ledger.snapshot());
            }
        });
        let (books, stated) = (ledger.snapshot(), stated.lock().unwrap());
        prop_assert_eq!((books.total().calls, books.total().attempts), (steps.len() as u64, stated.0));
        prop_assert_eq!((books.total().paid, books.total().unconfirmed.amount), (stated.1, stated.2));
        prop_assert_eq!(books.total().open, Usd::ZERO);
    }

    /// Callers of single flights get responses or are cancelled, in any order.
    #[test]
    fn balance_holds_after_any_cancellation(
        flights in prop::collection::vec(prop::collection::vec((any::<bool>(), any::<u16>()), 1..8), 1..6),
    ) {
        let ledger = ledger();
        let (mut useful, mut lost, mut responses) = (0, 0, 0);
        runtime().block_on(async {
            for flight in &flights {
                let leader = buy(&ledger, call("acme").with_label("who", "leader").unwrap()).await;
                let mut callers: Vec<(u16, bool, Reply<_>)> =
                    flight[1..].iter().map(|(stays, order)| (*order, *stays, joined(&leader.receipt))).collect();
                callers.push((flight[0].1, flight[0].0, leader));
                callers.sort_by_key(|(order, ..)| *order);
                let staying = flight.iter().filter(|(stays, _)| *stays).count();
                for (_, stays, reply) in callers {
                    match stays {
                        true => drop(answered(&ledger, call("acme").with_label("who", "any").unwrap(), reply).await),
                        false => drop(reply),
                    }
                    check(&ledger.snapshot());
                }
                responses += staying as i64;
                if staying > 0 { useful += 1 } else { lost += 1 }
            }
        });
        let books = ledger.snapshot();
        let row = books.total();
        let each = super::vendor::COST.nanos();
        prop_assert_eq!((row.useful.nanos(), row.used.nanos()), (useful * each, useful * each));
        prop_assert_eq!((row.wasted.total().nanos(), row.open), (lost * each, Usd::ZERO));
        prop_assert_eq!((row.list.nanos(), row.saved.total().nanos()), (responses * each, (responses - useful) * each));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn balance_holds_after_64_concurrent_calls() {
    let paid = Arc::new(AtomicI64::new(0));
    let seen = Arc::clone(&paid);
    let ledger = ledger().on_attempt(move |attempt| {
        if let Charged::Paid(cost) = attempt.charged {
            seen.fetch_add(cost.nanos(), Ordering::Relaxed);
        }
    });
    let mut calls = JoinSet::new();
    for i in 0..64u64 {
        let usage = Some(Usage::new(i, 64 - i));
        let tail = if i % 4 == 0 { Tail::Fails(Error::new(ErrorKind::Transport, "cut")) } else { Tail::Whole };
        let provider = stack(&ledger, [Plan { usage, tail, ..Plan::default() }]);
        calls.spawn(async move {
            let call = call(["a", "b", "c"][i as usize % 3]);
            if i % 2 == 0 {
                let mut reply = provider.chat_stream(call).await.unwrap();
                while reply.output.next().await.is_some() {
                    tokio::task::yield_now().await;
                }
            } else {
                provider.chat(call).await.unwrap();
            }
        });
    }
    calls.join_all().await;
    let books = ledger.snapshot();
    check(&books);
    let expected: i64 = (0..64).map(|i| i * 1_000 + (64 - i) * 2_000).sum();
    assert_eq!((books.total().paid.nanos(), paid.load(Ordering::Relaxed)), (expected, expected));
    assert_eq!((books.total().calls, books.total().failed, books.total().completed), (64, 16, 48));
    assert_eq!(books.total().wasted.total().nanos(), (0..64).step_by(4).map(|i| 128_000 - i * 1_000).sum::<i64>());
}

#[tokio::test]
async fn max_tenants_puts_others_in_one_row() {
    let ledger = ledger().max_tenants(2).max_models(1).max_labels(1);
    let provider = stack(&ledger, []);
    for i in 0..5 {
        let mut call = call(&format!("t{}", i % 4)).with_label("feature", &format!("f{i}")).unwrap();
        call.body.model = if i == 4 { "n" } else { "m" }.into();
        provider.chat(call).await.unwrap();
    }
    let books = ledger.snapshot();
    let calls = |rows: Vec<(&str, u64)>, expected: &[(&str, u64)]| assert_eq!(rows, expected);
    calls(
        books.tenants().map(|(name, row)| (name, row.calls)).collect(),
        &[("t0", 2), ("t1", 1), (Snapshot::OTHER, 2)],
    );
    calls(books.models().map(|(name, row)| (name, row.calls)).collect(), &[("m", 4), (Snapshot::OTHER, 1)]);
    let labels: Vec<_> = books.labels().map(|(name, value, row)| (name, value, row.calls)).collect();
    assert_eq!(labels, [("feature", "f0", 1), (Snapshot::OTHER, "", 4)]);
    assert_eq!(books.tenant(Snapshot::OTHER).map(|row| row.attempts), Some(2));
    assert_eq!(books.total().calls, 5);
}

#[tokio::test]
async fn on_attempt_may_use_the_ledger() {
    let ledger = ledger();
    let (seen, same) = (Arc::new(AtomicI64::new(0)), ledger.clone());
    let kept = Arc::clone(&seen);
    let ledger = ledger.on_attempt(move |_| kept.store(same.snapshot().total().paid.nanos(), Ordering::Relaxed));
    stack(&ledger, []).chat(call("acme")).await.unwrap();
    assert_eq!(seen.load(Ordering::Relaxed), super::vendor::COST.nanos(), "it is booked before it is reported");
}
