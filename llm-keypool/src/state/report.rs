//! Recording of outcomes of attempts, and of operators' commands for members.
//!
//! An attempt is reported once or twice and then released. A success ends the parkings of the attempt's parts. A
//! refusal removes the amounts that were counted for the attempt, may lead to a learned limit, and parks the part that
//! it concerns. A failure is counted by the member's breaker, and parks the member if the breaker opens. After every
//! outcome, the release frees the attempt's slot, lets another attempt become the probe, and settles the tokens.

use std::{sync::Arc, time::Duration};

use llm_core::{
    Error, ErrorKind, Usage,
    layer::{LimitWindow, VendorLimits},
};

use super::{
    Part, State,
    choice::{Attempt, Place},
    parking::Parking,
};
use crate::{
    Reason,
    outcome::Verdict,
    time::{MINUTE, SECOND, Time, nanos},
};

impl Verdict {
    /// Returns `true` for a refusal without scope and limits, and for a failure of the connection, because these may
    /// have a common cause.
    fn may_be_common(self, error: &Error) -> bool {
        let is_bare = error.scope().is_none() && error.limits().is_none();
        let is_transport = self.is_failure() && error.kind() == ErrorKind::Transport;
        is_transport || (self == Self::RateLimited && is_bare)
    }

    /// Returns `true` for a refusal from which a limit per minute can be learned.
    fn teaches(self, error: &Error) -> bool {
        let is_limited = matches!(self, Self::RateLimited | Self::GroupLimited | Self::KeyLimited);
        let is_a_minute = error.scope().is_none_or(|scope| scope.window() == LimitWindow::Minute);
        is_limited && is_a_minute && error.retry_after().is_none_or(|hint| nanos(hint) <= MINUTE)
    }
}

/// Time within which a second 403 or 404 for a model's last member confirms the first.
const DOUBT: Time = MINUTE;
/// Time without content after which a passed deadline counts as a timeout of the member.
const TIMED_OUT: Time = 10 * SECOND;

impl Attempt {
    /// Returns `true` if no content arrived for the attempt in [`TIMED_OUT`].
    pub(crate) fn was_silent(&self, now: Time) -> bool {
        !self.has_begun && now.saturating_sub(self.taken.sent_at) >= TIMED_OUT
    }
}

impl State {
    /// Finds the group and quota of an attempt, even if its member has joined another group since.
    fn place(&mut self, attempt: &Attempt) -> Place {
        let Place { member, own, quota, .. } = attempt.place;
        let group = self.members[member as usize].group;
        let known = &self.quotas[quota as usize];
        let is_same = (known.group, known.model) == (group, own);
        Place { member, own, group, quota: if is_same { quota } else { self.quota_id(group, own) } }
    }

    /// Records that the vendor serves an attempt, because the response or the first content of a stream has arrived.
    pub(crate) fn succeeded(&mut self, attempt: &mut Attempt, limits: Option<&VendorLimits>, now: Time) {
        attempt.has_begun = true;
        self.served = self.served.max(attempt.number);
        self.end_pause_without_signs();
        let place = self.place(attempt);
        for part in self.parked_parts(place) {
            let ends = |parking: &Parking| parking.concerns(attempt.number) && parking.reason != Reason::Disabled;
            match part {
                _ if !self.parking(part).is_some_and(ends) => {}
                Part::Pool => self.resume(now),
                part => self.unpark(part, now),
            }
        }
        let quota = &mut self.quotas[place.quota as usize];
        if attempt.over_learned {
            quota.tried_more(true);
        }
        if let Some(limits) = limits {
            if let Some(reset) = quota.observe(limits, &attempt.taken, now) {
                self.park(Part::Quota(place.quota), Reason::RateLimited, Some(reset), attempt.number, now);
            }
            self.observe_group(place, limits, now);
        }
    }

    /// Records the failure of an attempt. Returns `true` if the failure must be confirmed, because it is the first 403
    /// or 404 of a model's last member.
    pub(crate) fn failed(&mut self, attempt: &mut Attempt, verdict: Verdict, error: &Error, now: Time) -> bool {
        let place = self.place(attempt);
        let Place { member: id, own, group, quota } = place;
        let member = &mut self.members[id as usize];
        member.failures += u64::from(verdict != Verdict::Request);
        if attempt.number <= member.key_since {
            // The member has a new key, which the failure does not concern.
            return false;
        }
        if !verdict.is_failure() {
            member.breaker.responded(now);
        }
        if !verdict.is_private() && verdict != Verdict::Request {
            self.models[attempt.model as usize].message = Some(error.message().into());
        }
        let exhausted = if verdict.moves() { self.refused(attempt, quota, error, now) } else { None };
        // A waiting time of zero, such as from a date in the past, counts as not stated.
        let hint = error.retry_after().filter(|hint| !hint.is_zero());
        let hint = hint.or(exhausted.filter(|_| verdict != Verdict::Unpaid));
        let is_explained = self.learn(attempt, quota, verdict, error, now);
        if verdict.may_be_common(error) && !is_explained && self.sign(attempt, group, hint, now) {
            return false;
        }
        let (part, reason) = match verdict {
            Verdict::Request => return false,
            Verdict::Failed | Verdict::TimedOut if !self.breaks(attempt, id, now) => return false,
            Verdict::Forbidden | Verdict::NotFound if self.is_doubted(attempt, place, now) => return true,
            Verdict::Failed => (Part::Member(id), Reason::Failing),
            Verdict::TimedOut => (Part::Member(id), Reason::TimedOut),
            Verdict::Unauthorized => (Part::Member(id), Reason::Unauthorized),
            Verdict::Unpaid => (Part::Group(group), Reason::Unpaid),
            Verdict::Forbidden => (Part::Permission(id, own), Reason::Forbidden),
            Verdict::NotFound => (Part::Permission(id, own), Reason::NotFound),
            Verdict::KeyLimited => (Part::Member(id), Reason::RateLimited),
            Verdict::GroupLimited => (Part::Group(group), Reason::RateLimited),
            Verdict::RateLimited => (Part::Quota(quota), Reason::RateLimited),
        };
        let is_parked = self.park(part, reason, hint, attempt.number, now);
        if is_parked && is_explained && attempt.over_learned && hint.is_none() {
            self.end_with_room(part, quota, now);
        }
        let permissions = self.members[id as usize].permissions.values().flatten();
        if reason == Reason::Forbidden && permissions.filter(|parking| parking.reason == reason).count() >= 2 {
            self.park(Part::Member(id), reason, None, attempt.number, now);
        }
        false
    }

    /// Records that the response to an attempt is complete, which the member's breaker counts as a success.
    pub(crate) fn completed(&mut self, attempt: &Attempt, now: Time) {
        self.members[attempt.place.member as usize].breaker.responded(now);
    }

    /// Ends an attempt: frees its slot, and lets another attempt become the probe. Settles its tokens if the usage is
    /// known.
    pub(crate) fn release(&mut self, attempt: &Attempt, usage: Option<&Usage>, now: Time) {
        let place = self.place(attempt);
        for part in self.parked_parts(place) {
            if self.parking_mut(part).is_some_and(|parking| parking.return_probe(attempt.number)) {
                self.refresh(part, now);
            }
        }
        let member = &mut self.members[place.member as usize];
        let had_slot = member.has_slot(now);
        member.in_flight -= 1;
        if !had_slot {
            self.refresh(Part::Member(place.member), now);
        }
        if let Some(usage) = usage {
            self.quotas[place.quota as usize].settle(&attempt.taken, usage, now);
            if self.settings.affinity && attempt.affinity != 0 {
                self.affinity.served((attempt.affinity, attempt.model), place.group, usage.cache_read > 0);
            }
        }
    }

    /// Removes a refused attempt from its quota, because the vendor did not count it. If nothing is left of a limit
    /// with a window that the pool does not count, returns the time until its reset.
    fn refused(&mut self, attempt: &mut Attempt, quota: u32, error: &Error, now: Time) -> Option<Duration> {
        self.queues.wake_heads();
        let of_quota = &mut self.quotas[quota as usize];
        of_quota.give_back(&mut attempt.taken);
        of_quota.observe(error.limits()?, &attempt.taken, now)
    }

    /// Learns a limit from a refusal. Returns `true` if a limit that was learned before explains the refusal.
    fn learn(&mut self, attempt: &Attempt, quota: u32, verdict: Verdict, error: &Error, now: Time) -> bool {
        let of_quota = &mut self.quotas[quota as usize];
        let is_of_quota = quota == attempt.place.quota;
        if !verdict.teaches(error) {
            return false;
        }
        if attempt.over_learned {
            of_quota.tried_more(false);
            return is_of_quota;
        }
        // If the attempt was sent under another group, the usage of this group at that time is not known.
        is_of_quota && of_quota.learn(error, &attempt.taken, verdict.may_be_common(error), now)
    }

    /// Returns `true` if a 403 or 404 is the first one of the only member left for a model, so that a second one must
    /// confirm it.
    fn is_doubted(&mut self, attempt: &Attempt, Place { member, own, .. }: Place, now: Time) -> bool {
        let is_last = self.is_last(attempt.model, member);
        let doubt = &mut self.members[member as usize].doubt;
        let is_second = doubt.take().is_some_and(|(of, at)| of == own && now <= at + DOUBT);
        *doubt = (is_last && !is_second).then_some((own, now));
        doubt.is_some()
    }

    /// Counts a failure of the vendor or the connection. Returns `true` if the breaker of its member opens.
    fn breaks(&mut self, attempt: &Attempt, member: u32, now: Time) -> bool {
        let parking = self.parking(Part::Member(member));
        let is_before = parking.is_some_and(|parking| !parking.concerns(attempt.number));
        // A half-open breaker opens again at the first failure.
        let is_half_open = parking.is_some_and(|parking| parking.reason.is_failure());
        !is_before && (self.members[member as usize].breaker.failed(now) || is_half_open)
    }

    /// Records the name that the vendor states for the group of a member. If the vendor stated the same name for
    /// another group before, moves the member there, unless the application set its group.
    fn observe_group(&mut self, place: Place, limits: &VendorLimits, now: Time) {
        let Some(vendors_name) = &limits.group else { return };
        let has_none = self.members[place.member as usize].spec.group.is_none();
        match self.vendor_groups.get(vendors_name) {
            Some(known) if *known == place.group => {}
            Some(known) if has_none => self.join_group(place.member, *known, now),
            _ => drop(self.vendor_groups.insert(Arc::clone(vendors_name), place.group)),
        }
    }

    /// Ends the parkings of a member, including those for missing permissions, and drops its failures. Its group stays
    /// unchanged.
    pub(crate) fn reset(&mut self, member: u32, now: Time) {
        let known = &mut self.members[member as usize];
        (known.permissions, known.breaker, known.doubt) = Default::default();
        self.unpark(Part::Member(member), now);
        self.refresh(Part::Member(member), now);
    }

    /// Disables a member until a time.
    pub(crate) fn disable(&mut self, member: u32, until: Time, now: Time) {
        let generation = self.attempts;
        *self.slot(Part::Member(member)) = Some(Parking::until(Reason::Disabled, until, generation, now).into());
        self.return_at(until, Part::Member(member));
        self.refresh(Part::Member(member), now);
    }

    /// Enables a member that an operator disabled.
    pub(crate) fn enable(&mut self, member: u32, now: Time) {
        self.slot(Part::Member(member)).take_if(|parking| parking.reason == Reason::Disabled);
        self.refresh(Part::Member(member), now);
    }
}
