//! State of a pool: a state machine that is driven by typed outcomes. It does no I/O, and callers pass the time.
//!
//! `members.rs` builds it from members; `choice.rs` chooses a member for a call; `waiting.rs` lets calls wait for a
//! member; `report.rs` records the outcome of an attempt. Every [`Part`] of a pool is parked in the same way. The
//! indexes contain only parts that can take calls. No timer runs. Instead, each call first adds the parts whose parking
//! is over to the indexes again.

mod affinity;
mod breaker;
mod cause;
pub(crate) mod choice;
pub(crate) mod counter;
mod errors;
mod members;
pub(crate) mod parking;
pub(crate) mod queue;
pub(crate) mod quota;
pub(crate) mod report;
#[cfg(test)]
mod tests;
pub(crate) mod waiting;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashMap},
    sync::Arc,
    time::Duration,
};

use foldhash::fast::RandomState;
use indexmap::IndexSet;
use tokio::sync::Notify;

use self::{
    affinity::Affinity,
    breaker::Breaker,
    parking::{Parking, Slot, length},
    queue::Queues,
    quota::Quota,
};
use crate::{
    Event, Parked, Reason,
    member::MemberSpec,
    random::Random,
    settings::Settings,
    time::{Return, Time},
};

type Ids = HashMap<Arc<str>, u32, RandomState>;
/// Set of ids of members or routes. Access by position takes constant time, so that a random id can be chosen.
type Open = IndexSet<u32, RandomState>;

/// State of a pool. An id is a position in a list; the ids of removed parts are reused.
#[derive(Default)]
pub(crate) struct State {
    settings: Arc<Settings>,
    pub(crate) members: Vec<MemberState>,
    pub(crate) groups: Vec<GroupState>,
    pub(crate) quotas: Vec<Quota>,
    free_quotas: Vec<u32>,
    routes: Vec<Route>,
    pub(crate) models: Vec<Model>,
    pub(crate) member_ids: Ids,
    pub(crate) group_ids: Ids,
    model_ids: Ids,
    /// Ids of groups by the group name that the vendor's responses state.
    vendor_groups: Ids,
    returns: BinaryHeap<Reverse<(Time, Part)>>,
    /// Number of the latest attempt. Attempts are numbered in the order in which they are sent.
    attempts: u64,
    /// Largest number of an attempt that was served.
    served: u64,
    /// Parking of the whole pool because of a common cause.
    pub(crate) pause: Slot,
    affinity: Affinity,
    random: Random,
    pub(crate) queues: Queues,
    events: Vec<Event>,
}

/// Part of a pool that can be parked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    Pool,
    /// Key and breaker of a member.
    Member(u32),
    /// Permission of a member for a model, which is identified by the member's own name for it.
    Permission(u32, u32),
    /// Money and limits of a group.
    Group(u32),
    Quota(u32),
}

impl Part {
    /// Returns the member that a part belongs to; `None` for a group, a quota or the whole pool.
    pub(crate) fn member(self) -> Option<u32> {
        match self {
            Self::Member(member) | Self::Permission(member, _) => Some(member),
            Self::Pool | Self::Group(_) | Self::Quota(_) => None,
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct MemberState {
    pub(crate) spec: MemberSpec,
    pub(crate) group: u32,
    parking: Slot,
    permissions: BTreeMap<u32, Slot>,
    breaker: Breaker,
    /// Model and time of an unconfirmed 403 or 404, which arrived when this was the only member left for the model. A
    /// second refusal within a minute confirms it.
    doubt: Option<(u32, Time)>,
    pub(crate) in_flight: u32,
    /// Time until which the member takes only one attempt at a time, because it is new.
    starting_until: Time,
    /// Number of the latest attempt that was sent before the member's current key was set. Failures of attempts up to
    /// this number do not park the member.
    key_since: u64,
    pub(crate) attempts: u64,
    pub(crate) failures: u64,
    pub(crate) is_gone: bool,
    routes: Vec<u32>,
}

#[derive(Debug, Default)]
pub(crate) struct GroupState {
    pub(crate) name: Arc<str>,
    parking: Slot,
    /// Ids of the group's members. A group without members counts as removed.
    pub(crate) members: Vec<u32>,
    pub(crate) quotas: Vec<u32>,
    routes: Vec<u32>,
    /// Latest sign of a common cause: its time, and the number of its attempt.
    sign: Option<(Time, u64)>,
}

/// Route to a model: the members of one group and one tier that have the same name for the model.
#[derive(Debug, Default)]
struct Route {
    model: u32,
    /// Position of the tier among the model's tiers.
    tier: u32,
    group: u32,
    quota: u32,
    stand_in: bool,
    members: Vec<u32>,
    /// Members of the route that can take calls.
    open: Open,
    /// Sum of the weights of the open members.
    weight: u32,
    /// Closed members that become available at a known time, or when an attempt ends.
    returning: Open,
}

/// Model, under a name that callers request or that members use for it.
#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) name: Arc<str>,
    tiers: Vec<Tier>,
    /// Message of the last failed attempt. An error for a call without a member quotes it.
    pub(crate) message: Option<Arc<str>>,
    /// Error message for callers while no member of the model becomes available at a known time. It is kept until one
    /// of the model's members or groups changes.
    unavailable: Option<Arc<str>>,
}

#[derive(Debug, Default)]
struct Tier {
    number: u32,
    routes: Vec<u32>,
    /// Routes of the tier that can take calls.
    open: Open,
    /// Closed routes that become available at a known time, or when an attempt ends.
    returning: Open,
    max_weight: u32,
    cursor: usize,
}

impl State {
    /// Returns the parking of a part.
    #[inline]
    pub(crate) fn parking(&self, part: Part) -> Option<&Parking> {
        match part {
            Part::Pool => self.pause.as_deref(),
            Part::Member(member) => self.members[member as usize].parking.as_deref(),
            Part::Permission(member, model) => self.members[member as usize].permissions.get(&model)?.as_deref(),
            Part::Group(group) => self.groups[group as usize].parking.as_deref(),
            Part::Quota(quota) => self.quotas[quota as usize].parking.as_deref(),
        }
    }

    fn parking_mut(&mut self, part: Part) -> Option<&mut Parking> {
        self.parking(part)?;
        self.slot(part).as_deref_mut()
    }

    /// Returns the slot in which a part's parking is kept.
    pub(crate) fn slot(&mut self, part: Part) -> &mut Slot {
        match part {
            Part::Pool => &mut self.pause,
            Part::Member(member) => &mut self.members[member as usize].parking,
            Part::Permission(member, model) => self.members[member as usize].permissions.entry(model).or_default(),
            Part::Group(group) => &mut self.groups[group as usize].parking,
            Part::Quota(quota) => &mut self.quotas[quota as usize].parking,
        }
    }

    /// Returns the ids of the members that have not been removed.
    pub(crate) fn live_members(&self) -> impl Iterator<Item = u32> {
        (0..).zip(&self.members).filter(|(_, member)| !member.is_gone).map(|(id, _)| id)
    }

    /// Returns the ids of the groups that have members.
    pub(crate) fn live_groups(&self) -> impl Iterator<Item = u32> {
        (0..).zip(&self.groups).filter(|(_, group)| !group.members.is_empty()).map(|(id, _)| id)
    }

    /// Returns the parkings of a member and of its permissions.
    pub(crate) fn parked_of_member(&self, id: u32) -> impl Iterator<Item = (Part, &Parking)> {
        let permissions = self.members[id as usize].permissions.keys().map(move |model| Part::Permission(id, *model));
        permissions.chain([Part::Member(id)]).filter_map(|part| Some((part, self.parking(part)?)))
    }

    /// Returns the parkings of a group and of its quotas.
    pub(crate) fn parked_of_group(&self, id: u32) -> impl Iterator<Item = (Part, &Parking)> {
        let quotas = self.groups[id as usize].quotas.iter().map(|quota| Part::Quota(*quota));
        quotas.chain([Part::Group(id)]).filter_map(|part| Some((part, self.parking(part)?)))
    }

    /// Returns the parkings of all members and groups, and of their permissions and quotas.
    pub(crate) fn parked(&self) -> impl Iterator<Item = (Part, &Parking)> {
        let members = self.live_members().flat_map(|id| self.parked_of_member(id));
        members.chain(self.live_groups().flat_map(|id| self.parked_of_group(id)))
    }

    /// Returns the names of a part's member, group and model. For the whole pool they are empty.
    pub(crate) fn names(&self, part: Part) -> Parked {
        let member = part.member().map(|id| &self.members[id as usize]);
        let (group, model) = match part {
            Part::Group(group) => (Some(group), None),
            Part::Quota(quota) => {
                let Quota { group, model, .. } = self.quotas[quota as usize];
                (Some(group), Some(model))
            }
            Part::Permission(_, model) => (None, Some(model)),
            Part::Pool | Part::Member(_) => (None, None),
        };
        let group = group.or(member.map(|member| member.group));
        Parked {
            member: member.map(|member| Arc::clone(&member.spec.name)),
            group: group.map_or_else(Arc::default, |id| Arc::clone(&self.groups[id as usize].name)),
            model: model.map(|id| Arc::clone(&self.models[id as usize].name)),
        }
    }

    /// Returns the time at which a part takes calls again.
    fn return_of(&self, part: Part, now: Time) -> Return {
        self.parking(part).map_or(Return::NOW, |parking| parking.returns(now))
    }

    /// Refreshes the parts whose scheduled time has passed by `now`, so that they return to the indexes if they can
    /// take calls.
    fn find_returned(&mut self, now: Time) {
        while let Some(Reverse((at, part))) = self.returns.peek().copied()
            && at <= now
        {
            self.returns.pop();
            self.refresh(part, now);
        }
    }

    /// Schedules a refresh of a part for the time `at`.
    fn return_at(&mut self, at: Time, part: Part) {
        self.returns.push(Reverse((at, part)));
    }

    /// Updates the indexes after a change of a part, and wakes the first call of each queue.
    fn refresh(&mut self, part: Part, now: Time) {
        match part {
            Part::Pool => {}
            Part::Member(member) | Part::Permission(member, _) => self.refresh_member(member, now),
            Part::Group(group) => self.refresh_group(group, now),
            Part::Quota(quota) => self.refresh_group(self.quotas[quota as usize].group, now),
        }
        self.queues.wake_heads();
    }

    fn refresh_member(&mut self, id: u32, now: Time) {
        for at in 0..self.members[id as usize].routes.len() {
            self.refresh_in(self.members[id as usize].routes[at], id, now);
        }
    }

    /// Adds a member to the indexes of one of its routes, or removes it, by its current state.
    fn refresh_in(&mut self, route_id: u32, id: u32, now: Time) {
        let own = self.quotas[self.routes[route_id as usize].quota as usize].model;
        let returns = self.member_return(id, own, now);
        let route = &mut self.routes[route_id as usize];
        let is_open = returns == Return::NOW;
        let has_moved = set(&mut route.open, id, is_open);
        if has_moved {
            let weight = self.members[id as usize].spec.weight;
            route.weight = if is_open { route.weight + weight } else { route.weight - weight };
        }
        if set(&mut route.returning, id, !is_open && returns != Return::NEVER) || has_moved {
            self.refresh_route(route_id, now);
        } else {
            self.models[route.model as usize].unavailable = None;
        }
    }

    fn refresh_group(&mut self, group: u32, now: Time) {
        for at in 0..self.groups[group as usize].routes.len() {
            self.refresh_route(self.groups[group as usize].routes[at], now);
        }
    }

    /// Adds the routes from position `first` on and their members to the indexes, or removes them, by their current
    /// state.
    fn refresh_routes(&mut self, first: usize, now: Time) {
        for id in first..self.routes.len() {
            for at in 0..self.routes[id].members.len() {
                self.refresh_in(id as u32, self.routes[id].members[at], now);
            }
            self.refresh_route(id as u32, now);
        }
    }

    fn refresh_route(&mut self, id: u32, now: Time) {
        let Route { model, tier, group, quota, ref open, ref returning, .. } = self.routes[id as usize];
        let of_members = match (open.is_empty(), returning.is_empty()) {
            (false, _) => Return::NOW,
            (true, false) => Return::released(now, Time::MAX),
            (true, true) => Return::NEVER,
        };
        let returns = of_members.and(self.return_of_both([Part::Group(group), Part::Quota(quota)], now));
        let model = &mut self.models[model as usize];
        let tier = &mut model.tiers[tier as usize];
        set(&mut tier.open, id, returns == Return::NOW);
        set(&mut tier.returning, id, returns != Return::NOW && returns != Return::NEVER);
        model.unavailable = None;
    }

    /// Returns the time at which a member takes calls for a model. `own` is the member's own name for the model.
    fn member_return(&self, id: u32, own: u32, now: Time) -> Return {
        let member = &self.members[id as usize];
        let has_slot = match () {
            () if member.has_slot(now) => Return::NOW,
            () if member.in_flight < member.spec.max_in_flight => Return::released(now, member.starting_until),
            () => Return::released(now, Time::MAX),
        };
        has_slot.and(self.return_of_both([Part::Member(id), Part::Permission(id, own)], now))
    }

    /// Returns the time at which both of two parts take calls again.
    fn return_of_both(&self, [one, other]: [Part; 2], now: Time) -> Return {
        self.return_of(one, now).and(self.return_of(other, now))
    }

    /// Parks a part because of the outcome of an attempt. Returns `false` and does nothing if the attempt was sent
    /// before the current parking.
    fn park(&mut self, part: Part, reason: Reason, hint: Option<Duration>, attempt: u64, now: Time) -> bool {
        let before = self.parking(part);
        if before.is_some_and(|parking| !parking.concerns(attempt)) {
            return false;
        }
        let is_first = before.is_none_or(|parking| parking.step == 0);
        let length = length(reason, hint, Parking::step(reason, before), &self.settings.parking_backoff);
        let mut parking = Parking::new(reason, length, before, self.attempts, now);
        parking.is_timed |= reason == Reason::Unpaid && hint.is_some();
        let until = parking.until;
        *self.slot(part) = Some(parking.into());
        self.return_at(until, part);
        self.refresh(part, now);
        if is_first {
            let retry_in = Duration::from_nanos(until - now);
            self.events.push(Event::Parked { part: self.names(part), reason, retry_in });
        }
        true
    }

    /// Shortens a parking that a learned limit explains, so that it ends when that limit has room again.
    fn end_with_room(&mut self, part: Part, quota: u32, now: Time) {
        let room_at = self.quotas[quota as usize].room(&[1; 4], false, now).at;
        if let Some(parking) = self.parking_mut(part).filter(|parking| (now + 1..parking.until).contains(&room_at)) {
            parking.until = room_at;
            self.return_at(room_at, part);
        }
    }

    /// Ends the parking of a part, and reports the end unless the parking was a trial.
    fn unpark(&mut self, part: Part, now: Time) {
        let Some(parking) = self.slot(part).take() else { return };
        if let Part::Member(member) = part
            && parking.reason.is_failure()
        {
            self.members[member as usize].breaker = Breaker::default();
        }
        self.refresh(part, now);
        if parking.step > 0 {
            let (part, away) = (self.names(part), Duration::from_nanos(now.saturating_sub(parking.since)));
            self.events.push(Event::Returned { part, reason: parking.reason, away });
        }
    }

    /// Removes and returns the events that have occurred, and the notifiers of the waiting calls that must be woken;
    /// `None` if there are neither.
    pub(crate) fn take_effects(&mut self) -> Option<(Vec<Event>, Vec<Arc<Notify>>)> {
        let wakes = self.queues.take_wakes();
        let has_any = !self.events.is_empty() || !wakes.is_empty();
        has_any.then(|| (std::mem::take(&mut self.events), wakes))
    }
}

impl MemberState {
    fn has_slot(&self, now: Time) -> bool {
        self.in_flight < if now < self.starting_until { 1 } else { self.spec.max_in_flight }
    }
}

/// Adds an id to a set if `is_in` is `true`, otherwise removes the id. Returns `true` if that changes the set.
fn set(open: &mut Open, id: u32, is_in: bool) -> bool {
    if is_in { open.insert(id) } else { open.swap_remove(&id) }
}
