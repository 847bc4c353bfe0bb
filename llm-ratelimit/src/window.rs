//! Counter of a calendar window. It reads no clock: callers pass the time.

use serde::{Deserialize, Serialize};

use crate::calendar::Calendar;

/// Amounts spent and reserved until a window ends, and the debt of earlier windows.
///
/// A call counts in the window in which it began. Usage beyond its reservation counts in the window in which it becomes
/// known, and is debt as far as that window's total then exceeds the limit. The next window begins with the debt.
/// Lowering a limit causes no debt.
///
/// At all times `total() <= max(limit, carried) + debt`, unless the limit was lowered within the window. So the usage
/// of all windows is at most the sum of their limits and the debt at the end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Window {
    /// End of the window, in nanoseconds since 1970; 0 if no window has begun.
    pub(crate) until: u64,
    /// End of the previous window, if debt or late settlements may belong to it.
    pub(crate) before: u64,
    pub(crate) spent: u64,
    pub(crate) reserved: u64,
    /// Debt of earlier windows.
    pub(crate) carried: u64,
    /// Debt that this window has caused.
    pub(crate) debt: u64,
    pub(crate) limit: u64,
    /// Highest alert share that was reported, in percent of the limit; 0 if none was.
    #[serde(default)]
    pub(crate) alerted: u8,
}

/// Treatment of imported balances in relation to the current ones. Imported reservations count as spent, because their
/// usage is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ImportMode {
    /// An imported balance replaces the current one.
    Replace,
    /// The greater of the two balances remains: the balance of the later window, or for the same window the balance
    /// with more usage.
    Greater,
    /// The imported spent amount replaces that of the current balance if both are of the same window. Current
    /// reservations remain.
    Spent,
}

/// Alert shares that a window has newly reached: those above `from`, up to `to`, in percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReachedShares {
    pub(crate) from: u8,
    pub(crate) to: u8,
}

impl Window {
    /// Advances to the window that contains `now`, with the limit that is in force now. If the clock was set back, no
    /// earlier window becomes current again, unless the clock had been ahead by more than a whole window. In that case
    /// the current window, with everything that is spent in it, is moved back to `now`, because otherwise no new window
    /// would begin until the time that the clock had shown.
    pub(crate) fn roll(&mut self, calendar: &Calendar, limit: u64, now: u64) {
        if now < self.until {
            if limit != self.limit {
                self.set_limit(limit);
            }
            if self.until - now > 2 * calendar.unit().longest() {
                self.come_back(calendar.end(now));
            }
            return;
        }
        let end = calendar.end(now);
        let mut carried = self.owed_next();
        // Windows that passed without a call have paid debt too. Their limit is not known, so the lower of the two
        // limits counts.
        let (mut passed, least) = (self.until, limit.min(self.limit));
        while carried > 0 && passed > 0 {
            passed = calendar.end(passed);
            if passed >= end {
                break;
            }
            carried = carried.saturating_sub(least);
        }
        let before = if self.until > 0 && calendar.end(self.until) == end { self.until } else { 0 };
        *self = Self { until: end, before, carried, limit, ..Self::default() };
    }

    /// Puts another limit in force within the window. Debt that a higher limit covers is removed. A part of earlier
    /// debt that this window paid under a higher limit stays paid under a lower one.
    fn set_limit(&mut self, limit: u64) {
        if limit < self.limit {
            self.debt = self.owed_next();
            self.spent = self.spent.saturating_add(std::mem::take(&mut self.carried));
        }
        self.limit = limit;
        self.debt = self.debt.min(self.over());
    }

    /// Moves the end of the window. Open reservations then belong to a window that is over, so they count as spent.
    fn come_back(&mut self, until: u64) {
        self.carried = self.carried.saturating_add(std::mem::take(&mut self.reserved));
        (self.before, self.until) = (self.until, until);
    }

    /// Returns the nanoseconds until `n` fit: 0 if they fit now, `None` if they never fit. Each window pays a part of
    /// the debt.
    pub(crate) fn wait(&self, calendar: &Calendar, n: u64, now: u64) -> Option<u64> {
        if self.fits(n) {
            return Some(0);
        }
        let room = self.limit.checked_sub(n)?;
        let mut until = self.until;
        let mut carried = self.owed_next();
        // NOTE: a debt of more than a thousand windows is reported as a thousand.
        for _ in 0..1_000 {
            if carried <= room {
                break;
            }
            carried = carried.saturating_sub(self.limit);
            until = calendar.end(until);
        }
        Some(until.saturating_sub(now))
    }

    pub(crate) fn fits(&self, n: u64) -> bool {
        self.total().saturating_add(n) <= self.limit
    }

    /// Reserves `n`. Returns the window's end, which marks the window of the reservation.
    pub(crate) fn take(&mut self, n: u64) -> u64 {
        self.reserved = self.reserved.saturating_add(n);
        self.until
    }

    /// Replaces a reservation by the used amount.
    pub(crate) fn settle(&mut self, mark: u64, reserved: u64, used: u64) {
        let (back, excess) = (reserved.saturating_sub(used), used.saturating_sub(reserved));
        if mark == self.until {
            self.reserved = self.reserved.saturating_sub(reserved);
            self.spent = self.spent.saturating_add(used);
        } else {
            // The reservation's window is over, and the reservation counted as spent there.
            self.spent = self.spent.saturating_add(excess);
            if mark == self.before {
                self.carried = self.carried.saturating_sub(back);
            }
        }
        self.debt = self.debt.saturating_add(excess).min(self.over());
    }

    /// Sets all amounts to zero, except the reserved ones.
    pub(crate) fn forget(&mut self) {
        (self.spent, self.carried, self.debt) = (0, 0, 0);
    }

    /// Counts all reservations as spent, because no call is left to settle them.
    pub(crate) fn lose_reservations(&mut self) {
        self.spent = self.spent.saturating_add(std::mem::take(&mut self.reserved));
    }

    /// Returns the window that replaces the known one when `self` is imported; `None` if nothing changes.
    pub(crate) fn imported(mut self, known: Option<&Self>, mode: ImportMode) -> Option<Self> {
        let rank = |window: &Self| (window.until, window.total());
        match (mode, known) {
            (ImportMode::Greater, Some(known)) if rank(known) >= rank(&self) => None,
            (ImportMode::Spent, Some(known)) if known.until != self.until => None,
            (ImportMode::Spent, Some(known)) => {
                let mut window = known.clone();
                let excess = self.spent.saturating_sub(window.spent);
                window.spent = self.spent;
                window.debt = window.debt.saturating_add(excess).min(window.over());
                Some(window)
            }
            _ => {
                self.lose_reservations();
                Some(self)
            }
        }
    }

    /// Returns the sum of earlier windows' debt and this window's.
    pub(crate) fn owed(&self) -> u64 {
        self.carried.saturating_add(self.debt)
    }

    /// Returns the debt with which the next window begins.
    fn owed_next(&self) -> u64 {
        self.debt.saturating_add(self.carried.saturating_sub(self.limit))
    }

    /// Returns the amount by which the counted total exceeds the limit.
    fn over(&self) -> u64 {
        self.total().saturating_sub(self.limit)
    }

    /// Returns the amount that counts against the limit.
    pub(crate) fn total(&self) -> u64 {
        self.carried.saturating_add(self.spent).saturating_add(self.reserved)
    }

    /// Returns the alert shares that are reached and have not been reported in this window, and marks them as reported.
    pub(crate) fn reach(&mut self, alert_shares: &[u8]) -> Option<ReachedShares> {
        let spent = u128::from(self.carried.saturating_add(self.spent)) * 100;
        let is_reached = |share: &u8| spent >= u128::from(self.limit) * u128::from(*share);
        let to = alert_shares.iter().copied().filter(is_reached).max()?;
        let from = self.alerted;
        (to > from).then(|| {
            self.alerted = to;
            ReachedShares { from, to }
        })
    }

    /// Returns `true` if the window can be forgotten without a loss.
    pub(crate) fn is_blank_at(&self, now: u64) -> bool {
        match now < self.until {
            true => self.total() == 0,
            false => self.reserved == 0 && self.debt == 0 && self.carried <= self.limit,
        }
    }
}
