//! State that the accounts in Redis and their tasks share.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak,
        atomic::{
            AtomicBool, AtomicI64, AtomicU64, AtomicUsize,
            Ordering::{Relaxed, SeqCst},
        },
    },
    time::Duration,
};

use llm_redis::{Error, ErrorKind, Redis, ScriptCall, Subscription};
use smallvec::SmallVec;
use tokio::{
    runtime::Handle,
    sync::{Semaphore, watch},
    time::Instant,
};

use super::{
    chunks::Chunks,
    layout::{Id, Tag},
    marks::Marks,
    open::OpenReservations,
    script_request::{Decided, Mode, RequestTimes, RuleNeed, ScriptReply, ScriptRequest},
    settings::Settings,
};
use crate::{
    account_ref::AccountRef,
    accounts::{Listener, Settled},
    time::Time,
};

pub(super) struct Shared {
    pub(super) redis: Redis,
    pub(super) settings: Settings,
    pub(super) counts: Counts,
    /// Time at which the last retries end. Unset while the limiter lives.
    pub(super) ends_at: OnceLock<Instant>,
    /// Number of jobs that have not been acknowledged or given up.
    pub(super) pending: watch::Sender<usize>,
    /// Permits for jobs to send one request each.
    pub(super) turns: Semaphore,
    /// True once the limiter is closing, so that all amounts that no call uses are given back to the server.
    pub(super) is_closing: AtomicBool,
    /// Alert shares of the limiter, in percent; unset before the first settlement, which states them.
    pub(super) alert_shares: OnceLock<Box<[u8]>>,
    /// Number of decisions in progress.
    deciding: AtomicUsize,
    pub(super) runtime: Handle,
    listener: OnceLock<Listener>,
    process: u64,
    next: AtomicU64,
    pub(super) open: Mutex<OpenReservations>,
    pub(super) chunks: Mutex<Chunks>,
    pub(super) marks: Mutex<Marks>,
    /// Clock that never goes back, so that no chunk is used after its lease has expired.
    clock: Time,
    /// Nanoseconds by which the server's clock is ahead of this process's.
    ahead: AtomicI64,
    /// Time from which the next refusal by the server is logged, by this process's clock, in nanoseconds since 1970.
    next_warning: AtomicU64,
    /// Time that a test uses instead of the server's clock, in nanoseconds since 1970; [`u64::MAX`] outside of tests.
    exact: AtomicU64,
}

/// Numbers of events since the accounts were opened.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) dropped: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) allowed: AtomicU64,
    pub(super) local: AtomicU64,
}

/// Guard of a decision in progress. Until it is dropped, the decision may still open a reservation.
pub(super) struct Deciding<'a>(&'a Shared);

/// Largest number of requests that are sent at the same time.
pub(super) const TURNS: usize = 64;
/// Largest number of times that a request with a wrong time is sent. The first reply contains the server's time.
const TIMES: usize = 4;
/// Shortest time between two warnings about refusals by the server, in nanoseconds.
const WARNED_EACH: u64 = 60_000_000_000;

impl Shared {
    pub(super) fn new(redis: Redis, settings: Settings, runtime: Handle) -> Self {
        use std::hash::{BuildHasher, Hasher, RandomState};
        let (counts, ends_at, listener, open, chunks, marks) = Default::default();
        Self {
            redis,
            settings,
            counts,
            ends_at,
            pending: watch::Sender::new(0),
            turns: Semaphore::new(TURNS),
            is_closing: AtomicBool::new(false),
            alert_shares: OnceLock::new(),
            deciding: AtomicUsize::new(0),
            runtime,
            listener,
            process: RandomState::new().build_hasher().finish(),
            next: AtomicU64::new(1),
            open,
            chunks,
            marks,
            clock: Time::forward(),
            ahead: AtomicI64::new(0),
            next_warning: AtomicU64::new(0),
            exact: AtomicU64::new(u64::MAX),
        }
    }

    /// Sends a request to the server. Sends it again if its time was wrong or the server has lost the accounts.
    pub(super) async fn send(&self, script_request: &ScriptRequest, mode: Mode, number: u64) -> Result<Decided, Error> {
        let decided = self.try_send(script_request, mode, number).await;
        decided.inspect_err(|error| self.log_refusal(error))
    }

    /// Logs the reason for which a script refuses to decide, at most once a minute. The Redis client itself logs
    /// outages, and commands that the server refuses.
    fn log_refusal(&self, error: &Error) {
        let now = self.local_now();
        let due = |at| (now >= at).then_some(now.saturating_add(WARNED_EACH));
        if error.kind() == ErrorKind::Server && self.next_warning.fetch_update(Relaxed, Relaxed, due).is_ok() {
            tracing::warn!(%error, "a script refuses to decide, and calls are decided as in an outage");
        }
    }

    async fn try_send(&self, script_request: &ScriptRequest, mode: Mode, number: u64) -> Result<Decided, Error> {
        for _ in 0..TIMES {
            let born = lock(&self.marks).born(&script_request.tag);
            let call = self.call(script_request, mode, number, born);
            let reply = self.redis.run_with_timeout(self.settings.decision_timeout, call).await?;
            match script_request.read(reply)? {
                ScriptReply::Decided(decided) => {
                    self.learn_time(decided.now);
                    lock(&self.marks).note(&script_request.tag, decided.born, &script_request.rules, &decided.rules);
                    return Ok(decided);
                }
                ScriptReply::OutOfTime(now) => self.learn_time(now),
                ScriptReply::Lost => self.restore(&script_request.tag, born).await?,
            }
        }
        Err(Error::refused_by_script("the server's time leaps: check its clock"))
    }

    pub(super) fn call(&self, script_request: &ScriptRequest, mode: Mode, number: u64, born: u64) -> ScriptCall {
        let at = RequestTimes { now: self.server_now(), exact: self.exact(), born };
        script_request.call(mode, &self.id(number), micros(self.settings.lease), at)
    }

    pub(super) fn connect(&self, listener: Listener) {
        // The listener is set once, because only one limiter owns the accounts.
        let _ = self.listener.set(listener);
    }

    /// Passes the consequences of a settlement to the limiter.
    pub(super) fn tell(&self, settled: Settled) {
        if let Some(listener) = self.listener.get() {
            listener(settled);
        }
    }

    pub(super) fn next_number(&self) -> u64 {
        self.next.fetch_add(1, Relaxed)
    }

    pub(super) fn id(&self, number: u64) -> Id {
        (u128::from(self.process) << 64 | u128::from(number)).to_be_bytes()
    }

    /// Returns the estimated time of the server, in nanoseconds since 1970.
    #[inline]
    pub(super) fn server_now(&self) -> u64 {
        self.exact().unwrap_or_else(|| self.clock.now().saturating_add_signed(self.ahead.load(Relaxed)))
    }

    /// Returns the time of this process's clock, in nanoseconds since 1970. It never goes back.
    #[inline]
    pub(super) fn local_now(&self) -> u64 {
        self.clock.now()
    }

    pub(super) fn learn_time(&self, server_now: u64) {
        let ahead = i128::from(server_now) - i128::from(self.clock.now());
        self.ahead.store(i64::try_from(ahead).unwrap_or(0), Relaxed);
    }

    /// Sets the time that a test uses instead of the server's clock.
    #[cfg(test)]
    pub(super) fn set_exact(&self, now: u64) {
        self.exact.store(now, Relaxed);
    }

    pub(super) fn exact(&self) -> Option<u64> {
        Some(self.exact.load(Relaxed)).filter(|now| *now != u64::MAX)
    }

    pub(super) fn is_closing(&self) -> bool {
        self.is_closing.load(SeqCst)
    }

    pub(super) fn count_dropped(&self) {
        self.counts.dropped.fetch_add(1, Relaxed);
        #[cfg(feature = "metrics")]
        metrics::counter!("llm_ratelimit_dropped_settlements_total").increment(1);
    }

    /// Counts a decision as in progress until the guard is dropped.
    pub(super) fn begin_decision(&self) -> Deciding<'_> {
        self.deciding.fetch_add(1, SeqCst);
        Deciding(self)
    }

    /// Returns the sum of the open calls, each counted once for each account that it is reserved in, of the decisions
    /// in progress that may open a reservation, and of the pending jobs.
    pub(super) fn open(&self) -> usize {
        // The order of the reads matters: a decision opens its reservation before it ends.
        let deciding = self.deciding.load(SeqCst);
        deciding + lock(&self.chunks).open() + lock(&self.open).len() + self.pending()
    }

    /// Returns the hash tag of an account: that of the tenant if the account counts by tenant, otherwise one of its
    /// own.
    pub(super) fn tag(&self, tenant: Option<&str>, account: &str) -> Tag {
        let key_space = self.redis.key_space();
        match tenant {
            _ if self.settings.has_one_tag => Tag::of_shared(key_space, ""),
            Some(tenant) => Tag::of_tenant(key_space, tenant),
            None => Tag::of_shared(key_space, account),
        }
    }

    pub(super) fn is_awaited(&self, account_ref: AccountRef) -> bool {
        lock(&self.chunks).with(account_ref, |chunk| chunk.is_awaited)
    }

    /// Returns those accounts of `needs` that calls wait for.
    pub(super) fn awaited<'a>(&self, needs: impl Iterator<Item = &'a RuleNeed>) -> SmallVec<[AccountRef; 2]> {
        let mut awaited: SmallVec<_> = needs.map(|need| need.account_ref).filter(|at| self.is_awaited(*at)).collect();
        awaited.dedup();
        awaited
    }

    /// Starts or stops listening for room in an account.
    pub(super) fn set_awaited(self: &Arc<Self>, account_ref: AccountRef, is_awaited: bool) {
        lock(&self.chunks).with(account_ref, |chunk| {
            chunk.is_awaited = is_awaited;
            // Without a subscription, the first waiting call is only decided again every second.
            let room = is_awaited.then(|| self.redis.subscribe(&chunk.tag.channel).ok()).flatten();
            let listen = |room| self.runtime.spawn(listen(Arc::downgrade(self), account_ref, room)).abort_handle();
            if let Some(before) = std::mem::replace(&mut chunk.listens, room.map(listen)) {
                before.abort();
            }
        });
    }
}

impl Drop for Deciding<'_> {
    fn drop(&mut self) {
        if self.0.deciding.fetch_sub(1, SeqCst) == 1 {
            // The limiter may be closing and waiting for the last decision.
            self.0.tell(Settled::default());
        }
    }
}

/// Serves the waiting calls of an account whenever another process announces room in it.
async fn listen(shared: Weak<Shared>, account_ref: AccountRef, mut room: Subscription) {
    while room.next().await.is_some() {
        let Some(shared) = shared.upgrade() else { return };
        lock(&shared.chunks).with(account_ref, |chunk| chunk.refused_until = 0);
        shared.tell(Settled { awaited: [account_ref].into_iter().collect(), ..Settled::default() });
    }
}

pub(super) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX).min(super::scripts::MOST / 2)
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("redis", &self.redis).finish_non_exhaustive()
    }
}
