//! Snapshot of a pool, and its restoration.
//!
//! A snapshot holds the knowledge that a new pool could gain only from further refusals: the parkings after refusals,
//! and limits that were stated or learned. It does not hold breakers, because old failures say nothing about the
//! present, or the usage of windows, because a minute without calls empties them. Its times are wall-clock times, so
//! that another process can use them.

use std::{sync::Arc, time::UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::{
    KeyPool, Parked, Reason,
    group::Amounts,
    state::{Part, State, parking::Parking},
    time::Time,
};

/// Knowledge of a pool about its members and groups, from which a later pool of the same application starts. It
/// contains names but no keys, so the application may store it anywhere.
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

/// Parking of a part of the pool. Times are milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct ParkedSnapshot {
    part: Parked,
    /// Fingerprint of the member's key, if the member is known by one.
    fingerprint: Option<Arc<str>>,
    reason: Reason,
    until: u64,
    /// Time that was left of it, in milliseconds, by which it ends at the latest if a clock was wrong.
    #[serde(default)]
    left: u64,
    times: u32,
    is_timed: bool,
}

/// Limit of one unit, stated by the vendor or learned. The unit is written as its number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct LimitSnapshot {
    group: Arc<str>,
    model: Arc<str>,
    unit: usize,
    stated: Option<u64>,
    /// Learned amount, and the time of the refusal.
    learned: Option<(u64, u64)>,
}

/// Nanoseconds of a millisecond.
const MILLI: Time = 1_000_000;

/// Start of a pool, in milliseconds since 1970.
#[derive(Clone, Copy)]
struct Start(u64);

impl<S> KeyPool<S> {
    /// Returns a snapshot of the pool's knowledge about its members and groups.
    pub fn snapshot(&self) -> Snapshot {
        self.with_start(|state, start, now| Snapshot {
            parked: state.save_parked(start, now),
            limits: state.save_limits(start),
        })
    }

    /// Restores the knowledge of an earlier pool, by the names of members and groups. Knowledge about a key is restored
    /// only if both fingerprints are known and equal ([`Member::fingerprint`](crate::Member::fingerprint)). Parts that
    /// this pool does not have are left out. A part stays parked until the saved time, and no longer than was left when
    /// the snapshot was taken, so that a wrong clock does no harm.
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
        self.with_start(|state, start, now| {
            for parked in &snapshot.parked {
                if let Some(part) = state.find(parked, now) {
                    let latest = now.saturating_add(parked.left.saturating_mul(MILLI));
                    let until = start.time(parked.until).min(latest);
                    let parking = Parking::restored(parked.reason, until, parked.times, parked.is_timed, now);
                    *state.slot(part) = Some(parking.into());
                }
            }
            for limit in snapshot.limits.iter().filter(|limit| limit.unit < Amounts::default().len()) {
                if let Some(group) = state.group_ids.get(&limit.group).copied() {
                    let model = state.model_id(&limit.model, now);
                    let quota = state.quota_id(group, model);
                    let learned = limit.learned.map(|(amount, at)| (amount, start.time(at)));
                    state.quotas[quota as usize].counter(limit.unit).restore(limit.stated, learned, now);
                }
            }
            state.schedule_returns(now);
        });
    }

    fn with_start<R>(&self, change: impl FnOnce(&mut State, Start, Time) -> R) -> R {
        let wall = self.0.settings.clock.now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
        self.0.with(|shared, now| change(&mut shared.state, Start(wall.saturating_sub(now / MILLI)), now))
    }
}

impl Start {
    /// Converts a time of the pool to milliseconds since 1970.
    fn millis(self, time: Time) -> u64 {
        self.0.saturating_add(time / MILLI)
    }

    /// Converts milliseconds since 1970 to a time of the pool. A time before the pool's start becomes that start.
    fn time(self, millis: u64) -> Time {
        millis.saturating_sub(self.0).saturating_mul(MILLI)
    }
}

impl State {
    /// Returns the parkings to be stored: those after refusals, and not those after failures.
    fn save_parked(&self, start: Start, now: Time) -> Vec<ParkedSnapshot> {
        let refused = self.parked().filter(|(_, parking)| !parking.reason.is_failure());
        let save = |(part, parking): (Part, &Parking)| ParkedSnapshot {
            part: self.names(part),
            fingerprint: part.member().and_then(|id| self.members[id as usize].spec.fingerprint.clone()),
            reason: parking.reason,
            until: start.millis(parking.until),
            left: parking.until.saturating_sub(now) / MILLI,
            times: parking.step,
            is_timed: parking.is_timed,
        };
        refused.map(save).collect()
    }

    fn save_limits(&mut self, start: Start) -> Vec<LimitSnapshot> {
        let mut saved = Vec::new();
        for group in &self.groups {
            for quota in &group.quotas {
                let quota = &mut self.quotas[*quota as usize];
                let model = &self.models[quota.model as usize].name;
                for (unit, counter) in quota.counters() {
                    let (stated, learned) = counter.known();
                    if stated.is_some() || learned.is_some() {
                        let learned = learned.map(|(amount, at)| (amount, start.millis(at)));
                        let (group, model) = (Arc::clone(&group.name), Arc::clone(model));
                        saved.push(LimitSnapshot { group, model, unit, stated, learned });
                    }
                }
            }
        }
        saved
    }

    /// Finds the part that a stored parking is for, unless the member now has another key.
    fn find(&mut self, parked: &ParkedSnapshot, now: Time) -> Option<Part> {
        let Parked { member, group, model } = &parked.part;
        let model = model.as_ref().map(|model| self.model_id(model, now));
        let Some(name) = member else {
            let group = *self.group_ids.get(group)?;
            return Some(model.map_or(Part::Group(group), |model| Part::Quota(self.quota_id(group, model))));
        };
        let member = *self.member_ids.get(name)?;
        let own = &self.members[member as usize].spec.fingerprint;
        let is_same = own.is_some() && *own == parked.fingerprint;
        is_same.then(|| model.map_or(Part::Member(member), |model| Part::Permission(member, model)))
    }
}
