//! Choice of a member for a call.

use std::sync::Arc;

use llm_core::{Priority, layer::Pinned};

use super::{
    Lane, MemberState, Part, Slot, State, Tier,
    parking::Parking,
    quota::{Amounts, Taken},
};
use crate::{
    member::MemberSpec,
    random::Random,
    time::{MINUTE, SECOND, Time},
};

/// Demand of a call.
#[derive(Clone, Debug)]
pub(crate) struct Want {
    pub(crate) name: Arc<str>,
    /// Id of the model, once [`State::resolve`] found it.
    pub(crate) model: u32,
    pub(crate) amounts: Amounts,
    pub(crate) priority: Priority,
    pub(crate) arrived: Time,
    /// Hash of tenant, model and beginning; 0 without affinity.
    pub(crate) affinity: u64,
    pub(crate) pinned: Option<Pinned>,
    pub(crate) no_fallback: bool,
    /// Members that cannot express the request.
    pub(crate) exclude: Vec<Arc<str>>,
    /// Member that failed last, which others are preferred to.
    pub(crate) avoid: Option<Arc<str>>,
}

impl Want {
    pub(crate) const UNRESOLVED: u32 = u32::MAX;

    /// Returns the line in which it waits: of its model, or that beside it for calls that not every member may serve.
    pub(super) fn line(&self) -> u32 {
        2 * self.model + u32::from(self.pinned.is_some() || self.no_fallback || !self.exclude.is_empty())
    }
}

/// Attempt at a member. It is reported or dropped, and then released.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) number: u64,
    pub(super) epoch: u32,
    pub(super) place: Place,
    pub(super) model: u32,
    pub(super) taken: Taken,
    pub(crate) sent_at: Time,
    /// `true` for the attempt that tests if a common cause is over.
    pub(super) tests: bool,
    /// `true` for an attempt beyond a learned limit.
    pub(super) over_learned: bool,
    pub(super) affinity: u64,
    pub(crate) member: Arc<str>,
    /// The member's own name for the model, if it has one.
    pub(crate) renamed: Option<Arc<str>>,
    pub(crate) stand_in: bool,
}

impl Attempt {
    /// Returns the member's place, as long as the members do not change.
    pub(crate) fn member_id(&self) -> usize {
        self.place.member as usize
    }
}

/// Ids of an attempt's member, group and quota.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) member: u32,
    pub(super) group: u32,
    pub(super) quota: u32,
}

/// Answer to a call that wants a member.
#[derive(Debug)]
pub(crate) enum Turn {
    Go(Attempt),
    /// A member returns at this time, or when an attempt ends ([`RELEASE`]).
    Wait(Time),
    /// The group that has its beginning cached returns at this time.
    Prefer(Time),
    /// None returns by time.
    Never,
}

/// Time of a return that is known only when an attempt ends.
pub(crate) const RELEASE: Time = Time::MAX - 1;
const NEVER: Time = Time::MAX;
/// Longest wait for the group that has the beginning cached.
const AFFINITY_WAIT: Time = SECOND / 5;
/// Members of a lane that are compared.
const COMPARED: usize = 32;
/// Draws of a lane by weight. Then its weight does not count.
const DRAWS: usize = 64;

/// Lane that a call may be sent to.
struct Candidate {
    lane: u32,
    member: u32,
    at: Time,
    share: u32,
    over_learned: bool,
}

impl State {
    /// Chooses a member in the tiers from a position on, or says when one returns.
    pub(crate) fn choose(&mut self, want: &Want, from_tier: usize, now: Time) -> Turn {
        self.find_returned(now);
        if let Some(until) = self.paused_until(now) {
            return Turn::Wait(until);
        }
        if want.affinity != 0
            && want.pinned.is_none()
            && let Some(turn) = self.preferred(want, now)
        {
            return turn;
        }
        // After a failure other members come first, of later tiers, too.
        if want.avoid.is_some()
            && let Ok(attempt) = self.choose_in(from_tier, want, true, now)
        {
            return Turn::Go(attempt);
        }
        match self.choose_in(from_tier, want, false, now) {
            Ok(attempt) => Turn::Go(attempt),
            Err(NEVER) => Turn::Never,
            Err(first) => {
                self.explain_cause();
                Turn::Wait(first)
            }
        }
    }

    fn choose_in(&mut self, from_tier: usize, want: &Want, prefer_others: bool, now: Time) -> Result<Attempt, Time> {
        let mut first = NEVER;
        for tier in from_tier..self.models[want.model as usize].tiers.len() {
            match self.pick(tier, want, prefer_others, now) {
                Ok(candidate) => return Ok(self.grant(&candidate, want, now)),
                Err(at) => first = first.min(at),
            }
            let expected = if first == RELEASE { now } else { first };
            if expected <= want.arrived.saturating_add(self.settings.overflow_after) {
                break;
            }
        }
        Err(first)
    }

    /// Returns `true` if a lane of a model has room for a request now.
    pub(super) fn has_room(&mut self, model: u32, now: Time) -> bool {
        let tiers = self.models[model as usize].tiers.iter();
        let mut open = tiers.flat_map(|tier| tier.open.items().iter().map(|at| tier.lanes[*at as usize]));
        let (lanes, quotas) = (&self.lanes, &mut self.quotas);
        open.any(|lane| {
            let quota = &mut quotas[lanes[lane as usize].quota as usize].quota;
            quota.room(&[1, 0, 0, 0], false, now).at <= now
        })
    }

    /// Finds the id of a call's model.
    pub(crate) fn resolve(&mut self, want: &mut Want, now: Time) {
        if want.model == Want::UNRESOLVED {
            want.model = self.model_id(&want.name, now);
        }
    }

    /// Returns the number of tiers of a model.
    pub(crate) fn tiers(&self, model: u32) -> usize {
        self.models[model as usize].tiers.len()
    }

    fn tier(&mut self, model: u32, tier: usize) -> &mut Tier {
        &mut self.models[model as usize].tiers[tier]
    }

    /// Returns the better of two random lanes of a tier, or else any with room, or else the time of the first return.
    fn pick(&mut self, tier: usize, want: &Want, prefer_others: bool, now: Time) -> Result<Candidate, Time> {
        let count = self.tier(want.model, tier).open.items().len();
        let mut best: Option<Candidate> = None;
        if !self.settings.round_robin {
            for _ in 0..count.min(2) {
                let lane = self.draw(want.model, tier);
                if let Some(candidate) = self.candidate(lane, want, prefer_others, now)
                    && candidate.at <= now
                    && best.as_ref().is_none_or(|best| self.is_better(&candidate, best))
                {
                    best = Some(candidate);
                }
            }
        }
        match best {
            Some(best) => Ok(best),
            None => self.scan(tier, count, want, prefer_others, now),
        }
    }

    fn scan(
        &mut self,
        tier: usize,
        count: usize,
        want: &Want,
        prefer_others: bool,
        now: Time,
    ) -> Result<Candidate, Time> {
        let mut first = NEVER;
        let start = match count {
            0 => 0,
            _ if self.settings.round_robin => self.tier(want.model, tier).cursor % count,
            _ => self.random.below(count),
        };
        for step in 0..count {
            let at = (start + step) % count;
            let of_tier = self.tier(want.model, tier);
            let lane = of_tier.lanes[of_tier.open.items()[at] as usize];
            match self.candidate(lane, want, prefer_others, now) {
                Some(candidate) if candidate.at <= now => {
                    self.tier(want.model, tier).cursor = at + 1;
                    return Ok(candidate);
                }
                Some(candidate) => first = first.min(candidate.at),
                None => {}
            }
        }
        Err(first.min(self.closed_return(tier, want, now)))
    }

    /// Draws a lane that can take calls, by weight.
    fn draw(&mut self, model: u32, tier: usize) -> u32 {
        let of_tier = &self.models[model as usize].tiers[tier];
        let items = of_tier.open.items();
        let mut drawn = 0;
        for _ in 0..DRAWS {
            drawn = of_tier.lanes[items[self.random.below(items.len())] as usize];
            let max = of_tier.max_weight as usize;
            if max == 1 || self.random.below(max) < self.lanes[drawn as usize].weight as usize {
                break;
            }
        }
        drawn
    }

    /// Returns a member of a lane and the lane's room; `None` if the call must not be sent there.
    fn candidate(&mut self, lane_id: u32, want: &Want, prefer_others: bool, now: Time) -> Option<Candidate> {
        let lane = &self.lanes[lane_id as usize];
        if !self.is_allowed(lane, want) {
            return None;
        }
        let avoid = want.avoid.as_ref().filter(|_| prefer_others);
        let is_wanted = |spec: &MemberSpec| avoid != Some(&spec.name) && !want.exclude.contains(&spec.name);
        let member = match lane.only {
            Some(only) => is_wanted(&self.members[only as usize].spec).then_some(only),
            None => Self::least_loaded(&self.members, lane, &mut self.random, is_wanted),
        }?;
        let is_paused = self.is_paused();
        let quota = &mut self.quotas[lane.quota as usize].quota;
        let (room, over_learned) = match !is_paused && quota.may_try_more(now) {
            true => quota.room_to_try(&want.amounts, now),
            false => (quota.room(&want.amounts, false, now), false),
        };
        Some(Candidate { lane: lane_id, member, at: room.at, share: room.share, over_learned })
    }

    /// Returns the member of a lane with the fewest attempts in flight.
    fn least_loaded(
        of: &[MemberState],
        lane: &Lane,
        random: &mut Random,
        is_wanted: impl Fn(&MemberSpec) -> bool,
    ) -> Option<u32> {
        let members = lane.open.items();
        let start = if members.len() > 1 { random.below(members.len()) } else { 0 };
        let mut best: Option<(u64, u32)> = None;
        for step in 0..members.len().min(COMPARED) {
            let at = start + step;
            let id = lane.members[members[if at < members.len() { at } else { at - members.len() }] as usize];
            let MemberState { spec, in_flight, .. } = &of[id as usize];
            let load = u64::from(*in_flight) * 1_024 / u64::from(spec.weight);
            if is_wanted(spec) && best.is_none_or(|(least, _)| load < least) {
                best = Some((load, id));
            }
        }
        best.map(|(_, id)| id)
    }

    fn is_allowed(&self, lane: &Lane, want: &Want) -> bool {
        let is_pinned = |pinned: &Pinned| *pinned.group() == *self.groups[lane.group as usize].name;
        !(want.no_fallback && lane.stand_in) && want.pinned.as_ref().is_none_or(is_pinned)
    }

    /// Compares by room, then by attempts in flight.
    fn is_better(&self, one: &Candidate, other: &Candidate) -> bool {
        let load = |candidate: &Candidate| {
            let lane = &self.lanes[candidate.lane as usize];
            u64::from(self.groups[lane.group as usize].in_flight) * 1_024 / u64::from(lane.weight.max(1))
        };
        one.share > other.share || (one.share == other.share && load(one) < load(other))
    }

    /// Returns the first return of a tier's lanes that cannot take calls.
    fn closed_return(&mut self, tier: usize, want: &Want, now: Time) -> Time {
        let is_plain = want.pinned.is_none() && !want.no_fallback && want.exclude.is_empty();
        let of_tier = &self.models[want.model as usize].tiers[tier];
        if let Some((_, at)) = of_tier.closed.filter(|(version, at)| is_plain && *version == self.version && *at > now)
        {
            return at;
        }
        let closed = of_tier
            .lanes
            .iter()
            .map(|lane| &self.lanes[*lane as usize])
            .filter(|lane| !of_tier.open.contains(lane.position) && self.is_allowed(lane, want));
        let at = closed.map(|lane| self.lane_return(lane, want, now)).min().unwrap_or(NEVER);
        if is_plain {
            let version = self.version;
            self.tier(want.model, tier).closed = Some((version, at));
        }
        at
    }

    fn lane_return(&self, lane: &Lane, want: &Want, now: Time) -> Time {
        let group = &self.groups[lane.group as usize];
        let quota = &self.quotas[lane.quota as usize];
        let own = [&group.money, &group.limit, &quota.quota.parking].map(|parking| return_of(parking, now));
        let members = lane.members.iter().map(|member| &self.members[*member as usize]);
        let members = members.filter(|member| !want.exclude.contains(&member.spec.name));
        let first = members.map(|member| member.returns_at(&quota.model, now)).min().unwrap_or(NEVER);
        own.into_iter().fold(first, Time::max)
    }

    /// Returns the turn at the group that served this beginning last; `None` if it is no better than others.
    fn preferred(&mut self, want: &Want, now: Time) -> Option<Turn> {
        let group = Arc::clone(self.affinity.get(want.affinity)?);
        let group = *self.group_ids.get(&group)?;
        let lanes = &self.groups[group as usize].lanes;
        let lane = *lanes.iter().find(|lane| self.lanes[**lane as usize].model == want.model)?;
        let of_lane = &self.lanes[lane as usize];
        if of_lane.tier > 0 {
            return None;
        }
        let is_in = self.models[want.model as usize].tiers[of_lane.tier as usize].open.contains(of_lane.position);
        let candidate = if is_in { self.candidate(lane, want, false, now) } else { None };
        let at = match candidate {
            Some(candidate) if candidate.at <= now => return Some(Turn::Go(self.grant(&candidate, want, now))),
            Some(candidate) => candidate.at,
            None => self.lane_return(&self.lanes[lane as usize], want, now),
        };
        (at <= want.arrived.saturating_add(AFFINITY_WAIT)).then_some(Turn::Prefer(at))
    }

    /// Sends an attempt to a candidate.
    fn grant(&mut self, candidate: &Candidate, want: &Want, now: Time) -> Attempt {
        self.attempts += 1;
        let number = self.attempts;
        let Lane { group, quota, stand_in, model, .. } = self.lanes[candidate.lane as usize];
        let place = Place { member: candidate.member, group, quota };
        let taken = self.quotas[quota as usize].quota.take(&want.amounts, now);
        self.groups[group as usize].in_flight += 1;
        let member = &mut self.members[candidate.member as usize];
        (member.in_flight, member.attempts) = (member.in_flight + 1, member.attempts + 1);
        let (name, is_full) = (Arc::clone(&member.spec.name), member.in_flight >= member.max_in_flight(now));
        if is_full {
            self.refresh(Part::Member(candidate.member), now);
        }
        if candidate.over_learned {
            self.quotas[quota as usize].quota.parking.get_or_insert_with(|| Parking::trial(number - 1, now));
        }
        for slot in self.slots(place) {
            self.probe(slot, number, now);
        }
        let own = &self.quotas[quota as usize].model;
        let renamed = (*own != self.models[model as usize].name).then(|| Arc::clone(own));
        let tests = self.begin_test(number, now);
        Attempt {
            number,
            epoch: self.epoch,
            place,
            model,
            taken,
            sent_at: now,
            tests,
            over_learned: candidate.over_learned,
            affinity: want.affinity,
            member: name,
            renamed,
            stand_in,
        }
    }

    /// Lets an attempt go first at a part that was parked.
    fn probe(&mut self, slot: Slot, attempt: u64, now: Time) {
        if let Some(parking) = self.slot(slot)
            && parking.awaits_probe(now)
        {
            parking.probe(attempt, now);
            let (opens_at, turn_ends) = (parking.opens_at(), now + MINUTE);
            self.return_at(opens_at, slot.part());
            self.return_at(turn_ends, slot.part());
            self.refresh(slot.part(), now);
        }
    }

    /// Returns the places of all parkings that an attempt meets.
    pub(super) fn slots(&self, place: Place) -> impl Iterator<Item = Slot> + use<> {
        let Place { member, group, quota } = place;
        let of_member = &self.members[member as usize];
        let is_used = |parking: &Option<Parking>| parking.is_some();
        let permission = of_member.permission(&self.quotas[quota as usize].model).is_some_and(is_used);
        let used = [
            (of_member.verdict.is_some(), Slot::Verdict(member)),
            (of_member.breaker.parking.is_some(), Slot::Breaker(member)),
            (permission, Slot::Permission(member, quota)),
            (self.groups[group as usize].money.is_some(), Slot::Money(group)),
            (self.groups[group as usize].limit.is_some(), Slot::Group(group)),
            (self.quotas[quota as usize].quota.parking.is_some(), Slot::Quota(quota)),
        ];
        used.into_iter().filter_map(|(is_used, slot)| is_used.then_some(slot))
    }
}

impl MemberState {
    /// Returns the time from which it takes a call for a model, as far as it is known.
    fn returns_at(&self, model: &Arc<str>, now: Time) -> Time {
        let permission = self.permission(model).map_or(0, |parking| return_of(parking, now));
        let parked = return_of(&self.verdict, now).max(return_of(&self.breaker.parking, now)).max(permission);
        let busy = match self.in_flight < self.max_in_flight(now) {
            true => 0,
            false if self.in_flight < self.spec.max_in_flight => self.starting_until,
            false => RELEASE,
        };
        parked.max(busy)
    }
}

/// Returns the time at which a parking ends; [`NEVER`] if not by time.
fn return_of(parking: &Option<Parking>, now: Time) -> Time {
    match parking {
        Some(parking) if parking.opens_at() > now => match parking.is_timed {
            true if parking.awaits_response(now) => RELEASE,
            true => parking.opens_at(),
            false => NEVER,
        },
        _ => 0,
    }
}
