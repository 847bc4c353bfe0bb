//! Accounts in Redis for tests, on servers that belong to the current test.

use std::{
    cell::RefCell,
    num::NonZeroU32,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::Duration,
};

use llm_redis::{Redis, RedisBuilder};
use llm_testkit::redis::{RedisCluster, RedisServer};
use tokio::runtime::Builder;

use super::{RedisAccounts, RedisAccountsBuilder};

/// Servers of a test, and the runtime that the test's thread has entered for as long as it lives.
struct TestServers {
    single: Option<RedisServer>,
    tls: Option<RedisServer>,
    cluster: Option<RedisCluster>,
}

thread_local! {
    // Each test runs on a thread of its own. Its servers end with the thread.
    static SERVERS: RefCell<Option<TestServers>> = const { RefCell::new(None) };
}

/// Timeout that is long enough even on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Lease that is longer than any leap in time that a test makes.
const LEASE: Duration = Duration::from_secs(50 * 366 * 86_400);

static NEXT: AtomicU32 = AtomicU32::new(0);

impl TestServers {
    fn begin() -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("threads can be made");
        std::mem::forget(Box::leak(Box::new(runtime)).enter());
        Self { single: None, tls: None, cluster: None }
    }
}

/// Returns empty accounts on one server. Their clock is the time of each request.
pub(crate) fn accounts_on_one_server() -> RedisAccounts {
    with_servers(|servers| {
        let server = servers.single.get_or_insert_with(RedisServer::spawn);
        empty(server);
        Redis::builder(server.url())
    })
}

/// Returns empty accounts on one server with TLS. Their clock is the time of each request.
pub(crate) fn accounts_with_tls() -> RedisAccounts {
    with_servers(|servers| {
        let server = servers.tls.get_or_insert_with(|| RedisServer::builder().tls().spawn());
        empty(server);
        Redis::builder(server.url()).root_certificates(server.certificate().expect("it has one"))
    })
}

/// Returns empty accounts on a Redis Cluster of three nodes. Their clock is the time of each request.
pub(crate) fn accounts_on_cluster() -> RedisAccounts {
    with_servers(|servers| {
        let cluster = servers.cluster.get_or_insert_with(RedisCluster::spawn);
        cluster.nodes().iter().for_each(empty);
        Redis::builder(cluster.url())
    })
}

/// Returns the accounts of `N` processes on one server, which decide from chunks.
pub(crate) fn accounts_with_chunks<const N: usize>() -> [RedisAccounts; N] {
    let prefix = format!("chunks{}", NEXT.fetch_add(1, Relaxed));
    std::array::from_fn(|number| {
        with_settings(
            |servers| {
                let server = servers.single.get_or_insert_with(RedisServer::spawn);
                if number == 0 {
                    empty(server);
                }
                Redis::builder(server.url())
            },
            prefix.clone(),
            |builder| builder.chunked(|_, _| true),
        )
    })
}

impl RedisAccounts {
    /// Renews all chunks at the time `now`, as is otherwise done after each third of the lease.
    pub(crate) async fn renew_chunks(&self, now: u64) {
        self.follow_test(now).await;
        self.shared.report_all();
        self.shared.drained().await;
    }

    /// Closes the accounts at the time `now`, and waits until all chunks have been returned. The time is set first,
    /// because a request with an earlier time would move the server's windows back.
    pub(crate) async fn close_at(&self, now: u64) {
        self.follow_test(now).await;
        self.return_chunks();
        self.renew_chunks(now).await;
    }
}

/// Removes all keys of earlier test cases, so that listings stay short.
fn empty(server: &RedisServer) {
    server.command(&["FLUSHALL"]).expect("it responds");
}

fn with_servers(client: impl FnOnce(&mut TestServers) -> RedisBuilder) -> RedisAccounts {
    let prefix = format!("test{}", NEXT.fetch_add(1, Relaxed));
    with_settings(client, prefix, RedisAccountsBuilder::one_tag)
}

fn with_settings(
    client: impl FnOnce(&mut TestServers) -> RedisBuilder,
    prefix: String,
    set: impl FnOnce(RedisAccountsBuilder) -> RedisAccountsBuilder,
) -> RedisAccounts {
    SERVERS.with_borrow_mut(|servers| {
        let client = client(servers.get_or_insert_with(TestServers::begin));
        let client = client.prefix(prefix).probe_timeout(TIMEOUT).call_timeout(TIMEOUT).connect_timeout(TIMEOUT);
        let accounts = crate::runtime::block_on(async {
            let client = client.spawn().expect("the settings are right");
            let builder = RedisAccounts::builder(client, NonZeroU32::MIN).lease(LEASE).decision_timeout(TIMEOUT);
            set(builder).open().await.expect("the server is there")
        });
        accounts.shared.set_exact(0);
        accounts
    })
}
