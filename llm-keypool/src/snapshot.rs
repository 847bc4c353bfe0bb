//! Snapshot of a pool, and its restoration.
//!
//! A snapshot holds what a pool learned and would pay to learn again: parkings for what vendors refused, and limits that were
//! stated or learned. It holds no breaker, because a failure of an hour ago says nothing, and no use of a window, because an
//! idle minute empties it. Its times are of the wall clock, so that they hold in another process.

use std::{sync::Arc, time::UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::{
    KeyPool, Parked, Reason,
    group::Unit,
    state::{Part, State, parking::Parking},
    time::Time,
};

/// Knowledge of a pool about its members and groups, for a later pool of the same application. It holds names and no key; the
/// application keeps it where it likes.
///
/// ```
/// use llm_keypool::{KeyPool, Snapshot};
///
/// let keys = |_: &str| Some("sk-a,sk-b".to_owned());
/// let before = KeyPool::from_env("KEYS", keys, |key| Ok(key.to_owned()))?.build()?;
/// let text = serde_json::to_string(&before.snapshot())?;
/// // … after a restart
/// let after = KeyPool::from_env("KEYS", keys, |key| Ok(key.to_owned()))?.build()?;
/// after.restore(&serde_json::from_str::<Snapshot>(&text)?);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Snapshot {
    parked: Vec<ParkedSnapshot>,
    limits: Vec<LimitSnapshot>,
}

/// Parking of a part. Times are milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct ParkedSnapshot {
    part: Parked,
    /// Fingerprint of a member's key.
    fingerprint: Option<Arc<str>>,
    reason: Reason,
    until: u64,
    times: u32,
    is_timed: bool,
}

/// Limit that the vendor stated or that was learned, of a unit by its number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct LimitSnapshot {
    group: Arc<str>,
    model: Arc<str>,
    unit: usize,
    stated: Option<u64>,
    /// Amount, and the time of the refusal.
    learned: Option<(u64, u64)>,
}

/// Nanoseconds of a millisecond.
const MILLI: i128 = 1_000_000;

/// The pool's time, and the nanoseconds since 1970 at its beginning.
#[derive(Clone, Copy)]
struct Clocks {
    now: Time,
    start: i128,
}

impl<S> KeyPool<S> {
    /// Returns what the pool knows of its members and groups.
    pub fn snapshot(&self) -> Snapshot {
        self.with_clocks(|state, clocks| Snapshot {
            parked: state.parked().filter_map(|(part, it)| state.save(part, it, clocks)).collect(),
            limits: state.save_limits(clocks),
        })
    }

    /// Takes what an earlier pool knew, by the names of members and groups. What was known of a key is taken only if both
    /// fingerprints are known and equal ([`Member::fingerprint`](crate::Member::fingerprint)). Parts that this pool does not
    /// have are left out.
    ///
    /// ```
    /// use llm_keypool::{KeyPool, LeaseRequest, Member, Outcome};
    ///
    /// let member = |key| Member::new("a", key).fingerprint(llm_keypool::fingerprint(key));
    /// let before = KeyPool::builder().member(member("sk-a")).build()?;
    /// before.try_lease(&LeaseRequest::new("gpt-4o"))?.report(Outcome::status(401, None));
    /// let [same, other] = ["sk-a", "sk-b"].map(|key| KeyPool::builder().member(member(key)).build());
    /// let (same, other) = (same?, other?);
    /// same.restore(&before.snapshot());
    /// other.restore(&before.snapshot());
    /// assert_eq!((same.status().members[0].parked.len(), other.status().members[0].parked.len()), (1, 0));
    /// # Ok::<_, llm_core::Error>(())
    /// ```
    pub fn restore(&self, snapshot: &Snapshot) {
        self.with_clocks(|state, clocks| {
            for parked in &snapshot.parked {
                if let Some(part) = state.find(parked, clocks.now) {
                    let until = clocks.time(parked.until);
                    let mut parking = Parking::until(parked.reason, until, 0, clocks.now);
                    (parking.step, parking.is_timed) = (parked.times, parked.is_timed);
                    *state.slot(part) = Some(parking.into());
                }
            }
            for limit in snapshot.limits.iter().filter(|limit| limit.unit < Unit::ALL.len()) {
                if let Some(quota) = state.find_quota(&limit.group, &limit.model, clocks.now) {
                    let learned = limit.learned.map(|(amount, at)| (amount, clocks.time(at)));
                    state.quotas[quota as usize].counter(limit.unit).restore(limit.stated, learned);
                }
            }
            state.schedule_returns(clocks.now);
        });
    }

    fn with_clocks<R>(&self, change: impl FnOnce(&mut State, Clocks) -> R) -> R {
        let wall = self.0.settings.clock.now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as i128;
        self.0.with(|shared, now| change(&mut shared.state, Clocks { now, start: wall - i128::from(now) }))
    }
}

impl Clocks {
    /// Returns a time of the pool in milliseconds since 1970.
    fn millis(self, time: Time) -> u64 {
        ((self.start + i128::from(time)) / MILLI).clamp(0, u64::MAX.into()) as u64
    }

    /// Returns milliseconds since 1970 as a time of the pool: its start if they were before it.
    fn time(self, millis: u64) -> Time {
        (i128::from(millis) * MILLI - self.start).clamp(0, Time::MAX.into()) as Time
    }
}

impl State {
    /// Returns what is worth keeping of a parking: what a key or a group was refused, and no failures.
    fn save(&self, part: Part, parking: &Parking, clocks: Clocks) -> Option<ParkedSnapshot> {
        let fingerprint = match part {
            Part::Member(member) | Part::Permission(member, _) => {
                self.members[member as usize].spec.fingerprint.clone()
            }
            Part::Pool | Part::Group(_) | Part::Quota(_) => None,
        };
        let Parking { reason, until, step: times, is_timed, .. } = *parking;
        let part = self.names(part);
        (!reason.is_failure()).then(|| ParkedSnapshot {
            part,
            fingerprint,
            reason,
            until: clocks.millis(until),
            times,
            is_timed,
        })
    }

    fn save_limits(&mut self, clocks: Clocks) -> Vec<LimitSnapshot> {
        let mut saved = Vec::new();
        for group in &self.groups {
            for quota in &group.quotas {
                let quota = &mut self.quotas[*quota as usize];
                let model = &self.models[quota.model as usize].name;
                for (unit, counter) in quota.counters() {
                    let (stated, learned) = counter.known();
                    if stated.is_some() || learned.is_some() {
                        let learned = learned.map(|(amount, at)| (amount, clocks.millis(at)));
                        let (group, model) = (Arc::clone(&group.name), Arc::clone(model));
                        saved.push(LimitSnapshot { group, model, unit, stated, learned });
                    }
                }
            }
        }
        saved
    }

    /// Finds the part of a parking, unless it is of another key.
    fn find(&mut self, parked: &ParkedSnapshot, now: Time) -> Option<Part> {
        let Parked { member, group, model } = &parked.part;
        let Some(name) = member else {
            return match model {
                Some(model) => self.find_quota(group, model, now).map(Part::Quota),
                None => self.group_ids.get(group).copied().map(Part::Group),
            };
        };
        let id = *self.member_ids.get(name)?;
        let own = &self.members[id as usize].spec.fingerprint;
        if own.is_none() || *own != parked.fingerprint {
            return None;
        }
        Some(match model {
            Some(model) => Part::Permission(id, self.model_id(model, now)),
            None => Part::Member(id),
        })
    }

    fn find_quota(&mut self, group: &Arc<str>, model: &Arc<str>, now: Time) -> Option<u32> {
        let group = *self.group_ids.get(group)?;
        let model = self.model_id(model, now);
        Some(self.quota_id(group, model))
    }
}
