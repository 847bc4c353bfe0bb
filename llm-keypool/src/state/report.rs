//! Outcomes of attempts.

use std::{sync::Arc, time::Duration};

use llm_core::{
    Error, ErrorKind, Usage,
    layer::{LimitWindow, VendorLimits},
};

use super::{
    Part, Slot, State,
    choice::{Attempt, Place},
    parking::{Parking, Reason},
};
use crate::{
    outcome::{Verdict, window},
    time::{MINUTE, Time, nanos},
};

/// Outcome of an attempt that failed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failure<'a> {
    pub(crate) verdict: Verdict,
    pub(crate) hint: Option<Duration>,
    pub(crate) limits: Option<&'a VendorLimits>,
    /// A refusal without scope and limits, or a failure of the connection, which may have a common cause.
    pub(crate) may_be_common: bool,
    /// A refusal from which a limit a minute can be learned.
    pub(crate) teaches: bool,
    pub(crate) message: Option<&'a str>,
}

impl<'a> Failure<'a> {
    /// Reads an error under a verdict.
    pub(crate) fn new(verdict: Verdict, error: &'a Error) -> Self {
        let is_limited = matches!(verdict, Verdict::RateLimited | Verdict::GroupLimited | Verdict::KeyLimited);
        let is_bare = error.scope().is_none() && error.limits().is_none();
        let is_transport = verdict.is_failure() && error.kind() == ErrorKind::Transport;
        let hint = error.retry_after();
        let is_a_minute = matches!(error.scope().map(window), None | Some(Some(LimitWindow::Minute)));
        Self {
            verdict,
            hint,
            limits: error.limits(),
            may_be_common: is_transport || (verdict == Verdict::RateLimited && is_bare),
            teaches: is_limited && is_a_minute && hint.is_none_or(|hint| nanos(hint) <= MINUTE),
            message: Some(error.message()),
        }
    }
}

/// Second refusals of a last member count within this time.
const DOUBT: Time = MINUTE;

impl State {
    /// Finds an attempt's member, group and quota, also if the members have changed since.
    fn locate(&mut self, attempt: &Attempt) -> Option<Place> {
        if attempt.epoch == self.epoch {
            return Some(attempt.place);
        }
        let member = *self.member_ids.get(&attempt.member)?;
        let group = self.members[member as usize].group;
        let asked = &self.models[attempt.model as usize].name;
        let own = attempt.renamed.clone().unwrap_or_else(|| Arc::clone(asked));
        Some(Place { member, group, quota: self.quota_id(group, &own) })
    }

    /// Takes that the vendor serves an attempt: a response, or the first content of a stream.
    pub(crate) fn succeeded(&mut self, attempt: &Attempt, limits: Option<&VendorLimits>, now: Time) {
        self.causes.served = self.causes.served.max(attempt.number);
        self.end_pause(attempt.number, now);
        let Some(place) = self.locate(attempt) else { return };
        for slot in self.slots(place) {
            let parking = self.slot(slot).as_ref();
            let ends = |parking: &Parking| parking.concerns(attempt.number) && parking.reason != Reason::Disabled;
            if parking.is_some_and(ends) {
                self.unpark(slot, now);
            }
        }
        let quota = &mut self.quotas[place.quota as usize].quota;
        if attempt.over_learned {
            quota.raise_learned();
        }
        if let Some(limits) = limits {
            quota.observe(limits, &attempt.taken, now);
            self.observe_group(place, limits, now);
        }
    }

    /// Takes the failure of an attempt. Returns `true` if it is in doubt: the first 403 or 404 of a last member.
    pub(crate) fn failed(&mut self, attempt: &mut Attempt, failure: &Failure<'_>, now: Time) -> bool {
        let Some(place) = self.locate(attempt) else { return false };
        self.members[place.member as usize].failures += u64::from(failure.verdict != Verdict::Request);
        let mut is_doubted = false;
        match failure.verdict {
            Verdict::Request => self.members[place.member as usize].breaker.responded(now),
            Verdict::Failed | Verdict::TimedOut => self.broke(attempt, place, failure, now),
            _ => is_doubted = self.refused(attempt, place, failure, now),
        }
        self.return_turns(attempt, now);
        is_doubted
    }

    /// Takes back the turns of an attempt that ended without an outcome.
    pub(crate) fn return_turns(&mut self, attempt: &Attempt, now: Time) {
        self.return_test(attempt.number);
        let Some(place) = self.locate(attempt) else { return };
        for slot in self.slots(place) {
            if let Some(parking) = self.slot(slot)
                && parking.return_probe(attempt.number)
            {
                self.refresh(slot.part(), now);
            }
        }
    }

    /// Takes that the response to an attempt is complete.
    pub(crate) fn completed(&mut self, attempt: &Attempt, now: Time) {
        if let Some(place) = self.locate(attempt) {
            self.members[place.member as usize].breaker.responded(now);
        }
    }

    /// Ends an attempt: its slot is free, and its tokens are settled if its usage is known.
    pub(crate) fn release(&mut self, attempt: &Attempt, usage: Option<&Usage>, now: Time) {
        let Some(place) = self.locate(attempt) else { return };
        let group = &mut self.groups[place.group as usize];
        group.in_flight = group.in_flight.saturating_sub(1);
        let member = &mut self.members[place.member as usize];
        let was_full = member.in_flight >= member.max_in_flight(now);
        member.in_flight = member.in_flight.saturating_sub(1);
        if was_full {
            self.refresh(Part::Member(place.member), now);
        }
        if let Some(usage) = usage {
            self.quotas[place.quota as usize].quota.settle(&attempt.taken, usage, now);
            if attempt.affinity != 0 {
                let group = Arc::clone(&self.groups[place.group as usize].name);
                self.affinity.served(attempt.affinity, &group, usage.cache_read > 0);
            }
        }
    }

    /// Takes a refusal: the vendor is there, and did not count the attempt.
    fn refused(&mut self, attempt: &mut Attempt, place: Place, failure: &Failure<'_>, now: Time) -> bool {
        let Place { member, group, quota } = place;
        let Failure { verdict, hint, limits, .. } = *failure;
        self.members[member as usize].breaker.responded(now);
        self.models[attempt.model as usize].message = failure.message.map(Arc::from);
        let of_quota = &mut self.quotas[quota as usize].quota;
        of_quota.give_back(&mut attempt.taken);
        self.queues.wake_heads();
        if let Some(limits) = limits {
            of_quota.observe(limits, &attempt.taken, now);
        }
        if failure.may_be_common {
            if attempt.tests {
                of_quota.learn(limits, true, now);
                self.prolong_pause(attempt.model, hint, now);
                return false;
            }
            if self.was_sent_before_pause(attempt.number) {
                self.quotas[quota as usize].quota.learn(limits, true, now);
                return false;
            }
        }
        let of_quota = &mut self.quotas[quota as usize].quota;
        match attempt.over_learned {
            true => of_quota.confirm_learned(),
            false if failure.teaches => of_quota.learn(limits, failure.may_be_common, now),
            false => {}
        }
        let (slot, reason) = match verdict {
            Verdict::Unauthorized => (Slot::Verdict(member), Reason::Unauthorized),
            Verdict::Unpaid => (Slot::Money(group), Reason::Unpaid),
            Verdict::KeyLimited => (Slot::Verdict(member), Reason::RateLimited),
            Verdict::GroupLimited => (Slot::Group(group), Reason::RateLimited),
            Verdict::Forbidden => return self.lacks(attempt, place, Reason::Forbidden, now),
            Verdict::NotFound => return self.lacks(attempt, place, Reason::NotFound, now),
            _ => (Slot::Quota(quota), Reason::RateLimited),
        };
        self.park(slot, reason, hint, attempt.number, now);
        if failure.may_be_common && !attempt.over_learned {
            self.sign(group, attempt.number, hint, now);
        }
        false
    }

    /// Takes that a member may not use a model, or does not know it. Returns `true` if it is the first time, of a last member, which needs
    /// it said twice.
    fn lacks(&mut self, attempt: &Attempt, place: Place, reason: Reason, now: Time) -> bool {
        let Place { member, quota, .. } = place;
        let model = Arc::clone(&self.quotas[quota as usize].model);
        let is_last = self.is_last(attempt.model, member);
        let doubt = self.members[member as usize].doubt.take();
        let is_second = doubt.is_some_and(|(of, at)| of == model && now <= at + DOUBT);
        if is_last && !is_second {
            self.members[member as usize].doubt = Some((model, now));
            return true;
        }
        self.park(Slot::Permission(member, quota), reason, None, attempt.number, now);
        let is_forbidden =
            |parking: &Option<Parking>| parking.as_ref().is_some_and(|it| it.reason == Reason::Forbidden);
        let forbidden = self.members[member as usize].permissions.iter().filter(|(_, parking)| is_forbidden(parking));
        if reason == Reason::Forbidden && forbidden.count() >= 2 {
            self.park(Slot::Verdict(member), Reason::Forbidden, None, attempt.number, now);
        }
        false
    }

    /// Returns `true` if no other member can take calls for a model.
    fn is_last(&self, model: u32, member: u32) -> bool {
        let tiers = self.models[model as usize].tiers.iter();
        let lanes = tiers.flat_map(|tier| tier.open.items().iter().map(|at| tier.lanes[*at as usize]));
        let lanes = lanes.map(|lane| &self.lanes[lane as usize]);
        let mut open = lanes.flat_map(|lane| lane.open.items().iter().map(|at| lane.members[*at as usize]));
        !open.any(|other| other != member)
    }

    /// Takes a failure of the vendor or the connection.
    fn broke(&mut self, attempt: &Attempt, place: Place, failure: &Failure<'_>, now: Time) {
        if failure.may_be_common {
            if attempt.tests {
                return self.prolong_pause(attempt.model, failure.hint, now);
            }
            if self.was_sent_before_pause(attempt.number) {
                return;
            }
            self.sign(place.group, attempt.number, failure.hint, now);
        }
        let breaker = &mut self.members[place.member as usize].breaker;
        let is_before = breaker.parking.as_ref().is_some_and(|parking| !parking.concerns(attempt.number));
        if !is_before && breaker.failed(now) {
            let reason = if failure.verdict == Verdict::TimedOut { Reason::TimedOut } else { Reason::Failing };
            self.park(Slot::Breaker(place.member), reason, None, attempt.number, now);
        }
    }

    /// Learns from the vendor's name for a group that a member without a group belongs to another one.
    fn observe_group(&mut self, place: Place, limits: &VendorLimits, now: Time) {
        let Some(vendors_name) = &limits.group else { return };
        let own = &self.groups[place.group as usize].name;
        match self.vendor_groups.get(vendors_name) {
            Some(known) if known == own => {}
            Some(known)
                if self.members[place.member as usize].spec.group.is_none() && self.group_ids.contains_key(known) =>
            {
                let known = Arc::clone(known);
                self.join_group(place.member, &known, now);
            }
            _ => drop(self.vendor_groups.insert(Arc::clone(vendors_name), Arc::clone(own))),
        }
    }

    /// Forgets all that keeps a member away: its verdicts, permissions and failures. Its group stays as it is.
    pub(crate) fn reset(&mut self, name: &str, now: Time) -> bool {
        let Some(member) = self.member_ids.get(name).copied() else { return false };
        let known = &mut self.members[member as usize];
        known.permissions.clear();
        known.breaker.reset();
        known.doubt = None;
        self.unpark(Slot::Verdict(member), now);
        self.refresh(Part::Member(member), now);
        true
    }

    /// Disables a member until a time.
    pub(crate) fn disable(&mut self, name: &str, until: Time, now: Time) -> bool {
        let Some(member) = self.member_ids.get(name).copied() else { return false };
        let generation = self.attempts;
        *self.slot(Slot::Verdict(member)) = Some(Parking::until(Reason::Disabled, until, generation, now));
        self.return_at(until, Part::Member(member));
        self.refresh(Part::Member(member), now);
        true
    }

    /// Enables a member that an operator disabled.
    pub(crate) fn enable(&mut self, name: &str, now: Time) -> bool {
        let Some(member) = self.member_ids.get(name).copied() else { return false };
        if self.slot(Slot::Verdict(member)).as_ref().is_some_and(|parking| parking.reason == Reason::Disabled) {
            *self.slot(Slot::Verdict(member)) = None;
            self.refresh(Part::Member(member), now);
        }
        true
    }

    /// Returns the name of a model, as callers ask for it.
    pub(crate) fn model_name(&self, model: u32) -> &str {
        &self.models[model as usize].name
    }

    /// Returns the last message of a refusal for a model.
    pub(crate) fn message(&self, model: u32) -> Option<Arc<str>> {
        self.models[model as usize].message.clone()
    }

    /// Counts why members cannot take calls for a model, with at most eight names of members.
    pub(crate) fn reasons(&self, model: u32) -> (Vec<(Reason, usize)>, Vec<Arc<str>>) {
        const NAMES: usize = 8;
        let (mut counts, mut names) = (Vec::<(Reason, usize)>::new(), Vec::new());
        let lanes = self.models[model as usize].tiers.iter().flat_map(|tier| &tier.lanes);
        for lane in lanes.map(|lane| &self.lanes[*lane as usize]) {
            let group = &self.groups[lane.group as usize];
            let quota = &self.quotas[lane.quota as usize];
            for member in lane.members.iter().map(|member| &self.members[*member as usize]) {
                let permission = member.permission(&quota.model).and_then(Option::as_ref);
                let own = [member.verdict.as_ref(), permission, member.breaker.parking.as_ref(), group.money.as_ref()];
                let of_group = [group.limit.as_ref(), quota.quota.parking.as_ref()];
                let Some(parking) = own.into_iter().chain(of_group).flatten().next() else { continue };
                match counts.iter_mut().find(|(reason, _)| *reason == parking.reason) {
                    Some((_, count)) => *count += 1,
                    None => counts.push((parking.reason, 1)),
                }
                if names.len() < NAMES {
                    names.push(Arc::clone(&member.spec.name));
                }
            }
        }
        (counts, names)
    }
}
