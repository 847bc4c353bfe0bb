//! Choice of a member for a call.
//!
//! A model has tiers, a tier has routes, and a route has the members of one group that use the same name for the model.
//! A tier keeps the set of routes that can take calls, and a route keeps the set of members that can take calls, so
//! that a choice costs the same however many members are parked. Two routes are drawn by weight. The route with the
//! larger share of its limits left is chosen, and of its members the one with the fewest attempts in flight for its
//! weight. If neither has room, the choice tries all other routes that can take calls, and then computes when the first
//! of the closed routes will take calls again. It tries a later tier only if that time is too late.

use std::{cmp::Reverse, sync::Arc};

use super::{MemberState, Part, Route, State, parking::Parking, queue::Ticket, quota::Taken};
use crate::{
    LeaseRequest,
    time::{MINUTE, Return, SECOND, Time},
};

/// Call that needs a member.
#[derive(Debug)]
pub(crate) struct Want<'a> {
    pub(crate) request: &'a LeaseRequest,
    /// Id of the requested model.
    pub(crate) model: u32,
    pub(crate) arrived: Time,
    /// Time at which the call stops waiting for a member.
    pub(crate) gives_up: Time,
    /// Time from which the call also tries later tiers.
    pub(super) overflows: Time,
    pub(crate) ticket: Option<Ticket>,
    /// True while the call waits for the group that may have its beginning cached. The call then enters no queue.
    pub(super) prefers: bool,
    /// Ids of members whose vendor's format cannot express the request.
    pub(crate) exclude: Vec<u32>,
    /// Member that failed last. It is chosen only if no other member has room.
    pub(crate) avoid: Option<u32>,
}

/// Attempt at a member. It is reported or dropped first, and released afterwards.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) number: u64,
    pub(crate) place: Place,
    /// Id of the requested model.
    pub(super) model: u32,
    pub(crate) taken: Taken,
    /// True if the attempt exceeds a learned limit.
    pub(super) over_learned: bool,
    /// `true` once content of the response has arrived.
    pub(super) has_begun: bool,
    pub(super) affinity: u64,
    /// Member's own name for the model, if it has one.
    pub(crate) renamed: Option<Arc<str>>,
    pub(crate) stand_in: bool,
}

/// Ids of the member, of the member's name for the model, and of the group and quota. Group and quota become outdated
/// if the member joins another group.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) member: u32,
    pub(super) own: u32,
    pub(super) group: u32,
    pub(super) quota: u32,
}

/// Longest time that a call waits for the group that may have its beginning cached.
const AFFINITY_WAIT: Time = SECOND / 5;
/// Largest number of members of a route whose loads are compared for one choice.
const COMPARED: usize = 32;
/// Largest number of draws for one choice of a route. The last drawn route is chosen regardless of its weight.
const DRAWS: usize = 64;

/// Route that has room for a call, with the member chosen in it.
struct Candidate {
    route: u32,
    member: u32,
    over_learned: bool,
    /// Rank of the candidate: the share of the route's limits that is left (more is better), then the load of the
    /// member (less is better).
    rank: (u32, Reverse<u32>),
}

impl<'a> Want<'a> {
    pub(crate) fn new(request: &'a LeaseRequest) -> Self {
        let (ticket, prefers, exclude, avoid) = (None, false, Vec::new(), None);
        Self { request, model: 0, arrived: 0, gives_up: 0, overflows: 0, ticket, prefers, exclude, avoid }
    }
}

impl State {
    /// Chooses a member, beginning with the tier at the position `from_tier`.
    ///
    /// # Errors
    ///
    /// The time at which a member takes calls again.
    pub(crate) fn choose(&mut self, want: &mut Want<'_>, from_tier: usize, now: Time) -> Result<Attempt, Return> {
        self.find_returned(now);
        match self.return_of(Part::Pool, now) {
            Return::NOW => {}
            paused => return Err(paused),
        }
        if self.pause.is_some() && !self.has_room(want.model, now) {
            self.end_explained_pause(now);
        }
        if let Some(preferred) = self.preferred(want, now) {
            want.prefers = preferred.is_err();
            return Ok(self.grant(&preferred?, want, now));
        }
        let mut chosen = Err(Return::NEVER);
        // After a failure, all other members are tried before the one that failed, even those of later tiers.
        if let Some(failed) = want.avoid {
            want.exclude.push(failed);
            chosen = self.choose_in(from_tier, want, now);
            want.exclude.pop();
        }
        let candidate = chosen.or_else(|_| self.choose_in(from_tier, want, now))?;
        Ok(self.grant(&candidate, want, now))
    }

    fn choose_in(&mut self, from_tier: usize, want: &Want<'_>, now: Time) -> Result<Candidate, Return> {
        let mut first = Return::NEVER;
        for tier in from_tier..self.tiers(want.model) {
            match self.pick(tier, want, now) {
                Ok(candidate) => return Ok(candidate),
                Err(returns) => first = first.or(returns),
            }
            if first.soonest <= want.arrived.saturating_add(self.settings.overflow_after) {
                break;
            }
        }
        Err(first)
    }

    /// Returns `true` if an open route of a model has room for a call now, with more than a hundredth of its tightest
    /// limit left.
    pub(super) fn has_room(&mut self, model: u32, now: Time) -> bool {
        let tiers = self.models[model as usize].tiers.iter();
        let mut quotas = tiers.flat_map(|tier| &tier.open).map(|route| self.routes[*route as usize].quota);
        quotas.any(|quota| self.quotas[quota as usize].room(&[1, 0, 0, 0], false, now).is_ample(now))
    }

    /// Returns `true` if no other member can take calls for a model.
    pub(super) fn is_last(&self, model: u32, member: u32) -> bool {
        let routes = self.models[model as usize].tiers.iter().flat_map(|tier| &tier.open);
        let mut open = routes.flat_map(|route| &self.routes[*route as usize].open);
        !open.any(|other| *other != member)
    }

    /// Returns the number of tiers of a model.
    pub(crate) fn tiers(&self, model: u32) -> usize {
        self.models[model as usize].tiers.len()
    }

    /// Returns a candidate from the better of two random routes of a tier, or from any route with room. If there is
    /// none, returns the first time at which a route takes calls again.
    fn pick(&mut self, tier: usize, want: &Want<'_>, now: Time) -> Result<Candidate, Return> {
        let of_tier = &mut self.models[want.model as usize].tiers[tier];
        let (count, start) = (of_tier.open.len(), of_tier.cursor);
        let draws = if self.settings.round_robin { 0 } else { count.min(2) };
        let mut best: Result<Candidate, Return> = Err(Return::NEVER);
        for step in 0..draws + count {
            if step >= draws && best.is_ok() {
                break;
            }
            let of_tier = &mut self.models[want.model as usize].tiers[tier];
            let route = if step < draws {
                self.draw(want.model, tier)
            } else {
                of_tier.cursor = (start + step) % count + 1;
                of_tier.open[of_tier.cursor - 1]
            };
            best = match (best, self.candidate(route, want, now)) {
                (Ok(best), Ok(other)) => Ok(if other.rank > best.rank { other } else { best }),
                (Err(first), Err(other)) => Err(first.or(other)),
                (best, candidate) => best.or(candidate),
            };
        }
        best.map_err(|first| {
            let of_tier = &self.models[want.model as usize].tiers[tier];
            let returning = of_tier.returning.iter().map(|route| &self.routes[*route as usize]);
            let returning = returning.filter(|route| self.is_allowed(route, want));
            returning.map(|route| self.route_return(route, want, now)).fold(first, Return::or)
        })
    }

    /// Draws a route of a tier that can take calls, with a probability in proportion to its weight.
    fn draw(&mut self, model: u32, tier: usize) -> u32 {
        let of_tier = &self.models[model as usize].tiers[tier];
        let mut drawn = 0;
        for _ in 0..DRAWS {
            drawn = of_tier.open[self.random.below(of_tier.open.len())];
            let max = of_tier.max_weight as usize;
            if max == 1 || self.random.below(max) < self.routes[drawn as usize].weight as usize {
                break;
            }
        }
        drawn
    }

    /// Returns a member of an open route, or the time at which the route has room, which is [`Return::NEVER`] if the
    /// call must not use the route.
    fn candidate(&mut self, route_id: u32, want: &Want<'_>, now: Time) -> Result<Candidate, Return> {
        let route = &self.routes[route_id as usize];
        let start = self.random.below(route.open.len());
        if !self.is_allowed(route, want) {
            return Err(Return::NEVER);
        }
        let chosen = self.least_loaded(route, start, &want.exclude);
        let (load, member) = chosen.ok_or_else(|| self.route_return(route, want, now))?;
        let quota = route.quota as usize;
        let is_paused = self.pause.is_some();
        let (room, over_learned) = self.quotas[quota].room_to_try(&want.request.amounts, is_paused, now);
        let rank = (room.share, Reverse(load));
        if room.at <= now {
            Ok(Candidate { route: route_id, member, over_learned, rank })
        } else {
            Err(Return::at(room.at))
        }
    }

    /// Returns the member of a route with the lowest load, which is the number of its attempts in flight divided by its
    /// weight, and that load.
    fn least_loaded(&self, route: &Route, start: usize, exclude: &[u32]) -> Option<(u32, u32)> {
        let (mut best, count) = (None, route.open.len());
        for position in start..start + count.min(COMPARED) {
            let id = route.open[if position < count { position } else { position - count }];
            let MemberState { in_flight, spec, .. } = &self.members[id as usize];
            let load = in_flight.saturating_mul(1_024) / spec.weight;
            if !exclude.contains(&id) && best.is_none_or(|(least, _)| load < least) {
                best = Some((load, id));
            }
        }
        best
    }

    fn is_allowed(&self, route: &Route, want: &Want<'_>) -> bool {
        let group = &self.groups[route.group as usize].name;
        !(want.request.no_fallback && route.stand_in)
            && want.request.pinned.as_ref().is_none_or(|pinned| *pinned.group() == **group)
    }

    /// Returns the time at which a closed route takes calls again, as far as it is known now.
    fn route_return(&self, route: &Route, want: &Want<'_>, now: Time) -> Return {
        let own = self.quotas[route.quota as usize].model;
        let members = route.open.iter().chain(&route.returning).filter(|id| !want.exclude.contains(id));
        let first = members.map(|id| self.member_return(*id, own, now)).fold(Return::NEVER, Return::or);
        first.and(self.return_of_both([Part::Group(route.group), Part::Quota(route.quota)], now))
    }

    /// Returns a member of the group that served this beginning last, or the time at which that group has room. Returns
    /// `None` if there is no such group in the first tier, or if the group has no room within [`AFFINITY_WAIT`].
    fn preferred(&mut self, want: &Want<'_>, now: Time) -> Option<Result<Candidate, Return>> {
        let affinity = want.request.affinity;
        if !self.settings.affinity || affinity == 0 || want.request.pinned.is_some() {
            return None;
        }
        let group = self.affinity.get((affinity, want.model))?;
        let mut routes = self.groups[group as usize].routes.iter();
        let id = *routes.find(|id| self.routes[**id as usize].model == want.model)?;
        let route = &self.routes[id as usize];
        if route.tier > 0 {
            return None;
        }
        let candidate = match self.models[want.model as usize].tiers[0].open.contains(&id) {
            true => self.candidate(id, want, now),
            false => Err(self.route_return(route, want, now)),
        };
        let latest = want.arrived.saturating_add(AFFINITY_WAIT).min(want.gives_up);
        Some(candidate).filter(|candidate| !candidate.as_ref().is_err_and(|returns| returns.latest > latest))
    }

    /// Creates an attempt at a candidate, and counts it in the candidate's quota and member.
    fn grant(&mut self, candidate: &Candidate, want: &Want<'_>, now: Time) -> Attempt {
        self.attempts += 1;
        let (number, &Candidate { route, member: id, over_learned, .. }) = (self.attempts, candidate);
        let Route { group, quota, stand_in, model, .. } = self.routes[route as usize];
        let of_quota = &mut self.quotas[quota as usize];
        let (own, taken) = (of_quota.model, of_quota.take(&want.request.amounts, now));
        if over_learned {
            of_quota.parking.get_or_insert_with(|| Parking::trial(number - 1, now).into());
        }
        let member = &mut self.members[id as usize];
        (member.in_flight, member.attempts) = (member.in_flight + 1, member.attempts + 1);
        if !member.has_slot(now) {
            self.refresh(Part::Member(id), now);
        }
        let place = Place { member: id, own, group, quota };
        for part in self.parked_parts(place) {
            self.probe(part, number, now);
        }
        let renamed = (own != model).then(|| Arc::clone(&self.models[own as usize].name));
        let (affinity, has_begun) = (want.request.affinity, false);
        Attempt { number, place, model, taken, over_learned, has_begun, affinity, renamed, stand_in }
    }

    /// Makes an attempt the probe of a part, if the part's parking awaits a probe.
    fn probe(&mut self, part: Part, attempt: u64, now: Time) {
        let Some(parking) = self.parking_mut(part).filter(|parking| parking.awaits_probe(now)) else { return };
        parking.probe(attempt, now);
        let (opens_at, turn_ends) = (parking.opens_at(), now + MINUTE);
        self.return_at(opens_at, part);
        self.return_at(turn_ends, part);
        self.refresh(part, now);
    }

    /// Returns the parts of a place if at least one of them is parked, and no parts otherwise. For most calls no part
    /// is parked.
    pub(super) fn parked_parts(&self, place: Place) -> impl Iterator<Item = Part> + use<> {
        let Place { member, group, quota, .. } = place;
        let MemberState { parking, permissions, .. } = &self.members[member as usize];
        let [group, quota] = [&self.groups[group as usize].parking, &self.quotas[quota as usize].parking];
        let is_any = [&self.pause, parking, group, quota].iter().any(|slot| slot.is_some()) || !permissions.is_empty();
        is_any.then(|| place.parts()).into_iter().flatten()
    }
}

impl Place {
    /// Returns the parts of the pool that an attempt at this place uses, any of which may be parked.
    pub(super) fn parts(self) -> [Part; 5] {
        let Self { member, own, group, quota } = self;
        [Part::Pool, Part::Member(member), Part::Permission(member, own), Part::Group(group), Part::Quota(quota)]
    }
}
