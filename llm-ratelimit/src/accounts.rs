//! Trait of the implementations that keep accounts.

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
/// An implementation holds the accounts and nothing else: each method receives plans, names and the time as arguments.
/// A
/// decision may need a round trip, so some methods return futures. Nothing happens before such a future is polled, and
/// one that is dropped before it is ready has taken nothing.
pub(crate) trait Accounts: fmt::Debug + Send + Sync {
    /// Takes all that a call needs, or nothing, by the knowledge of this process alone, without waiting.
    fn try_decide(&self, request: &DecisionRequest<'_>, decision: &mut Decision);

    /// Takes all that a call needs, or nothing. `None` if it has decided at once; otherwise the decision is made when the
    /// future is ready.
    fn decide<'a>(&'a self, request: &'a DecisionRequest<'a>, decision: &'a mut Decision) -> Option<RoundTrip<'a, ()>>;

    /// Replaces the amounts that a call holds by those that it used, and reports which alert shares, in per cent of a
    /// limit, are reached by that. It never waits: an implementation that must send a message sends it later.
    fn settle(&self, holds: &[Hold], settlement: &Settlement, now: u64, alert_shares: &[u8]) -> Settled;

    /// Reads the levels of a call's limits, and takes nothing.
    fn levels<'a>(&'a self, request: DecisionRequest<'a>) -> RoundTrip<'a, LimitStatuses>;

    /// Forgets what a tenant has used, in all accounts by tenant. An account with open reservations keeps those.
    fn forget<'a>(&'a self, tenant: &'a str, names: &'a Names) -> RoundTrip<'a, ()>;

    /// Returns the balances of calendar windows: all, or those that changed since changes were last exported. The first
    /// export of changes is one of all.
    fn export<'a>(&'a self, changed: bool, names: &'a Names) -> RoundTrip<'a, Result<Vec<Balance>, StoreError>>;

    /// Imports balances, and returns the number of those that changed an account.
    fn import<'a>(
        &'a self,
        balances: Vec<Balance>,
        mode: ImportMode,
        names: &'a Names,
    ) -> RoundTrip<'a, Result<usize, StoreError>>;

    /// Marks an account as awaited, so that no new call takes its room before those that wait, or removes the mark.
    fn set_awaited(&self, account_ref: AccountRef, awaited: bool);

    /// Returns the number of open reservations, each counted once for every account it is in.
    fn open(&self) -> usize;

    /// Returns the number of accounts.
    fn len(&self) -> usize;

    /// Forgets all idle accounts.
    fn sweep(&self, now: u64);

    /// Returns the greatest amount of a limit that is counted exactly.
    fn greatest_limit(&self) -> u64 {
        u64::MAX
    }

    /// Sets the receiver of results that become known after a settlement was sent, and of accounts that may have room.
    fn connect(&self, _listener: Listener) {}

    /// Returns the counters of accounts in Redis.
    #[cfg(feature = "redis")]
    fn redis_stats(&self) -> crate::RedisStats {
        crate::RedisStats::default()
    }

    /// Gives back the amounts held for future calls, because the limiter is being closed.
    fn close(&self) {}

    /// Returns the time after which the first call in an account's queue asks again, even without a message that there
    /// is room.
    fn ask_again_after(&self) -> Option<Duration> {
        None
    }
}

/// Receiver of the consequences of settlements.
pub(crate) type Listener = Box<dyn Fn(Settled) + Send + Sync>;

/// The result of a method that may need a round trip.
pub(crate) type RoundTrip<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Input of a decision.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DecisionRequest<'a> {
    pub(crate) demand: &'a Demand,
    pub(crate) plan: &'a Arc<PlanRules>,
    pub(crate) at: DecisionTime,
    pub(crate) standing: Standing,
}

/// Precedence of a call over waiting calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// A new call, which comes after the waiting calls.
    New,
    /// A call that has waited for an account or runs already, so that waiting calls do not block it.
    Waited,
    /// A call that is sent although it was refused. It counts in calendar windows, so that they show the whole usage,
    /// and not in buckets and slots, which had no room for it.
    Regardless,
}

/// Decision about a call, with the levels of all of the plan's rules after it. It is written directly into the future
/// reservation.
pub(crate) struct Decision {
    /// Amounts that the call took; empty if it is blocked.
    pub(crate) held: Held,
    pub(crate) statuses: LimitStatuses,
    /// The limit in the way; if there are several, the one with the longest wait.
    pub(crate) blocked: Option<Blocked>,
    /// Reason to refuse the call even if there is room.
    pub(crate) refused: Option<Reason>,
    /// Cause of the refusal, if there is more to say than the reason.
    pub(crate) cause: Option<Box<Cause>>,
}

/// Alert shares that a window reached.
#[derive(Debug)]
pub(crate) struct Alert {
    pub(crate) group: u32,
    pub(crate) counter: u32,
    pub(crate) values: Vec<String>,
    pub(crate) shares: ReachedShares,
    pub(crate) used: u64,
    pub(crate) until: u64,
}

/// Consequences of a settlement.
#[derive(Debug, Default)]
pub(crate) struct Settled {
    pub(crate) alerts: Vec<Alert>,
    /// Debt that the settlement made, by kind.
    pub(crate) debts: SmallVec<[(Kind, u64); 1]>,
    /// Accounts for which calls wait.
    pub(crate) awaited: SmallVec<[AccountRef; 2]>,
}

impl DecisionRequest<'_> {
    /// Returns the amount that the call takes of a rule; `None` if the rule does not count the call.
    #[inline]
    pub(crate) fn takes(&self, rule: &Rule) -> Option<u64> {
        let counts = self.standing != Standing::Regardless || rule.limit.quota().windows().is_some();
        rule.amount(self.demand).filter(|_| counts)
    }
}

impl Decision {
    /// Creates a decision that has not been made yet.
    #[inline]
    pub(crate) fn new(request: &DecisionRequest<'_>) -> Self {
        let statuses = LimitStatuses::new(Arc::clone(request.plan), request.at);
        Self { held: Held::default(), statuses, blocked: None, refused: None, cause: None }
    }
}
