//! Snapshot of a pool, and its restoration.
//!
//! A snapshot holds the knowledge that a new pool could gain only from further refusals: the parkings after refusals,
//! and the limits that were stated or learned. It also holds the parkings by operators. It does not hold breakers,
//! because old failures say nothing about the present, or the usage in windows, because a minute without calls empties
//! them. It states the time at which it was taken, and the remaining duration of each parking. A wrong clock can
//! therefore shorten a parking, but not prolong it.

use std::{sync::Arc, time::UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::{
    KeyPool, Parked, Reason,
    group::Amounts,
    pool::Shared,
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
    /// Wall-clock time at which the snapshot was taken, in milliseconds since 1970.
    saved_at: u64,
    parked: Vec<ParkedSnapshot>,
    limits: Vec<LimitSnapshot>,
}

/// Parking of a part of the pool, as a snapshot stores it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct ParkedSnapshot {
    part: Parked,
    /// Fingerprint of the member's key; `None` if it is not known.
    fingerprint: Option<Arc<str>>,
    reason: Reason,
    /// Remaining duration of the parking, in milliseconds.
    left: u64,
    times: u32,
    is_timed: bool,
}

/// Limits of one unit for a group and a model: the limit that the vendor stated, and the learned limit. The unit is
/// stored as its number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct LimitSnapshot {
    group: Arc<str>,
    model: Arc<str>,
    unit: usize,
    stated: Option<u64>,
    learned: Option<u64>,
}

/// Nanoseconds in a millisecond.
const MILLI: Time = 1_000_000;

impl<S> KeyPool<S> {
    /// Returns a snapshot of the pool's knowledge about its members and groups.
    pub fn snapshot(&self) -> Snapshot {
        let saved_at = self.wall();
        self.0.with(|Shared { state, .. }, now| Snapshot {
            saved_at,
            parked: state.save_parked(now),
            limits: state.save_limits(now),
        })
    }

    /// Restores the knowledge of an earlier pool, by the names of members and groups. Knowledge about a key is restored
    /// only if both fingerprints are known and equal ([`Member::fingerprint`](crate::Member::fingerprint)). Parts that
    /// this pool does not have are ignored. A part stays parked for the time that was left when the snapshot was taken,
    /// minus the time since then by the wall clock.
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
        let passed = self.wall().saturating_sub(snapshot.saved_at);
        self.0.with(|Shared { state, .. }, now| {
            for parked in &snapshot.parked {
                if let Some(part) = state.find(parked, now) {
                    let until = now.saturating_add(parked.left.saturating_sub(passed).saturating_mul(MILLI));
                    let parking = Parking::restored(parked.reason, until, parked.times, parked.is_timed, now);
                    *state.slot(part) = Some(parking.into());
                }
            }
            for limit in snapshot.limits.iter().filter(|limit| limit.unit < Amounts::default().len()) {
                if let Some(group) = state.group_ids.get(&limit.group).copied() {
                    let model = state.model_id(&limit.model, now);
                    let quota = state.quota_id(group, model);
                    state.quotas[quota as usize].counter(limit.unit).restore(limit.stated, limit.learned, now);
                }
            }
            state.schedule_returns(now);
        });
    }

    /// Returns the wall clock's time in milliseconds since 1970.
    fn wall(&self) -> u64 {
        self.0.settings.clock.now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
    }
}

impl State {
    /// Returns the parkings to store, which are all parkings except those after failures of the vendor or the
    /// connection.
    fn save_parked(&self, now: Time) -> Vec<ParkedSnapshot> {
        let refused = self.parked().filter(|(_, parking)| !parking.reason.is_failure());
        let save = |(part, parking): (Part, &Parking)| ParkedSnapshot {
            part: self.names(part),
            fingerprint: part.member().and_then(|id| self.members[id as usize].spec.fingerprint.clone()),
            reason: parking.reason,
            left: parking.until.saturating_sub(now) / MILLI,
            times: parking.step,
            is_timed: parking.is_timed,
        };
        refused.map(save).collect()
    }

    fn save_limits(&mut self, now: Time) -> Vec<LimitSnapshot> {
        let mut saved = Vec::new();
        for group in &self.groups {
            for quota in &group.quotas {
                let quota = &mut self.quotas[*quota as usize];
                let model = &self.models[quota.model as usize].name;
                for (unit, counter) in quota.counters() {
                    let (stated, learned) = counter.known(now);
                    if stated.is_some() || learned.is_some() {
                        let (group, model) = (Arc::clone(&group.name), Arc::clone(model));
                        saved.push(LimitSnapshot { group, model, unit, stated, learned });
                    }
                }
            }
        }
        saved
    }

    /// Returns the part that a stored parking is for; `None` if there is no such part, or if the member now has another
    /// key.
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
