use std::{
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use crate::{
    KeyPool, Reason,
    state::{Slot, State, counter::Learned, parking::Parking},
    time::{Time, nanos},
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
    members: Vec<MemberSnapshot>,
    groups: Vec<GroupSnapshot>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct MemberSnapshot {
    name: Arc<str>,
    fingerprint: Option<Arc<str>>,
    parked: Vec<ParkedSnapshot>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct GroupSnapshot {
    name: Arc<str>,
    /// Parked because its money is spent.
    money: Option<ParkedSnapshot>,
    /// Parked by a limit of the whole group.
    limit: Option<ParkedSnapshot>,
    quotas: Vec<QuotaSnapshot>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct QuotaSnapshot {
    model: Arc<str>,
    parked: Option<ParkedSnapshot>,
    limits: [LimitSnapshot; 4],
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct LimitSnapshot {
    stated: Option<u64>,
    /// Amount, and the time of the refusal in milliseconds since 1970.
    learned: Option<(u64, u64)>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct ParkedSnapshot {
    reason: Reason,
    /// The model, as the vendor names it.
    model: Option<Arc<str>>,
    /// End of the parking, in milliseconds since 1970.
    until: u64,
    times: u32,
    is_timed: bool,
}

/// The pool's time beside the wall's.
#[derive(Clone, Copy)]
struct Clocks {
    now: Time,
    wall: Time,
}

impl<S> KeyPool<S> {
    /// Returns what the pool knows of its members and groups.
    pub fn snapshot(&self) -> Snapshot {
        self.0.with_clocks(|state, clocks| Snapshot {
            members: (0..state.members.len() as u32).map(|member| state.member_snapshot(member, clocks)).collect(),
            groups: (0..state.groups.len() as u32).map(|group| state.group_snapshot(group, clocks)).collect(),
        })
    }

    /// Takes what an earlier pool knew, by the names of members and groups. What was known of a key is taken only if both
    /// fingerprints are known and equal.
    pub fn restore(&self, snapshot: &Snapshot) {
        self.0.with_clocks(|state, clocks| {
            for member in &snapshot.members {
                state.restore_member(member, clocks);
            }
            for group in &snapshot.groups {
                state.restore_group(group, clocks);
            }
            state.schedule_returns(clocks.now);
        });
    }
}

impl<S> crate::pool::Inner<S> {
    fn with_clocks<R>(&self, change: impl FnOnce(&mut State, Clocks) -> R) -> R {
        let wall = self.settings.clock.now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.with(|shared, now| change(&mut shared.state, Clocks { now, wall: nanos(wall) }))
    }
}

impl Clocks {
    /// Returns a time of the pool in milliseconds since 1970.
    fn millis(self, time: Time) -> u64 {
        let ahead = self.wall.saturating_add(time.saturating_sub(self.now));
        Duration::from_nanos(ahead.saturating_sub(self.now.saturating_sub(time))).as_millis() as u64
    }

    /// Returns milliseconds since 1970 as a time of the pool: its start if they were before it.
    fn time(self, millis: u64) -> Time {
        let wall = nanos(Duration::from_millis(millis));
        self.now.saturating_add(wall.saturating_sub(self.wall)).saturating_sub(self.wall.saturating_sub(wall))
    }

    fn save(self, parking: &Parking, model: Option<&Arc<str>>) -> ParkedSnapshot {
        ParkedSnapshot {
            reason: parking.reason,
            model: model.cloned(),
            until: self.millis(parking.until),
            times: parking.step,
            is_timed: parking.is_timed,
        }
    }

    fn load(self, parked: &ParkedSnapshot) -> Parking {
        let mut parking = Parking::until(parked.reason, self.time(parked.until), 0, self.now);
        (parking.step, parking.is_timed) = (parked.times, parked.is_timed);
        parking
    }
}

impl State {
    fn member_snapshot(&self, member: u32, clocks: Clocks) -> MemberSnapshot {
        let member = &self.members[member as usize];
        let verdict = member.verdict.iter().map(|parking| clocks.save(parking, None));
        let permissions = member.permissions.iter();
        let permissions = permissions.filter_map(|(model, parking)| Some(clocks.save(parking.as_ref()?, Some(model))));
        let parked = verdict.chain(permissions).collect();
        MemberSnapshot { name: Arc::clone(&member.spec.name), fingerprint: member.spec.fingerprint.clone(), parked }
    }

    fn group_snapshot(&mut self, id: u32, clocks: Clocks) -> GroupSnapshot {
        let group = &self.groups[id as usize];
        let quotas = self.quotas.iter_mut().filter(|quota| quota.group == id).map(|known| QuotaSnapshot {
            model: Arc::clone(&known.model),
            parked: known.quota.parking.as_ref().map(|parking| clocks.save(parking, None)),
            limits: known.quota.known().map(|(stated, learned)| LimitSnapshot {
                stated,
                learned: learned.map(|learned| (learned.amount, clocks.millis(learned.at))),
            }),
        });
        GroupSnapshot {
            name: Arc::clone(&group.name),
            money: group.money.as_ref().map(|parking| clocks.save(parking, None)),
            limit: group.limit.as_ref().map(|parking| clocks.save(parking, None)),
            quotas: quotas.collect(),
        }
    }

    fn restore_member(&mut self, saved: &MemberSnapshot, clocks: Clocks) {
        let Some(member) = self.member_ids.get(&saved.name).copied() else { return };
        let spec = &self.members[member as usize].spec;
        if spec.fingerprint.is_none() || spec.fingerprint != saved.fingerprint {
            return;
        }
        let group = self.members[member as usize].group;
        for parked in &saved.parked {
            let slot = match &parked.model {
                Some(model) => Slot::Permission(member, self.quota_id(group, model)),
                None => Slot::Verdict(member),
            };
            *self.slot(slot) = Some(clocks.load(parked));
        }
    }

    fn restore_group(&mut self, saved: &GroupSnapshot, clocks: Clocks) {
        let Some(group) = self.group_ids.get(&saved.name).copied() else { return };
        for (slot, parked) in [(Slot::Money(group), &saved.money), (Slot::Group(group), &saved.limit)] {
            if let Some(parked) = parked {
                *self.slot(slot) = Some(clocks.load(parked));
            }
        }
        for quota in &saved.quotas {
            let id = self.quota_id(group, &quota.model);
            if let Some(parked) = &quota.parked {
                *self.slot(Slot::Quota(id)) = Some(clocks.load(parked));
            }
            let learned =
                |(amount, at)| Learned { amount, at: clocks.time(at), is_doubtful: false, is_shared: false, trials: 0 };
            let known = quota.limits.map(|limit| (limit.stated, limit.learned.map(learned)));
            self.quotas[id as usize].quota.restore(known);
        }
    }
}
