//! Invalidations that this process knows, and the time until which it may rely on them. Callers pass the current time.
//!
//! A process is current while its last successful request for invalidations is younger than the bound. While the server
//! cannot be reached, entries in memory are served without a request, for at most a tenth of a second after each
//! failure.

use std::{
    collections::HashMap,
    sync::{
        PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::time::Instant;

use crate::policy::Timestamp;

/// Copy of the server's invalidations. An entry is valid if its call began after the last invalidation of each of its
/// tags.
///
/// All timestamps are in the server's time. This process estimates that time from the server's last reply and the time
/// since the reply arrived. The estimate is never later than the server's time, so that a call that began before an
/// invalidation never seems to have begun after it.
pub(super) struct Invalidations {
    /// Time for which a copy may be used after it was requested.
    bound: Duration,
    start: Instant,
    /// End of the time during which the copy may be used, in microseconds since the start of this store. Until then,
    /// this process knows every invalidation that is older than the bound.
    known_until: AtomicU64,
    /// End of the time during which the copy may be used because the server cannot be reached, in microseconds since
    /// the start of this store.
    excused_until: AtomicU64,
    table: RwLock<Table>,
}

#[derive(Default)]
struct Table {
    /// Last reply of the server; `None` before the first.
    last: Option<Last>,
    /// Timestamp of the last invalidation of all entries.
    floor: Timestamp,
    /// Latest timestamp of the invalidations in `tags`.
    newest: Timestamp,
    tags: HashMap<[u8; 32], Timestamp>,
}

/// Last reply of the server.
struct Last {
    epoch: i64,
    /// Server's time at the reply, in microseconds since 1970.
    at: u64,
    received: Instant,
    /// Timestamp up to which all invalidations are known, in microseconds since 1970.
    since: u64,
}

/// Reply of the server to a request for invalidations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Update {
    pub(super) epoch: i64,
    pub(super) floor: u64,
    pub(super) at: u64,
    pub(super) tags: Vec<([u8; 32], u64)>,
}

/// Longest time after a failure to reach the server for which entries in memory are served without another request.
const EXCUSE: Duration = Duration::from_millis(100);

impl Invalidations {
    pub(super) fn new(bound: Duration, start: Instant) -> Self {
        let (known_until, excused_until, table) = Default::default();
        Self { bound, start, known_until, excused_until, table }
    }

    /// Returns `true` if this process knows all invalidations that are older than the bound.
    pub(super) fn is_current(&self, now: Instant) -> bool {
        self.micros(now) < self.known_until.load(Ordering::Acquire)
    }

    /// Returns `true` if entries in memory may be served without a request to the server, because the copy is current
    /// or the server cannot be reached.
    pub(super) fn can_serve_memory(&self, now: Instant) -> bool {
        self.is_current(now) || self.micros(now) < self.excused_until.load(Ordering::Acquire)
    }

    /// Records that the server cannot be reached, so that entries in memory may be served for a short time.
    pub(super) fn excuse(&self, now: Instant) {
        self.excused_until.fetch_max(self.micros(now + EXCUSE.min(self.bound)), Ordering::AcqRel);
    }

    /// Returns the arguments of the next request: the known epoch, and the timestamp up to which invalidations are
    /// known.
    pub(super) fn known(&self) -> (i64, u64) {
        self.read().last.as_ref().map_or((0, 0), |last| (last.epoch, last.since))
    }

    /// Applies a reply of the server to a request sent at `asked`. The reply arrived at `received`.
    pub(super) fn learn(&self, update: &Update, asked: Instant, received: Instant) {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        let is_late = |last: &Last| asked < last.received && update.at < last.at;
        if table.last.as_ref().is_some_and(is_late) {
            return;
        }
        let same = table.last.as_ref().is_some_and(|last| last.epoch == update.epoch);
        if !same {
            table.tags.clear();
        }
        table.floor = timestamp(update.floor);
        for (tag, at) in &update.tags {
            let known = table.tags.entry(*tag).or_default();
            *known = timestamp(*at).max(*known);
        }
        let floor = table.floor;
        table.tags.retain(|_, at| *at > floor);
        table.newest = table.tags.values().copied().max().unwrap_or_default().max(floor);
        let since = update.tags.iter().map(|(_, at)| *at).max().unwrap_or_default();
        let since = since.max(table.last.as_ref().filter(|_| same).map_or(0, |last| last.since));
        table.last = Some(Last { epoch: update.epoch, at: update.at, received, since });
        drop(table);
        self.known_until.fetch_max(self.micros(asked + self.bound), Ordering::AcqRel);
    }

    /// Returns an estimate of the server's time that is never too late. Before the server's first reply, it is the
    /// beginning of 1970.
    pub(super) fn time(&self, now: Instant) -> SystemTime {
        let table = self.read();
        let Some(last) = &table.last else { return UNIX_EPOCH };
        let passed = now.saturating_duration_since(last.received);
        // The speeds of two clocks differ by less than 500 in a million, so the estimate subtracts that share.
        let passed = passed - passed / 2_000;
        let time = UNIX_EPOCH + Duration::from_micros(last.at) + passed;
        // The current time is later than all known invalidations.
        time.max(UNIX_EPOCH + Duration::from_nanos(table.newest.nanos().saturating_add(1)))
    }

    /// Returns `true` if the server's time is known.
    pub(super) fn knows_time(&self) -> bool {
        self.read().last.is_some()
    }

    /// Returns `true` if an entry with these tags, whose call began at `started_at`, is still valid. Before the
    /// server's first reply, every entry counts as valid.
    pub(super) fn allow(&self, tags: impl IntoIterator<Item = [u8; 32]>, started_at: Timestamp) -> bool {
        let table = self.read();
        if table.last.is_none() || started_at > table.newest {
            return true;
        }
        started_at > table.floor
            && tags.into_iter().all(|tag| table.tags.get(&tag).is_none_or(|invalidations| started_at > *invalidations))
    }

    /// Returns the time of the last invalidation of any of these tags, in microseconds since 1970.
    pub(super) fn last(&self, tags: impl IntoIterator<Item = [u8; 32]>) -> u64 {
        let table = self.read();
        let last = tags.into_iter().filter_map(|tag| table.tags.get(&tag).copied()).fold(table.floor, Ord::max);
        last.nanos() / 1_000
    }

    fn read(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn micros(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.start).as_micros()).unwrap_or(u64::MAX)
    }
}

fn timestamp(micros: u64) -> Timestamp {
    Timestamp::from_nanos(micros.saturating_mul(1_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const MILLI: Duration = Duration::from_millis(1);

    fn update(epoch: i64, floor: u64, at: u64, tags: &[(u8, u64)]) -> Update {
        Update { epoch, floor, at, tags: tags.iter().map(|(tag, at)| ([*tag; 32], *at)).collect() }
    }

    fn server_time(invalidations: &Invalidations, now: Instant) -> Timestamp {
        Timestamp::from_nanos(
            u64::try_from(invalidations.time(now).duration_since(UNIX_EPOCH).unwrap().as_nanos()).unwrap(),
        )
    }

    #[tokio::test(start_paused = true)]
    async fn invalidation_bound_limits_age_of_local_copy() {
        let start = Instant::now();
        let invalidations = Invalidations::new(SECOND, start);
        assert!(!invalidations.can_serve_memory(start));
        invalidations.learn(&update(-1, 5, 5, &[]), start + MILLI, start + 300 * MILLI);
        assert!(invalidations.is_current(start + SECOND) && !invalidations.can_serve_memory(start + SECOND + MILLI));
        invalidations.excuse(start + 2 * SECOND);
        assert!(
            invalidations.can_serve_memory(start + 2 * SECOND + 99 * MILLI)
                && !invalidations.is_current(start + 2 * SECOND)
        );
        assert!(!invalidations.can_serve_memory(start + 2 * SECOND + 100 * MILLI));
    }

    #[tokio::test(start_paused = true)]
    async fn redis_invalidation_orders_calls_by_server_time() {
        let start = Instant::now();
        let invalidations = Invalidations::new(SECOND, start);
        // The server said 1 s when the request had taken 100 ms. The reply arrived after 300 ms.
        invalidations.learn(&update(-1, 7, 1_000_000, &[]), start, start + 300 * MILLI);
        let before = server_time(&invalidations, start + 400 * MILLI);
        assert!(before <= timestamp(1_300_000) && before > timestamp(1_099_000));
        invalidations.learn(&update(-1, 7, 1_400_000, &[(3, 1_350_000)]), start + 450 * MILLI, start + 500 * MILLI);
        let after = server_time(&invalidations, start + 500 * MILLI);
        assert!(
            !invalidations.allow([[3; 32]], before)
                && invalidations.allow([[4; 32]], before)
                && invalidations.allow([[3; 32]], after)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn redis_invalidation_precedes_now_despite_fast_server() {
        let start = Instant::now();
        let invalidations = Invalidations::new(SECOND, start);
        invalidations.learn(&update(-1, 7, 1_000, &[(3, 1_500)]), start, start);
        assert!(invalidations.allow([[3; 32]], server_time(&invalidations, start)));
    }

    #[tokio::test(start_paused = true)]
    async fn redis_invalidation_new_epoch_drops_older_entries() {
        let start = Instant::now();
        let invalidations = Invalidations::new(SECOND, start);
        assert!(invalidations.allow([], Timestamp::from_nanos(1)), "nothing is known yet");
        invalidations.learn(&update(-1, 7, 10, &[(3, 9)]), start, start);
        assert!(!invalidations.allow([], Timestamp::from_nanos(1)));
        assert_eq!(invalidations.known(), (-1, 9));
        invalidations.learn(&update(-1, 7, 12, &[]), start + MILLI, start + MILLI);
        assert_eq!(invalidations.known(), (-1, 9));
        invalidations.learn(&update(-2, 20, 20, &[]), start + SECOND, start + SECOND);
        assert_eq!(invalidations.known(), (-2, 0));
        assert!(!invalidations.allow([], timestamp(20)) && invalidations.allow([[3; 32]], timestamp(21)));
        // The reply took a long time to arrive.
        invalidations.learn(&update(-1, 7, 13, &[(4, 13)]), start + 2 * MILLI, start + 2 * SECOND);
        assert_eq!(invalidations.known(), (-2, 0));
    }
}
