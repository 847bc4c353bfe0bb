//! Trait of the implementations that keep accounts, in memory or in Redis.

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use smallvec::SmallVec;

use crate::{
    Balance, Demand, LimitStatuses, Reason, Settlement, StoreError,
    account_ref::AccountRef,
    blocked::Blocked,
    counter::DecisionTime,
    hold::{Held, Hold},
    kind::Kind,
    refusal::Cause,
    rules::{Names, PlanRules, Rule},
    window::{ImportMode, ReachedShares},
};

/// Accounts of all limits. A limiter makes all its decisions through this trait.
///
/// An implementation keeps only the accounts. Plans, names and the time are arguments of its methods. A decision may
/// need a round trip, so some methods return futures. A future does nothing before it is polled, and takes nothing if
/// it is dropped before it is ready.
pub(crate) trait Accounts: fmt::Debug + Send + Sync {
    /// Takes all amounts that a call needs, or nothing, without waiting. The decision uses only the data of this
    /// process.
    fn try_decide(&self, request: &DecisionRequest<'_>, decision: &mut Decision);

    /// Takes all amounts that a call needs, or nothing. Returns `None` if the decision was made at once. Otherwise the
    /// decision is made once the returned future is ready.
    fn decide<'a>(&'a self, request: &'a DecisionRequest<'a>, decision: &'a mut Decision) -> Option<RoundTrip<'a, ()>>;

    /// Replaces the amounts that a call holds by those that it used. Returns the consequences that are known at once:
    /// reached alert shares, debt, and accounts that may have room again. The method never waits. An implementation
    /// that must send a message sends it later.
    fn settle(&self, holds: &[Hold], settlement: &Settlement, now: u64, alert_shares: &[u8]) -> Settled;

    /// Reads the status of a call's limits, without taking amounts.
    fn levels<'a>(&'a self, request: DecisionRequest<'a>) -> RoundTrip<'a, LimitStatuses>;

    /// Drops the usage of a tenant in all accounts that count only this tenant. If an account has open reservations,
    /// their amounts stay in its windows and slots, and its buckets are emptied.
    fn forget<'a>(&'a self, tenant: &'a str, names: &'a Names) -> RoundTrip<'a, ()>;

    /// Returns the balances of all calendar windows, or with `changed` only of those that changed since the last export
    /// with `changed`. The first such export returns all balances.
    fn export<'a>(&'a self, changed: bool, names: &'a Names) -> RoundTrip<'a, Result<Vec<Balance>, StoreError>>;

    /// Imports balances. Returns the number of balances that changed an account.
    fn import<'a>(
        &'a self,
        balances: Vec<Balance>,
        mode: ImportMode,
        names: &'a Names,
    ) -> RoundTrip<'a, Result<usize, StoreError>>;

    /// Marks an account as awaited, so that no new call takes its room before the waiting calls. With `false`, removes
    /// the mark.
    fn set_awaited(&self, account_ref: AccountRef, awaited: bool);

    /// Returns the number of open reservations. A reservation counts once for each account in which it holds amounts.
    fn open(&self) -> usize;

    /// Returns the number of accounts in memory; 0 for accounts in Redis.
    fn len(&self) -> usize;

    /// Removes all accounts in memory that hold nothing, however recently they were used.
    fn sweep(&self, now: u64);

    /// Returns the largest amount of a limit that the accounts can count exactly, in tokens, nano-dollars, calls or
    /// units.
    fn greatest_limit(&self) -> u64 {
        u64::MAX
    }

    /// Sets the receiver of results that become known after a settlement was sent, and of accounts that may have room
    /// again.
    fn connect(&self, _listener: Listener) {}

    /// Returns the statistics of accounts in Redis; all zero for accounts in memory.
    #[cfg(feature = "redis")]
    fn redis_stats(&self) -> crate::RedisStats {
        crate::RedisStats::default()
    }

    /// Gives leased amounts that no call uses back to the server, because the limiter is being closed. Accounts in
    /// memory lease nothing.
    fn close(&self) {}

    /// Returns the interval at which the first call in the queue of an account is decided again, even if no message has
    /// announced room; `None` if every change of the accounts is announced.
    fn ask_again_after(&self) -> Option<Duration> {
        None
    }
}

/// Receiver of the consequences of settlements.
pub(crate) type Listener = Box<dyn Fn(Settled) + Send + Sync>;

/// Result of a method that may need a round trip.
pub(crate) type RoundTrip<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Input of a decision about a call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DecisionRequest<'a> {
    pub(crate) demand: &'a Demand,
    pub(crate) plan: &'a Arc<PlanRules>,
    pub(crate) at: DecisionTime,
    pub(crate) standing: Standing,
}

/// Precedence of a call relative to waiting calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// A new call, which must wait behind calls that already wait for the account.
    New,
    /// A call that has waited for the account, or that already runs, so that waiting calls do not block it.
    Waited,
    /// A call that is sent although it was refused. Calendar windows count it, so that they show the whole usage.
    /// Buckets and slots do not, because they had no room for it.
    Regardless,
}

/// Decision about a call, with the levels of all of the plan's rules after the decision. It is made in place, as
/// the content of the [`Reservation`](crate::Reservation) that a granted call gets.
pub(crate) struct Decision {
    /// Amounts that the call took; empty if it is blocked.
    pub(crate) held: Held,
    pub(crate) statuses: LimitStatuses,
    /// Limit that blocks the call. Of several such limits, it is the one with the longest waiting time.
    pub(crate) blocked: Option<Blocked>,
    /// Reason to refuse the call even if there is room.
    pub(crate) refused: Option<Reason>,
    /// Cause of the refusal, with details that the reason does not contain; `None` if there are no details.
    pub(crate) cause: Option<Box<Cause>>,
}

/// Alert shares that a calendar window of an account has reached.
#[derive(Debug)]
pub(crate) struct Alert {
    pub(crate) group: u32,
    pub(crate) counter: u32,
    pub(crate) values: Vec<String>,
    pub(crate) shares: ReachedShares,
    pub(crate) used: u64,
    pub(crate) until: u64,
}

/// Results of a settlement.
#[derive(Debug, Default)]
pub(crate) struct Settled {
    pub(crate) alerts: Vec<Alert>,
    /// Debt that the settlement caused, by kind of unit.
    pub(crate) debts: SmallVec<[(Kind, u64); 1]>,
    /// Accounts that may have room again and for which calls wait.
    pub(crate) awaited: SmallVec<[AccountRef; 2]>,
}

impl DecisionRequest<'_> {
    /// Returns the amount that the call takes under a rule; `None` if the rule does not count the call.
    #[inline]
    pub(crate) fn takes(&self, rule: &Rule) -> Option<u64> {
        let counts = self.standing != Standing::Regardless || rule.limit.quota().windows().is_some();
        rule.amount(self.demand).filter(|_| counts)
    }
}

impl Decision {
    /// Creates an empty decision, which [`Accounts::decide`] fills in.
    #[inline]
    pub(crate) fn new(request: &DecisionRequest<'_>) -> Self {
        let statuses = LimitStatuses::new(Arc::clone(request.plan), request.at);
        Self { held: Held::default(), statuses, blocked: None, refused: None, cause: None }
    }
}
