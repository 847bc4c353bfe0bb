use std::sync::{
    Arc, Condvar, Mutex,
    atomic::{AtomicBool, Ordering::SeqCst},
};
use std::time::Duration;

use llm_core::{Call, ChatRequest, into_provider};
use llm_providers::scripted::{Rule, Scripted};
use tower_layer::Layer;

use super::BalancePersister;
use crate::{
    Balance, Demand, Limiter, Plans, RateLimitLayer, Reason, Store, StoreError,
    store::{Backend, Changes},
};

/// Store whose writes can fail or hang, as on a broken disk.
#[derive(Debug)]
struct Disk {
    store: Store,
    broken: AtomicBool,
    hangs: Mutex<bool>,
    released: Condvar,
}

impl Disk {
    fn new() -> Arc<Self> {
        let (broken, hangs, released) = Default::default();
        Arc::new(Self { store: Store::memory(), broken, hangs, released })
    }

    fn hang(&self, on: bool) {
        *self.hangs.lock().unwrap() = on;
        self.released.notify_all();
    }
}

impl Backend for Disk {
    fn read(&self, tenant: Option<&str>, each: &mut dyn FnMut(Balance)) -> Result<(), StoreError> {
        self.store.0.read(tenant, each)
    }

    fn write(&self, changes: &Changes) -> Result<(), StoreError> {
        drop(self.released.wait_while(self.hangs.lock().unwrap(), |hangs| *hangs).unwrap());
        match self.broken.load(SeqCst) {
            true => Err(StoreError::Write("no space left".into())),
            false => self.store.write(changes),
        }
    }
}

fn limiter() -> Limiter {
    Limiter::builder(Plans::uniform(["1000000/month", "1000000/minute"]).unwrap()).build().unwrap()
}

fn spend(limiter: &Limiter, tenant: &str) -> Result<(), Reason> {
    let mut reservation = limiter.try_reserve(&Demand::new(tenant, "m")).map_err(|refusal| refusal.reason())?;
    reservation.mark_sent();
    Ok(())
}

fn start(disk: &Arc<Disk>, limiter: &Limiter, within: Duration) -> BalancePersister {
    let every = Duration::from_millis(1);
    BalancePersister::builder(Store(Arc::clone(disk) as _)).every(every).within(within).start(limiter).unwrap()
}

fn spent(store: &Store, tenant: &str) -> u64 {
    store.balances_of(tenant).unwrap().iter().map(Balance::spent).sum()
}

const HOUR: Duration = Duration::from_secs(3_600);

#[tokio::test]
async fn persister_retries_failed_write() {
    let (disk, limiter) = (Disk::new(), limiter());
    let persister = start(&disk, &limiter, HOUR);
    disk.broken.store(true, SeqCst);
    spend(&limiter, "acme").unwrap();
    assert_eq!(persister.flush().await, Err(StoreError::Write("no space left".into())));
    spend(&limiter, "acme").unwrap();
    assert!(persister.flush().await.is_err());
    disk.broken.store(false, SeqCst);
    persister.flush().await.unwrap();
    assert_eq!(spent(&disk.store, "acme"), 2);
}

#[tokio::test]
async fn persister_failing_write_refuses_calls() {
    let (disk, limiter) = (Disk::new(), limiter());
    let persister = start(&disk, &limiter, Duration::ZERO);
    let buckets_only = Limiter::builder(Plans::uniform(["1000000/minute"]).unwrap()).build().unwrap();
    disk.broken.store(true, SeqCst);
    while spend(&limiter, "acme").is_ok() {
        assert!(persister.flush().await.is_err());
    }
    assert_eq!(spend(&limiter, "acme"), Err(Reason::Unrecorded));
    buckets_only.0.flush_watchdog.stop();
    assert_eq!(spend(&buckets_only, "acme"), Ok(()), "a limiter without windows has nothing to record");
    disk.broken.store(false, SeqCst);
    persister.flush().await.unwrap();
    while spend(&limiter, "acme") == Err(Reason::Unrecorded) {
        // The next round may be running, and its write may already count as late.
        persister.flush().await.unwrap();
    }
}

#[tokio::test]
async fn persister_hanging_write_refuses_calls() {
    let (disk, limiter) = (Disk::new(), limiter());
    let persister = start(&disk, &limiter, Duration::ZERO);
    disk.hang(true);
    while spend(&limiter, "acme").is_ok() {
        tokio::task::yield_now().await;
    }
    disk.hang(false);
    persister.close().await.unwrap();
    assert_eq!(spend(&limiter, "acme"), Ok(()), "a closed bookkeeper holds nobody up");
}

#[tokio::test]
async fn persister_forget_survives_failed_write() {
    let (disk, limiter) = (Disk::new(), limiter());
    let persister = start(&disk, &limiter, HOUR);
    spend(&limiter, "acme").unwrap();
    spend(&limiter, "other").unwrap();
    persister.flush().await.unwrap();
    disk.broken.store(true, SeqCst);
    spend(&limiter, "acme").unwrap();
    assert!(persister.flush().await.is_err());
    assert!(persister.forget("acme").await.is_err(), "it says that the store still has it");
    disk.broken.store(false, SeqCst);
    persister.flush().await.unwrap();
    assert!(disk.store.balances_of("acme").unwrap().is_empty());
    assert_eq!(spent(&disk.store, "other"), 1);
}

#[tokio::test]
async fn durable_reservations_are_stored_before_sending() {
    let (disk, limiter) = (Disk::new(), limiter());
    let persister = start(&disk, &limiter, HOUR);
    let recorded = {
        let store = disk.store.clone();
        move |_: &ChatRequest| store.balances_of("acme").unwrap().iter().any(|balance| balance.reserved() > 0)
    };
    let client = Scripted::new().rule(Rule::say("x").when(recorded));
    let layer = RateLimitLayer::new(limiter.clone());
    let provider = into_provider(layer.clone().durable_reservations(&persister).layer(client.clone()));
    let ask = || Call::new("acme", ChatRequest::new("m").user("a"));
    for _ in 0..3 {
        assert_eq!(provider.chat(ask()).await.unwrap().output.text(), "x", "it was in the store when it was sent");
    }
    disk.broken.store(true, SeqCst);
    let refused = provider.chat(ask()).await.unwrap_err();
    assert_eq!((refused.code(), client.calls()), (Some("unrecorded"), 3));
    let month = limiter.usage("acme").await.iter().next().unwrap().clone();
    assert_eq!((month.used, month.reserved), (3, 0), "what is not sent costs nothing");
    into_provider(layer.layer(client)).chat(ask()).await.unwrap();
}

#[tokio::test]
async fn durable_reservations_wait_no_longer_than_within() {
    let (disk, limiter) = (Disk::new(), limiter());
    let persister = start(&disk, &limiter, Duration::from_millis(20));
    let client = Scripted::new();
    let layer = RateLimitLayer::new(limiter).durable_reservations(&persister);
    disk.hang(true);
    let refused = into_provider(layer.layer(client.clone())).chat(Call::new("acme", ChatRequest::new("m"))).await;
    assert_eq!((refused.unwrap_err().code(), client.calls()), (Some("unrecorded"), 0));
    disk.hang(false);
}

#[tokio::test]
async fn persister_drop_writes_the_rest() {
    let (disk, limiter) = (Disk::new(), limiter());
    let persister = BalancePersister::builder(Store(Arc::clone(&disk) as _)).every(HOUR).start(&limiter).unwrap();
    spend(&limiter, "acme").unwrap();
    let flush_loop = Arc::clone(&persister.flush_loop);
    drop(persister);
    flush_loop.ended().await.unwrap();
    assert_eq!(spent(&disk.store, "acme"), 1);
}
