//! Accounts in Redis behind the trait of all accounts.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use futures_util::future::try_join_all;
use llm_redis::{Command, Error};

use super::{
    RedisStats,
    chunks::is_of_chunk,
    layout::{self, ACCOUNTS, Tag},
    outage::LocalShare,
    outbox::{Job, Outbox, Used},
    question::{self, RuleNeed},
    scripts::{FORGET, IMPORT},
    shared::{Open, Shared, lock},
};
use crate::{
    Balance, Dimension, LimitStatuses, Reason, Settlement, StoreError,
    account_ref::AccountRef,
    accounts::{Accounts, Decision, DecisionRequest, Listener, RoundTrip, Settled},
    hold::Hold,
    kind::Kind,
    rules::Names,
    window::ImportMode,
};

/// Longest time of each step of an operation that the application itself starts.
const OPERATION: Duration = Duration::from_secs(10);
/// Number of balances that are imported at the same time.
const TOGETHER: usize = 64;
/// Time after which the first of those that wait asks again.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Accounts in Redis: one limit and one budget, however many processes decide by them.
///
/// A decision by a tenant's limits is one script and one round trip. It takes all that a call needs, or nothing. Limits that
/// tenants share are decided from chunks, which a process leases: see [`RedisAccountsBuilder::chunked`](crate::RedisAccountsBuilder::chunked).
/// The time is the server's.
/// Settlements are sent afterwards, and retried until the server has acknowledged them. The page `docs/fleet.md` of the
/// repository says how to run a server for it, and what an outage or a crash can lose.
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
    pub(super) outbox: Outbox,
    pub(super) local: LocalShare,
}

impl RedisAccounts {
    fn stats(&self) -> RedisStats {
        let counts = &self.shared.counts;
        RedisStats {
            dropped_settlements: counts.dropped.load(Relaxed),
            pending_settlements: self.outbox.pending() as u64,
            refused_in_outage: counts.refused.load(Relaxed),
            allowed_in_outage: counts.allowed.load(Relaxed),
            shared_in_outage: counts.local.load(Relaxed),
        }
    }

    /// Settles what a call took of chunks, account by account.
    pub(super) fn settle_chunks(&self, holds: &[Hold], settlement: &Settlement, shares: &[u8], settled: &mut Settled) {
        for holds in holds.chunk_by(|a, b| a.account_ref == b.account_ref) {
            let (account_ref, mut chunks) = (holds[0].account_ref, lock(&self.shared.chunks));
            if chunks.settle(holds, settlement, shares) {
                settled.awaited.push(account_ref);
            }
            let is_closing = chunks.is_closing;
            drop(chunks);
            if is_closing {
                self.outbox.report(account_ref);
            }
        }
    }

    /// Gives all chunks back, now and when calls end.
    pub(super) fn return_chunks(&self) {
        lock(&self.shared.chunks).is_closing = true;
        self.outbox.report_all();
    }

    fn settle_open(
        &self,
        open: Open,
        holds: &[Hold],
        settlement: &Settlement,
        now: u64,
        alert_shares: &[u8],
    ) -> Settled {
        let shares: Arc<[u8]> = alert_shares.into();
        let (Open::Leased { question, .. } | Open::Local { question, .. }) = &open;
        let used = |amount: &dyn Fn(&RuleNeed) -> Option<u64>, rules: &[RuleNeed]| -> Vec<Used> {
            rules.iter().filter_map(|need| Some(Used::new(need, amount(need)?))).collect()
        };
        let amount = |need: &RuleNeed| Some(settlement.amount(need.kind, need.take?));
        match &open {
            Open::Leased { id, question } => {
                for part in &question.parts {
                    let used = used(&amount, &part.rules);
                    if !used.is_empty() {
                        let (tag, shares) = (Arc::clone(&part.tag), Arc::clone(&shares));
                        self.outbox.push(Job::Settle { tag, id: *id, used, shares });
                    }
                }
                Settled::default()
            }
            Open::Local { holds: local, .. } => {
                let mut settled = self.local.table.settle(local, settlement, now, alert_shares);
                settled.awaited = holds.iter().map(|hold| hold.account_ref).collect();
                settled.awaited.dedup();
                settled.awaited.retain(|at| self.shared.is_awaited(*at));
                let counted = |need: &RuleNeed| amount(need).filter(|_| need.kind != Kind::Slots);
                let rules: Vec<_> = question.rules().cloned().collect();
                let used = used(&counted, &rules);
                if used.iter().any(|used| used.amount > 0) {
                    let id = self.shared.id(self.shared.next_number());
                    self.outbox.push(Job::Charge { question: question.uncounted(), id, used, shares });
                }
                settled
            }
        }
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

    /// Takes a balance over. Returns true if it changed an account.
    async fn put(&self, mut balance: Balance, mode: ImportMode) -> Result<bool, Error> {
        if mode != ImportMode::Spent {
            balance.window.lose_reservations();
        }
        let key_space = self.shared.redis.key_space();
        let account = layout::account_name(&balance.scope, balance.values(), balance.catch_all);
        let tag = match balance.scope.value_of(&Dimension::Tenant, balance.values()) {
            Some(tenant) => Tag::of_tenant(key_space, tenant),
            None => Tag::of_shared(key_space, &account),
        };
        let mode = match mode {
            ImportMode::Replace => "replace",
            ImportMode::Greater => "greater",
            ImportMode::Spent => "spent",
        };
        lock(&self.shared.marks).forget(&tag);
        let ordinal = layout::ordinal(&balance);
        let call = IMPORT.with_keys(&[&tag.accounts]).arg(question::KEPT[0]).arg(mode);
        let call = call.arg(layout::field(&account, &balance.counter));
        let call = call.arg(layout::window_value(&balance.window, ordinal));
        Ok(self.shared.redis.run_with_timeout(OPERATION, call).await?.into_int()? == 1)
    }

    /// Lets a test's time stand for the server's, and all that was settled before be counted.
    #[cfg(test)]
    pub(super) async fn follow_test(&self, now: u64) {
        if self.shared.exact().is_some() {
            self.shared.set_exact(now);
            self.outbox.drained().await;
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
        let of_chunks = holds.partition_point(|hold| !is_of_chunk(hold));
        let (others, of_chunks) = holds.split_at(of_chunks);
        let open = others.first().and_then(|hold| self.shared.take(hold.mark.into()));
        let settled = open.map(|open| self.settle_open(open, others, settlement, now, alert_shares));
        let mut settled = settled.unwrap_or_default();
        self.settle_chunks(of_chunks, settlement, alert_shares, &mut settled);
        settled
    }

    fn levels<'a>(&'a self, request: DecisionRequest<'a>) -> RoundTrip<'a, LimitStatuses> {
        Box::pin(self.look(request))
    }

    fn forget<'a>(&'a self, tenant: &'a str, _: &'a Names) -> RoundTrip<'a, ()> {
        Box::pin(async move {
            #[cfg(test)]
            self.outbox.drained().await;
            let tag = Tag::of_tenant(self.shared.redis.key_space(), tenant);
            lock(&self.shared.marks).forget(&tag);
            let call = FORGET.with_keys(&[&tag.accounts]);
            if let Err(error) = self.shared.redis.run_with_timeout(OPERATION, call).await {
                tracing::error!(%error, "a tenant was not forgotten: forget it again");
            }
        })
    }

    fn export<'a>(&'a self, changed: bool, _: &'a Names) -> RoundTrip<'a, Result<Vec<Balance>, StoreError>> {
        Box::pin(async move {
            #[cfg(test)]
            self.outbox.drained().await;
            // What changed is in Redis already, where a persister need not write it.
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
        self.shared.open() + lock(&self.shared.chunks).open() + self.outbox.pending()
    }

    fn close(&self) {
        self.return_chunks();
    }

    fn len(&self) -> usize {
        0
    }

    fn sweep(&self, _: u64) {}

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
