//! Tests of replies that are lost after the server ran the script.

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use futures_util::future::join_all;
use llm_ratelimit::{Limiter, RedisAccounts, RedisAccountsBuilder, llm_redis::Redis};
use llm_testkit::redis::RedisServer;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::{ask, build, level, open, settled, used};

/// Sequence of numbers that depends only on its seed.
#[derive(Clone)]
struct Numbers {
    state: Arc<AtomicU64>,
    /// True once replies are lost.
    lose: Arc<AtomicBool>,
}

impl Numbers {
    fn new(seed: u64) -> Self {
        Self { state: Arc::new(AtomicU64::new(seed)), lose: Arc::default() }
    }

    /// Returns what happens to a reply.
    fn outcome(&self) -> ReplyOutcome {
        match self.below(100) {
            _ if !self.lose.load(SeqCst) => ReplyOutcome::Passes,
            0..8 => ReplyOutcome::Lost,
            8..10 => ReplyOutcome::Late,
            _ => ReplyOutcome::Passes,
        }
    }

    /// Returns a number below `n`.
    fn below(&self, n: u64) -> u64 {
        let mut z = self.state.fetch_add(0x9e37_79b9_7f4a_7c15, SeqCst);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

/// Fate of a reply.
pub(super) enum ReplyOutcome {
    Passes,
    /// The reply is lost with its connection.
    Lost,
    Late,
}

/// Spawns a proxy that passes all requests to a server. `outcome` decides by the bytes of a reply whether to pass it
/// on.
pub(super) async fn lossy(
    server: &RedisServer,
    outcome: impl Fn(&[u8]) -> ReplyOutcome + Clone + Send + 'static,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
    let url = format!("redis://{}", listener.local_addr().expect("it is bound"));
    let port = server.port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { continue };
            let ((mut from, mut to), (mut back, mut requests)) = (client.into_split(), server.into_split());
            tokio::spawn(async move { tokio::io::copy(&mut from, &mut requests).await });
            let outcome = outcome.clone();
            tokio::spawn(async move {
                let mut bytes = vec![0; 1 << 16];
                while let Ok(read) = back.read(&mut bytes).await {
                    match outcome(&bytes[..read]) {
                        ReplyOutcome::Passes => {}
                        ReplyOutcome::Lost => return,
                        ReplyOutcome::Late => tokio::time::sleep(2 * TIMEOUT).await,
                    }
                    if read == 0 || to.write_all(&bytes[..read]).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    url
}

/// Timeout of a decision.
const TIMEOUT: Duration = Duration::from_millis(20);

/// Returns the settings of accounts behind a proxy that loses replies.
pub(super) fn accounts(url: &str, is_chunked: bool) -> RedisAccountsBuilder {
    let client = Redis::builder(url).call_timeout(Duration::from_secs(5));
    let client = client.probe_backoff(Duration::from_millis(1), Duration::from_millis(2));
    let client = client.spawn().expect("the settings are right");
    RedisAccounts::builder(client, NonZeroU32::MIN).chunked(move |_, _| is_chunked)
}

async fn open_lossy(server: &RedisServer, numbers: &Numbers, limits: &[&str], is_chunked: bool) -> Limiter {
    let url = {
        let numbers = numbers.clone();
        lossy(server, move |_| numbers.outcome()).await
    };
    let accounts = accounts(&url, is_chunked).decision_timeout(TIMEOUT);
    let limiter = build(accounts, limits, |builder| builder).await;
    // Opening the limiter is not part of the test.
    numbers.lose.store(true, SeqCst);
    limiter
}

/// Makes one call, which is refused, settled or cancelled, or whose caller leaves before the decision. Returns the
/// amount that it used.
async fn call(limiter: &Limiter, numbers: &Numbers) -> u64 {
    let reserved = 1 + numbers.below(100);
    let demand = ask("a").tokens(reserved, 0);
    let decision = limiter.reserve(&demand);
    let decision = match numbers.below(10) {
        0 => match tokio::time::timeout(Duration::from_micros(numbers.below(400)), decision).await {
            Ok(decision) => decision,
            Err(_) => return 0,
        },
        _ => decision.await,
    };
    let Ok(mut reservation) = decision else { return 0 };
    match numbers.below(4) {
        0 => 0,
        1 => {
            reservation.mark_sent();
            reserved
        }
        _ => {
            let tokens = numbers.below(150);
            reservation.settle(used(tokens));
            tokens
        }
    }
}

#[tokio::test]
async fn phantom_spend_is_none_after_lost_replies() {
    phantom_spend_is_none(false).await;
}

#[tokio::test]
async fn phantom_spend_of_chunks_is_none() {
    phantom_spend_is_none(true).await;
}

/// Loses replies to calls that are decided one by one or from chunks, and compares the accounts with the calls' usage.
async fn phantom_spend_is_none(is_chunked: bool) {
    let seeds = if crate::full() { 100 } else { 4 };
    let server = RedisServer::spawn();
    let limits = ["1000000 tokens/month", "1000 concurrent", "1000000/minute"];
    for seed in 0..seeds {
        assert_eq!(server.command(&["FLUSHALL"]).as_deref(), Ok("OK"));
        let numbers = Numbers::new(seed);
        let limiter = open_lossy(&server, &numbers, &limits, is_chunked).await;
        let mut ledger = 0;
        for _ in 0..10 {
            ledger += join_all((0..10).map(|_| call(&limiter, &numbers))).await.into_iter().sum::<u64>();
        }
        settled(&limiter).await;
        assert_eq!(limiter.close().await, Ok(0));
        numbers.lose.store(false, SeqCst);
        let other = open(&server, &limits).await;
        assert_eq!(level(&other, "a").await, (ledger, 0), "seed {seed}");
        let slots = other.usage("a").await.iter().nth(1).expect("it has slots");
        assert_eq!(slots.reserved, 0, "seed {seed}");
        assert_eq!(limiter.stats().redis.dropped_settlements, 0);
    }
    println!("{seeds} seeds: after settlement the accounts equal the ledger");
}
