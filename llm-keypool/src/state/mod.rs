//! State of a pool: a pure state machine over typed outcomes, whose callers pass the time.
//!
//! `topology.rs` builds it from members; `choice.rs` chooses a member for a call; `report.rs` takes the outcome of an
//! attempt. What is kept of whom: quota by group and model, permission by member and model, validity, breaker and
//! concurrency by member, money by group, a common cause by pool. What cannot take calls is in no index; what returns by
//! time is found by the next call.

mod affinity;
mod breaker;
pub(crate) mod cause;
pub(crate) mod choice;
pub(crate) mod counter;
pub(crate) mod parking;
pub(crate) mod quota;
pub(crate) mod report;
#[cfg(test)]
mod tests;
mod topology;
pub(crate) mod waiting;

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    sync::Arc,
    time::Duration,
};

use foldhash::fast::RandomState;

use self::{
    affinity::Affinity,
    breaker::Breaker,
    cause::Causes,
    parking::{Parking, Reason},
    quota::Quota,
    waiting::Queues,
};
use crate::{event::Event, group::Group, member::MemberSpec, random::Random, sparse_set::SparseSet, time::Time};

type Ids = HashMap<Arc<str>, u32, RandomState>;

/// Settings of the state machine.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) groups: Vec<Group>,
    pub(crate) round_robin: bool,
    pub(crate) overflow_after: Time,
    pub(crate) max_waiting: usize,
}

/// State of a pool.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) settings: Settings,
    pub(crate) members: Vec<MemberState>,
    pub(crate) groups: Vec<GroupState>,
    pub(crate) quotas: Vec<QuotaState>,
    lanes: Vec<Lane>,
    models: Vec<Model>,
    pub(crate) member_ids: Ids,
    pub(crate) group_ids: Ids,
    model_ids: Ids,
    /// Groups by the name that the vendor has for them.
    vendor_groups: HashMap<Arc<str>, Arc<str>>,
    returns: BinaryHeap<Reverse<(Time, Part)>>,
    /// Number of the last attempt.
    attempts: u64,
    /// Changes when ids do.
    epoch: u32,
    /// Changes when the set of members that can take calls does.
    version: u64,
    /// Groups with a member whose key is valid.
    valid_groups: u32,
    causes: Causes,
    affinity: Affinity,
    random: Random,
    queues: Queues,
    events: Vec<Event>,
}

/// Part of the pool that may return by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Member(u32),
    Group(u32),
    Quota(u32),
}

/// Place of a parking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    /// Verdict on a member's key.
    Verdict(u32),
    Breaker(u32),
    /// Permission of a member for a quota's model.
    Permission(u32, u32),
    /// Money of a group.
    Money(u32),
    /// Limit of a whole group.
    Group(u32),
    Quota(u32),
}

#[derive(Debug)]
pub(crate) struct MemberState {
    pub(crate) spec: MemberSpec,
    pub(crate) group: u32,
    pub(crate) verdict: Option<Parking>,
    pub(crate) breaker: Breaker,
    /// Permissions by the member's name for a model.
    pub(crate) permissions: Vec<(Arc<str>, Option<Parking>)>,
    /// First 403 or 404 of a member that is the last one.
    doubt: Option<(Arc<str>, Time)>,
    pub(crate) in_flight: u32,
    /// Time until which it makes one attempt at a time.
    starting_until: Time,
    pub(crate) attempts: u64,
    pub(crate) failures: u64,
    is_valid: bool,
    /// Lanes, with its position in each.
    lanes: Vec<(u32, u32)>,
}

#[derive(Debug)]
pub(crate) struct GroupState {
    pub(crate) name: Arc<str>,
    pub(crate) money: Option<Parking>,
    pub(crate) limit: Option<Parking>,
    pub(crate) in_flight: u32,
    pub(crate) members: Vec<u32>,
    quotas: Vec<u32>,
    lanes: Vec<u32>,
    valid_members: u32,
    /// Recent signs of a common cause.
    signs: u32,
}

#[derive(Debug)]
pub(crate) struct QuotaState {
    pub(crate) group: u32,
    /// The group's name for the model.
    pub(crate) model: Arc<str>,
    pub(crate) quota: Quota,
    lanes: Vec<u32>,
}

/// Members of one group and tier that serve a model by one name.
#[derive(Debug)]
struct Lane {
    model: u32,
    tier: u32,
    /// Position in the tier.
    position: u32,
    group: u32,
    quota: u32,
    stand_in: bool,
    members: Vec<u32>,
    /// The member, if it is the only one.
    only: Option<u32>,
    /// Positions of members that can take calls.
    open: SparseSet,
    /// Their weights together.
    weight: u32,
}

#[derive(Debug)]
struct Model {
    name: Arc<str>,
    tiers: Vec<Tier>,
    /// Last message of a refusal, for callers of whom none is served.
    message: Option<Arc<str>>,
}

#[derive(Debug)]
struct Tier {
    number: u32,
    lanes: Vec<u32>,
    /// Positions of lanes that can take calls.
    open: SparseSet,
    max_weight: u32,
    cursor: usize,
    /// First return of lanes that cannot, as of a version.
    closed: Option<(u64, Time)>,
}

/// Returns `true` if a part takes calls.
fn is_open(parking: &Option<Parking>, now: Time) -> bool {
    parking.as_ref().is_none_or(|parking| parking.opens_at() <= now)
}

impl State {
    /// Returns the place of a parking. A permission gets one if it has none.
    pub(crate) fn slot(&mut self, slot: Slot) -> &mut Option<Parking> {
        match slot {
            Slot::Verdict(member) => &mut self.members[member as usize].verdict,
            Slot::Breaker(member) => &mut self.members[member as usize].breaker.parking,
            Slot::Permission(member, quota) => {
                let model = &self.quotas[quota as usize].model;
                let permissions = &mut self.members[member as usize].permissions;
                let at = permissions.iter().position(|(known, _)| known == model).unwrap_or_else(|| {
                    permissions.push((Arc::clone(model), None));
                    permissions.len() - 1
                });
                &mut permissions[at].1
            }
            Slot::Money(group) => &mut self.groups[group as usize].money,
            Slot::Group(group) => &mut self.groups[group as usize].limit,
            Slot::Quota(quota) => &mut self.quotas[quota as usize].quota.parking,
        }
    }

    /// Finds what has returned by `now`.
    fn find_returned(&mut self, now: Time) {
        while self.returns.peek().is_some_and(|Reverse((at, _))| *at <= now) {
            if let Some(Reverse((_, part))) = self.returns.pop() {
                self.refresh(part, now);
            }
        }
    }

    /// Schedules a look at a part at a time.
    fn return_at(&mut self, at: Time, part: Part) {
        self.returns.push(Reverse((at, part)));
    }

    /// Puts a part into the indexes, or takes it out.
    fn refresh(&mut self, part: Part, now: Time) {
        self.version += 1;
        match part {
            Part::Member(member) => self.refresh_member(member, now),
            Part::Group(group) => {
                for at in 0..self.groups[group as usize].lanes.len() {
                    self.refresh_lane(self.groups[group as usize].lanes[at], now);
                }
            }
            Part::Quota(quota) => {
                for at in 0..self.quotas[quota as usize].lanes.len() {
                    self.refresh_lane(self.quotas[quota as usize].lanes[at], now);
                }
            }
        }
        self.queues.wake_heads();
    }

    fn refresh_member(&mut self, id: u32, now: Time) {
        let member = &mut self.members[id as usize];
        let is_valid = member.verdict.as_ref().is_none_or(|verdict| verdict.is_timed);
        if is_valid != member.is_valid {
            member.is_valid = is_valid;
            let group = &mut self.groups[member.group as usize];
            let before = group.valid_members;
            group.valid_members = if is_valid { before + 1 } else { before - 1 };
            self.valid_groups = self.valid_groups + u32::from(before == 0) - u32::from(group.valid_members == 0);
        }
        let member_is_open = member.is_open(now);
        for at in 0..self.members[id as usize].lanes.len() {
            let member = &self.members[id as usize];
            let (lane_id, position) = member.lanes[at];
            let lane = &mut self.lanes[lane_id as usize];
            let model = &self.quotas[lane.quota as usize].model;
            let can_take = member_is_open && member.may_use(model, now);
            if lane.open.set(position, can_take) {
                let weight = member.spec.weight;
                lane.weight = if can_take { lane.weight + weight } else { lane.weight - weight };
                self.refresh_lane(lane_id, now);
            }
        }
    }

    fn refresh_lane(&mut self, id: u32, now: Time) {
        let lane = &self.lanes[id as usize];
        let group = &self.groups[lane.group as usize];
        let can_take = !lane.open.items().is_empty()
            && is_open(&group.money, now)
            && is_open(&group.limit, now)
            && is_open(&self.quotas[lane.quota as usize].quota.parking, now);
        self.models[lane.model as usize].tiers[lane.tier as usize].open.set(lane.position, can_take);
    }

    /// Parks a part after the outcome of an attempt, unless the attempt was sent before an earlier parking.
    fn park(&mut self, slot: Slot, reason: Reason, hint: Option<Duration>, attempt: u64, now: Time) {
        let (jitter, generation) = ((self.random.next() >> 32) as u32, self.attempts);
        let place = self.slot(slot);
        if place.as_ref().is_some_and(|parking| !parking.concerns(attempt)) {
            return;
        }
        let parking = Parking::new(reason, hint, place.as_ref(), generation, jitter, now);
        let (is_first, until) = (place.as_ref().is_none_or(|parking| parking.step == 0), parking.until);
        *place = Some(parking);
        self.return_at(until, slot.part());
        self.refresh(slot.part(), now);
        if is_first {
            self.record(slot, |part| Event::parked(part, reason, Duration::from_nanos(until - now)));
        }
    }

    /// Ends a parking.
    fn unpark(&mut self, slot: Slot, now: Time) {
        if let Some(parking) = self.slot(slot).take() {
            if let Slot::Breaker(member) = slot {
                self.members[member as usize].breaker.reset();
            }
            self.refresh(slot.part(), now);
            let away = Duration::from_nanos(now.saturating_sub(parking.since));
            if parking.step == 0 {
                return;
            }
            self.record(slot, |part| Event::returned(part, parking.reason, away));
        }
    }

    fn record(&mut self, slot: Slot, event: impl FnOnce(crate::event::Parked) -> Event) {
        let part = match slot {
            Slot::Verdict(member) | Slot::Breaker(member) => self.part_of_member(member, None),
            Slot::Permission(member, quota) => {
                self.part_of_member(member, Some(Arc::clone(&self.quotas[quota as usize].model)))
            }
            Slot::Money(group) | Slot::Group(group) => self.part_of_group(group, None),
            Slot::Quota(quota) => {
                let QuotaState { group, model, .. } = &self.quotas[quota as usize];
                self.part_of_group(*group, Some(Arc::clone(model)))
            }
        };
        self.events.push(event(part));
    }

    fn part_of_member(&self, member: u32, model: Option<Arc<str>>) -> crate::event::Parked {
        let MemberState { spec, group, .. } = &self.members[member as usize];
        let group = Arc::clone(&self.groups[*group as usize].name);
        crate::event::Parked { member: Some(Arc::clone(&spec.name)), group, model }
    }

    fn part_of_group(&self, group: u32, model: Option<Arc<str>>) -> crate::event::Parked {
        crate::event::Parked { member: None, group: Arc::clone(&self.groups[group as usize].name), model }
    }

    /// Takes the events since the last call, and the waiting calls to wake.
    pub(crate) fn take_effects(&mut self) -> Effects {
        Effects { events: std::mem::take(&mut self.events), wakes: self.queues.take_wakes() }
    }
}

/// Effects of a change of the state outside of it.
#[must_use]
pub(crate) struct Effects {
    pub(crate) events: Vec<Event>,
    pub(crate) wakes: Vec<Arc<tokio::sync::Notify>>,
}

impl MemberState {
    fn is_open(&self, now: Time) -> bool {
        is_open(&self.verdict, now) && is_open(&self.breaker.parking, now) && self.in_flight < self.max_in_flight(now)
    }

    fn may_use(&self, model: &Arc<str>, now: Time) -> bool {
        self.permission(model).is_none_or(|parking| is_open(parking, now))
    }

    pub(crate) fn permission(&self, model: &Arc<str>) -> Option<&Option<Parking>> {
        self.permissions.iter().find(|(known, _)| known == model).map(|(_, parking)| parking)
    }

    fn max_in_flight(&self, now: Time) -> u32 {
        if now < self.starting_until { 1 } else { self.spec.max_in_flight }
    }
}

impl Slot {
    fn part(self) -> Part {
        match self {
            Self::Verdict(member) | Self::Breaker(member) | Self::Permission(member, _) => Part::Member(member),
            Self::Money(group) | Self::Group(group) => Part::Group(group),
            Self::Quota(quota) => Part::Quota(quota),
        }
    }
}
