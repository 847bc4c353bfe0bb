//! Tests that apply to every store, and tests of the store in a file.

use std::{
    any::Any,
    sync::{Arc, Mutex},
};

use llm_core::ManualClock;
use llm_ratelimit::{Balance, BalancePersister, Demand, Event, Limiter, Plans, Store, StoreError};

use crate::support::AtOnce;

const NOVEMBER: u64 = 1_794_700_800;

struct Case {
    store: Store,
    other: Store,
    /// Value that must live as long as the store.
    _holds: Option<Box<dyn Any>>,
}

fn cases() -> Vec<Case> {
    let memory = Case { store: Store::memory(), other: Store::memory(), _holds: None };
    #[cfg(feature = "file")]
    let file = {
        let scratch = crate::scratch::Scratch::new();
        let open = |name| Store::file(scratch.path().join(name)).expect("a new file");
        Case { store: open("a"), other: open("b"), _holds: Some(Box::new(scratch)) }
    };
    vec![
        memory,
        #[cfg(feature = "file")]
        file,
    ]
}

/// Returns the balances of a limiter with these limits after some calls of each tenant.
fn balances(limits: &[&str], calls: &[(&str, u64)]) -> Vec<Balance> {
    let limiter = limiter(limits);
    for (tenant, times) in calls {
        for _ in 0..*times {
            spend(&limiter, tenant);
        }
    }
    limiter.balances().at_once()
}

fn limiter(limits: &[&str]) -> Limiter {
    let plans = Plans::uniform(limits.iter().copied()).expect("limits");
    Limiter::builder(plans)
        .unit("proposal")
        .clock(ManualClock::at_unix(NOVEMBER))
        .build()
        .expect("the limits are right")
}

fn spend(limiter: &Limiter, tenant: &str) {
    limiter.try_reserve(&Demand::new(tenant, "m").tokens(5, 5)).expect("there is room").mark_sent();
}

fn spent(store: &Store, tenant: &str) -> Vec<(String, u64)> {
    let found = store.balances_of(tenant).expect("it can be read");
    found.iter().map(|balance| (balance.counter().to_owned(), balance.spent())).collect()
}

#[test]
fn store_returns_balances_by_tenant() {
    for Case { store, .. } in cases() {
        let written = balances(&["100/month", "1k tokens/day"], &[("acme", 2), ("acme2", 1), ("a\"b,\n", 3)]);
        store.put(written.clone()).unwrap();
        let mut found = store.balances().unwrap();
        assert_eq!(found.len(), 6);
        assert!(written.iter().all(|balance| found.contains(balance)));
        found.retain(|balance| balance.tenant() == Some("acme"));
        assert_eq!(store.balances_of("acme").unwrap(), found);
        assert_eq!(found.iter().map(Balance::spent).collect::<std::collections::BTreeSet<_>>(), [2, 20].into());
        assert!(store.balances_of("").unwrap().is_empty() && store.balances_of("acm").unwrap().is_empty());
    }
}

#[test]
fn store_put_replaces_same_balance() {
    for Case { store, .. } in cases() {
        store.put(balances(&["100/month"], &[("acme", 2), ("other", 1)])).unwrap();
        store.put(balances(&["200/month"], &[("acme", 5)])).unwrap();
        store.put(balances(&["100/day"], &[("acme", 4)])).unwrap();
        let mut found: Vec<u64> = spent(&store, "acme").into_iter().map(|(_, spent)| spent).collect();
        found.sort_unstable();
        assert_eq!(found, [4, 5]);
        assert_eq!(spent(&store, "other").len(), 1);
    }
}

#[tokio::test]
async fn store_keeps_no_empty_balance() {
    for Case { store, .. } in cases() {
        let limiter = limiter(&["100/month"]);
        let persister = BalancePersister::builder(store.clone()).start(&limiter).unwrap();
        let unsent = limiter.try_reserve(&Demand::new("acme", "m")).unwrap();
        persister.flush().await.unwrap();
        assert_eq!(store.balances_of("acme").unwrap()[0].reserved(), 1);
        drop(unsent);
        persister.flush().await.unwrap();
        assert!(store.balances().unwrap().is_empty());
    }
}

#[test]
fn store_forget_removes_one_tenant() {
    for Case { store, .. } in cases() {
        store.put(balances(&["100/month", "100/day"], &[("acme", 2), ("acme2", 1)])).unwrap();
        assert_eq!((store.forget("acme"), store.forget("acme")), (Ok(2), Ok(0)));
        assert!(store.balances_of("acme").unwrap().is_empty());
        assert_eq!(store.balances_of("acme2").unwrap().len(), 2);
    }
}

#[test]
fn store_prune_keeps_debt() {
    for Case { store, .. } in cases() {
        store.put(balances(&["100/month", "100/day"], &[("acme", 2)])).unwrap();
        let limiter = limiter(&["10 tokens/day"]);
        let reservation = limiter.try_reserve(&Demand::new("debtor", "m").tokens(5, 5)).unwrap();
        let usage = llm_core::Usage::new(5, 8);
        reservation.settle(llm_ratelimit::Settlement::Used { usage, cost: None });
        store.put(limiter.balances().at_once()).unwrap();
        let tomorrow = (NOVEMBER + 2 * 86_400) * 1_000_000_000;
        assert_eq!(store.prune(tomorrow), Ok(1));
        assert_eq!((spent(&store, "acme").len(), store.balances_of("debtor").unwrap()[0].debt()), (1, 3));
    }
}

#[test]
fn store_migrate_keeps_the_greater_balance() {
    for Case { store, other, .. } in cases() {
        store.put(balances(&["100/month"], &[("acme", 2), ("less", 1), ("more", 9)])).unwrap();
        other.put(balances(&["100/month"], &[("less", 3), ("more", 4), ("own", 7)])).unwrap();
        assert_eq!(store.migrate(&other), Ok(2));
        let spent = |tenant| spent(&other, tenant)[0].1;
        assert_eq!([spent("acme"), spent("less"), spent("more"), spent("own")], [2, 3, 9, 7]);
        assert_eq!(store.migrate(&other), Ok(0), "once more changes nothing");
    }
}

#[tokio::test]
async fn persister_restart_keeps_spent_month() {
    for Case { store, .. } in cases() {
        let first = limiter(&["3/month"]);
        let persister = BalancePersister::builder(store.clone()).start(&first).unwrap();
        spend(&first, "acme");
        let running = first.try_reserve(&Demand::new("acme", "m")).unwrap();
        persister.flush().await.unwrap();
        // The process ends here without closing the store.
        let second = limiter(&["3/month"]);
        let persister = BalancePersister::builder(store.clone()).start(&second).unwrap();
        assert_eq!(
            second.usage("acme").at_once().iter().map(|status| (status.used, status.remaining)).next(),
            Some((2, 1))
        );
        spend(&second, "acme");
        assert!(second.try_reserve(&Demand::new("acme", "m")).is_err());
        assert!(second.try_reserve(&Demand::new("other", "m")).is_ok());
        persister.forget("acme").await.unwrap();
        assert!(store.balances_of("acme").unwrap().is_empty());
        assert!(second.try_reserve(&Demand::new("acme", "m")).is_ok());
        second.close().await.unwrap();
        persister.close().await.unwrap();
        drop(running);
    }
}

#[tokio::test]
async fn persister_restart_repeats_no_event() {
    for Case { store, .. } in cases() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let run = async |calls: u64| {
            let told = Arc::clone(&told);
            let plans = Plans::uniform(["10/month"]).unwrap();
            let sink = move |event: &Event| told.lock().unwrap().push((event.percent, event.spent));
            let limiter = Limiter::builder(plans).clock(ManualClock::at_unix(NOVEMBER)).sink(sink).build().unwrap();
            let persister = BalancePersister::builder(store.clone()).start(&limiter).unwrap();
            (0..calls).for_each(|_| spend(&limiter, "acme"));
            limiter.close().await.unwrap();
            persister.close().await.unwrap();
        };
        for calls in [6, 1, 1, 2] {
            run(calls).await;
        }
        assert_eq!(*told.lock().unwrap(), [(50, 5), (80, 8), (100, 10)]);
    }
}

/// Windows that have ended and have no debt are not restored, so that a store with many former tenants does not fill
/// the memory.
#[tokio::test]
async fn persister_restart_restores_only_current_windows() {
    for Case { store, .. } in cases() {
        store.put(balances(&["100/month", "100/day"], &[("acme", 2), ("gone", 3)])).unwrap();
        let plans = Plans::uniform(["100/month", "100/day"]).unwrap();
        let clock = ManualClock::at_unix(NOVEMBER + 40 * 86_400);
        let limiter = Limiter::builder(plans).clock(clock).build().unwrap();
        let persister = BalancePersister::builder(store.clone()).start(&limiter).unwrap();
        assert_eq!(limiter.stats().accounts, 0);
        assert_eq!(store.balances().unwrap().len(), 4, "the last figures can still be exported");
        persister.close().await.unwrap();
    }
}

#[test]
fn store_url_opens_its_store() {
    assert!(Store::open("memory:").unwrap().balances().unwrap().is_empty());
    assert_eq!(Store::open("redis://ann:hunter2@host?instances=2").unwrap_err(), StoreError::Server);
}

#[cfg(not(feature = "file"))]
#[test]
fn store_url_names_missing_feature() {
    let error = Store::open("file:///x").unwrap_err();
    assert!(error.to_string().contains("the feature \"file\""), "{error}");
}

#[cfg(feature = "file")]
mod file {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn file_store_keeps_balances_for_one_process() {
        let scratch = Scratch::new();
        let url = format!("file://{}", scratch.path().join("my books").display()).replace(' ', "%20");
        let store = Store::open(&url).unwrap();
        store.put(balances(&["100/month"], &[("acme", 2)])).unwrap();
        let path = scratch.path().join("my books");
        assert_eq!(Store::open(&url).unwrap_err(), StoreError::InUse(path));
        drop(store);
        assert_eq!(spent(&Store::open(&url).unwrap(), "acme")[0].1, 2);
    }

    #[tokio::test]
    async fn persister_close_releases_the_file() {
        let scratch = Scratch::new();
        let path = scratch.path().join("balances");
        for _ in 0..5 {
            let store = Store::file(&path).expect("nothing else has the file open");
            BalancePersister::builder(store).start(&limiter(&["100/month"])).unwrap().close().await.unwrap();
        }
    }

    #[test]
    fn file_store_refuses_other_files() {
        let scratch = Scratch::new();
        let path = scratch.path().join("notes");
        std::fs::write(&path, "these are no books").unwrap();
        for path in [path, scratch.path().join("no/such/directory"), scratch.path().to_owned()] {
            let error = Store::file(&path).unwrap_err();
            assert!(matches!(&error, StoreError::Open { .. }), "{error:?}");
            assert!(error.to_string().contains(&path.display().to_string()), "{error}");
        }
    }

    #[test]
    fn file_store_refuses_newer_version() {
        let scratch = Scratch::new();
        let path = scratch.path().join("books");
        let database = redb::Database::create(&path).unwrap();
        let writing = database.begin_write().unwrap();
        let facts = redb::TableDefinition::<&str, u64>::new("facts");
        writing.open_table(facts).unwrap().insert("format", 2).unwrap();
        writing.commit().unwrap();
        drop(database);
        assert_eq!(Store::file(&path).unwrap_err(), StoreError::Newer { path, found: 2, known: 1 });
    }

    #[test]
    fn file_store_skips_unknown_fields() {
        let scratch = Scratch::new();
        let path = scratch.path().join("books");
        let store = Store::file(&path).unwrap();
        store.put(balances(&["100/month"], &[("acme", 2)])).unwrap();
        drop(store);
        let database = redb::Database::create(&path).unwrap();
        let table = redb::TableDefinition::<(&str, &str), &[u8]>::new("balances");
        let writing = database.begin_write().unwrap();
        {
            use redb::ReadableTable;
            let mut table = writing.open_table(table).unwrap();
            let row = table.first().unwrap().unwrap();
            let name = (row.0.value().0.to_owned(), row.0.value().1.to_owned());
            let text = String::from_utf8(row.1.value().to_vec()).unwrap();
            drop(row);
            let text = text.replacen('{', "{\"colour\":\"green\",", 1);
            table.insert((name.0.as_str(), name.1.as_str()), text.as_bytes()).unwrap();
        }
        writing.commit().unwrap();
        drop(database);
        assert_eq!(spent(&Store::file(&path).unwrap(), "acme")[0].1, 2);
    }
}
