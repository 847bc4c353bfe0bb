//! Accounts in Redis, as an implementation of [`Accounts`].

use std::{
    sync::{
        Arc,
        atomic::Ordering::{Relaxed, SeqCst},
    },
    time::Duration,
};

use futures_util::future::try_join_all;
use llm_redis::{Command, Error};

use super::{
    RedisStats,
    chunk::{Chunk, lease_of},
    layout::{self, ACCOUNTS},
    open::{Amounts, Reserved},
    outage::LocalShare,
    outbox::Job,
    script_request::{self, RuleNeed},
    scripts::{FORGET, IMPORT, MOST},
    shared::{Shared, lock},
};
use crate::{
    Balance, Dimension, LimitStatuses, Reason, Settlement, StoreError,
    account_ref::AccountRef,
    accounts::{Accounts, Decision, DecisionRequest, Listener, RoundTrip, Settled},
    hold::Hold,
    rules::Names,
    window::ImportMode,
};

/// Timeout of each command of an operation that the application starts itself, such as an import.
const OPERATION: Duration = Duration::from_secs(10);
/// Number of balances that are imported at the same time.
const TOGETHER: usize = 64;
/// Interval at which the first waiting call of an account is decided again.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Accounts in Redis. All processes that use them share each limit and each budget.
///
/// A decision by a tenant's limits takes one script and one round trip. It reserves everything that a call needs, or
/// nothing. Limits that tenants share are decided from chunks that each process leases: see
/// [`RedisAccountsBuilder::chunked`](crate::RedisAccountsBuilder::chunked). All accounts follow the server's clock.
/// Settlements are sent in the background, and retried until the server acknowledges them, at most until 5 seconds
/// after the limiter was dropped. The page `docs/fleet.md` of the repository describes how to run such a server, and
/// what an outage or a crash can lose.
///
/// ```no_run
/// use std::num::NonZeroU32;
///
/// use llm_ratelimit::{Demand, Limiter, Plans, RedisAccounts, Settlement, llm_redis::Redis};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let redis = Redis::builder("redis://127.0.0.1:6379").prefix("shop").spawn()?;
/// // Four processes share the limits.
/// let accounts = RedisAccounts::builder(redis, NonZeroU32::new(4).ok_or("zero")?).open().await?;
/// let limiter = Limiter::builder(Plans::uniform(["60/minute", "20 concurrent"])?).redis(accounts).build()?;
/// let reservation = limiter.reserve(&Demand::new("acme", "gpt-4o-mini")).await?;
/// reservation.settle(Settlement::Unknown);
/// limiter.close().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct RedisAccounts {
    pub(super) shared: Arc<Shared>,
    pub(super) local: LocalShare,
}

impl RedisAccounts {
    fn stats(&self) -> RedisStats {
        let counts = &self.shared.counts;
        RedisStats {
            dropped_settlements: counts.dropped.load(Relaxed),
            pending_settlements: self.shared.pending() as u64,
            refused_in_outage: counts.refused.load(Relaxed),
            allowed_in_outage: counts.allowed.load(Relaxed),
            shared_in_outage: counts.local.load(Relaxed),
        }
    }

    /// Settles the amounts that a call took from chunks, account by account.
    pub(super) fn settle_chunks(&self, holds: &[Hold], settlement: &Settlement) -> Settled {
        let mut settled = Settled::default();
        for holds in holds.chunk_by(|a, b| a.account_ref == b.account_ref) {
            let account_ref = holds[0].account_ref;
            let settle = |chunk: &mut Chunk| (chunk.settle(holds, settlement), chunk.is_awaited);
            let (is_current, is_awaited) = lock(&self.shared.chunks).with(account_ref, settle);
            if is_awaited {
                settled.awaited.push(account_ref);
            }
            if let Some(number) = lease_of(&holds[0]).filter(|_| !is_current) {
                self.settle_reserved(number, holds, settlement);
            }
            if self.shared.is_closing() {
                self.shared.report(account_ref);
            }
        }
        settled
    }

    /// Gives all unused chunks back to the server, and the amounts that calls still use when these calls end.
    pub(super) fn return_chunks(&self) {
        self.shared.is_closing.store(true, SeqCst);
        self.shared.report_all();
    }

    fn settle_reserved(&self, number: u64, holds: &[Hold], settlement: &Settlement) {
        let ended = lock(&self.shared.open).settle(number, holds, settlement);
        if let Some(reserved) = ended {
            self.shared.push(Job::Settle(reserved));
        }
    }

    /// Settles a call that was granted while the server could not be reached. Returns the accounts for which calls
    /// wait; `None` if the server granted the call. The amounts that the call used are charged once the server replies
    /// again. Only that reply states the alert shares that the amounts reached.
    fn settle_local(&self, number: u64, settlement: &Settlement, now: u64) -> Option<Settled> {
        let script_requests = self.local.settle(number, settlement, now)?;
        let awaited = self.shared.awaited(script_requests.iter().flat_map(|script_request| &script_request.rules));
        for script_request in script_requests {
            let amount = |need: &RuleNeed| need.take.map_or(0, |take| settlement.amount(need.rule.kind, take));
            let used: Amounts = script_request.rules.iter().map(amount).collect();
            if used.iter().any(|used| *used > 0) {
                let number = self.shared.next_number();
                let charge = Reserved::of_lease(number, script_request.uncounted(), 0, used);
                self.shared.push(Job::Charge(charge));
            }
        }
        Some(Settled { awaited, ..Settled::default() })
    }

    async fn all_balances(&self) -> Result<Vec<Balance>, Error> {
        let (mut cursor, mut balances) = (None, Vec::new());
        loop {
            let page = self.shared.redis.scan(ACCOUNTS, cursor.as_deref(), 256).await?;
            for key in page.keys {
                let hash = self.shared.redis.run_with_timeout(OPERATION, Command::new("HGETALL", &key)).await?;
                balances.extend(layout::balances(hash.into_list()?));
            }
            cursor = page.cursor;
            if cursor.is_none() {
                balances.sort_by(|a: &Balance, b| {
                    (&a.scope, &a.values, &a.counter).cmp(&(&b.scope, &b.values, &b.counter))
                });
                balances.dedup_by(|a, b| (&a.scope, &a.values, &a.counter) == (&b.scope, &b.values, &b.counter));
                return Ok(balances);
            }
        }
    }

    /// Imports a balance. Returns `true` if an account was changed.
    async fn put(&self, balance: Balance, mode: ImportMode) -> Result<bool, Error> {
        let account = layout::account_name(&balance.scope, balance.values(), balance.catch_all);
        let tag = self.shared.tag(balance.scope.value_of(&Dimension::Tenant, balance.values()), &account);
        let mode = match mode {
            ImportMode::Replace => "replace",
            ImportMode::Greater => "greater",
            ImportMode::Spent => "spent",
        };
        lock(&self.shared.marks).forget(&tag);
        let value = layout::window_value(&balance.window, layout::calendar(&balance).as_ref());
        let call = IMPORT.with_keys(&tag.keys()).arg(script_request::KEPT[0]).arg(mode);
        let call = call.arg(layout::field(&account, &balance.counter)).arg(value);
        Ok(self.shared.redis.run_with_timeout(OPERATION, call).await?.into_int()? == 1)
    }

    async fn forget_tenant(&self, tenant: &str) -> Result<(), Error> {
        let tag = self.shared.tag(Some(tenant), "");
        lock(&self.shared.marks).forget(&tag);
        let hash = self.shared.redis.run_with_timeout(OPERATION, Command::new("HGETALL", &tag.accounts)).await?;
        let fields = layout::fields_of(hash.into_list()?, tenant);
        let call = fields.iter().fold(FORGET.with_keys(&tag.keys()), |call, field| call.arg(&**field));
        self.shared.redis.run_with_timeout(OPERATION, call).await.map(drop)
    }

    /// Sets the time that a test uses instead of the server's clock, after all earlier settlements have been counted.
    #[cfg(test)]
    pub(super) async fn follow_test(&self, now: u64) {
        if self.shared.exact().is_some() {
            self.shared.drained().await;
            self.shared.set_exact(now);
        }
    }
}

impl Accounts for RedisAccounts {
    fn try_decide(&self, request: &DecisionRequest<'_>, decision: &mut Decision) {
        if !self.decides_here(request, decision) {
            decision.refused = Some(Reason::Remote);
        }
    }

    fn decide<'a>(&'a self, request: &'a DecisionRequest<'a>, decision: &'a mut Decision) -> Option<RoundTrip<'a, ()>> {
        #[cfg(test)]
        if self.shared.exact().is_some() {
            return Some(Box::pin(self.decide_remotely(request, decision)));
        }
        if self.decides_here(request, decision) {
            return None;
        }
        Some(Box::pin(self.decide_remotely(request, decision)))
    }

    fn settle(&self, holds: &[Hold], settlement: &Settlement, now: u64, alert_shares: &[u8]) -> Settled {
        #[cfg(test)]
        if self.shared.exact().is_some() {
            self.shared.set_exact(now);
        }
        let of_chunks = holds.partition_point(|hold| lease_of(hold).is_none());
        let (others, of_chunks) = holds.split_at(of_chunks);
        let _ = self.shared.alert_shares.get_or_init(|| alert_shares.into());
        let mut settled = self.settle_chunks(of_chunks, settlement);
        let Some(number) = others.first().map(|hold| u64::from(hold.mark)) else { return settled };
        match self.settle_local(number, settlement, now) {
            Some(mut local) => settled.awaited.append(&mut local.awaited),
            None => self.settle_reserved(number, others, settlement),
        }
        settled
    }

    fn levels<'a>(&'a self, request: DecisionRequest<'a>) -> RoundTrip<'a, LimitStatuses> {
        Box::pin(self.look(request))
    }

    fn forget<'a>(&'a self, tenant: &'a str, _: &'a Names) -> RoundTrip<'a, ()> {
        Box::pin(async move {
            #[cfg(test)]
            self.shared.drained().await;
            if let Err(error) = self.forget_tenant(tenant).await {
                tracing::error!(%error, "a tenant was not forgotten: forget it again");
            }
        })
    }

    fn export<'a>(&'a self, changed: bool, _: &'a Names) -> RoundTrip<'a, Result<Vec<Balance>, StoreError>> {
        Box::pin(async move {
            #[cfg(test)]
            self.shared.drained().await;
            // The changes are in Redis already, so a persister does not need to write them.
            if changed {
                return Ok(Vec::new());
            }
            self.all_balances().await.map_err(|error| StoreError::Read(error.to_string()))
        })
    }

    fn import<'a>(
        &'a self,
        balances: Vec<Balance>,
        mode: ImportMode,
        _: &'a Names,
    ) -> RoundTrip<'a, Result<usize, StoreError>> {
        Box::pin(async move {
            let mut changed = 0;
            for together in balances.chunks(TOGETHER) {
                let put = together.iter().map(|balance| self.put(balance.clone(), mode));
                let put = try_join_all(put).await.map_err(|error| StoreError::Write(error.to_string()))?;
                changed += put.into_iter().filter(|changed| *changed).count();
            }
            Ok(changed)
        })
    }

    fn set_awaited(&self, account_ref: AccountRef, awaited: bool) {
        self.shared.set_awaited(account_ref, awaited);
    }

    fn open(&self) -> usize {
        // The order of the reads matters: settling a call granted during an outage adds a job to the shared ones.
        self.local.open() + self.shared.open()
    }

    fn close(&self) {
        self.return_chunks();
    }

    fn len(&self) -> usize {
        0
    }

    fn sweep(&self, _: u64) {}

    fn greatest_limit(&self) -> u64 {
        MOST
    }

    fn connect(&self, listener: Listener) {
        self.shared.connect(listener);
    }

    fn redis_stats(&self) -> crate::RedisStats {
        self.stats()
    }

    fn ask_again_after(&self) -> Option<Duration> {
        Some(ASK_AGAIN)
    }
}
