//! Outcomes of attempts, and what operators say of members.
//!
//! An attempt is reported once or twice and then released. A success ends what was parked where it was made. A refusal gives
//! back what was counted for it, teaches a limit if it may, and parks the part that it names. A failure is counted by the
//! member's breaker. The release frees the slot and a probe's turn, whatever became of the attempt, and settles its tokens.

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
    /// Returns `true` for a refusal without scope and limits, and for a failure of the connection.
    fn may_be_common(self, error: &Error) -> bool {
        let is_bare = error.scope().is_none() && error.limits().is_none();
        let is_transport = self.is_failure() && error.kind() == ErrorKind::Transport;
        is_transport || (self == Self::RateLimited && is_bare)
    }

    /// Returns `true` for a refusal from which a limit a minute can be learned.
    fn teaches(self, error: &Error) -> bool {
        let is_limited = matches!(self, Self::RateLimited | Self::GroupLimited | Self::KeyLimited);
        let is_a_minute = error.scope().is_none_or(|scope| scope.window() == LimitWindow::Minute);
        is_limited && is_a_minute && error.retry_after().is_none_or(|hint| nanos(hint) <= MINUTE)
    }
}

/// Second refusals of a last member count within this time.
const DOUBT: Time = MINUTE;
/// A deadline that passes after this time without content counts as a time-out of the member.
const TIMED_OUT: Time = 10 * SECOND;

impl Attempt {
    /// Returns `true` if it was without content for so long that its member timed out.
    pub(crate) fn was_silent(&self, now: Time) -> bool {
        !self.has_begun && now.saturating_sub(self.taken.sent_at) >= TIMED_OUT
    }
}

impl State {
    /// Finds the group and quota of an attempt, also if its member is in another group since.
    fn place(&mut self, attempt: &Attempt) -> Place {
        let Place { member, own, quota, .. } = attempt.place;
        let group = self.members[member as usize].group;
        let known = &self.quotas[quota as usize];
        let is_same = (known.group, known.model) == (group, own);
        Place { member, own, group, quota: if is_same { quota } else { self.quota_id(group, own) } }
    }

    /// Records that the vendor serves an attempt: by a response, or the first content of a stream.
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

    /// Records the failure of an attempt. Returns `true` if it is in doubt: the first 403 or 404 of a last member.
    pub(crate) fn failed(&mut self, attempt: &mut Attempt, verdict: Verdict, error: &Error, now: Time) -> bool {
        let place = self.place(attempt);
        let member = &mut self.members[place.member as usize];
        member.failures += u64::from(verdict != Verdict::Request);
        match verdict {
            // The member has another key since.
            _ if attempt.number <= member.key_since => {}
            Verdict::Request => member.breaker.responded(now),
            Verdict::Failed | Verdict::TimedOut => self.broke(attempt, place, verdict, error, now),
            _ => return self.refused(attempt, place, verdict, error, now),
        }
        false
    }

    /// Records that the response to an attempt is complete.
    pub(crate) fn completed(&mut self, attempt: &Attempt, now: Time) {
        self.members[attempt.place.member as usize].breaker.responded(now);
    }

    /// Ends an attempt: its turns and its slot are free, and its tokens are settled if its usage is known.
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

    /// Records a refusal: the vendor is reachable, and did not count the attempt.
    fn refused(&mut self, attempt: &mut Attempt, place: Place, verdict: Verdict, error: &Error, now: Time) -> bool {
        let Place { member, group, quota, .. } = place;
        self.members[member as usize].breaker.responded(now);
        self.models[attempt.model as usize].message = Some(error.message().into());
        let of_quota = &mut self.quotas[quota as usize];
        of_quota.give_back(&mut attempt.taken);
        self.queues.wake_heads();
        let exhausted = error.limits().and_then(|limits| of_quota.observe(limits, &attempt.taken, now));
        let hint = hint(error).or(exhausted.filter(|_| verdict != Verdict::Unpaid));
        let is_explained = self.learn(attempt, quota, verdict, error, now);
        let may_be_common = verdict.may_be_common(error) && !is_explained;
        if may_be_common && self.pause.is_some() {
            self.failed_in_pause(attempt, hint, now);
            return false;
        }
        let (part, reason) = match verdict {
            Verdict::Unauthorized => (Part::Member(member), Reason::Unauthorized),
            Verdict::Unpaid => (Part::Group(group), Reason::Unpaid),
            Verdict::KeyLimited => (Part::Member(member), Reason::RateLimited),
            Verdict::GroupLimited => (Part::Group(group), Reason::RateLimited),
            Verdict::Forbidden => return self.lacks(attempt, place, Reason::Forbidden, now),
            Verdict::NotFound => return self.lacks(attempt, place, Reason::NotFound, now),
            _ => (Part::Quota(quota), Reason::RateLimited),
        };
        let is_parked = self.park(part, reason, hint, attempt.number, now);
        if is_parked && is_explained && attempt.over_learned && hint.is_none() {
            self.end_with_room(part, quota, now);
        }
        if may_be_common {
            self.sign(group, attempt.number, hint, now);
        }
        false
    }

    /// Learns a limit from a refusal. Returns `true` if one that was learned before explains it.
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
        // The group's own use is not known of an attempt that was sent for another group.
        is_of_quota && of_quota.learn(error, &attempt.taken, verdict.may_be_common(error), now)
    }

    /// Records that a member may not use a model, or does not know it. Returns `true` if it is the first time, of a last
    /// member, which needs it said twice.
    fn lacks(&mut self, attempt: &Attempt, place: Place, reason: Reason, now: Time) -> bool {
        let Place { member: id, own, .. } = place;
        let is_last = self.is_last(attempt.model, id);
        let member = &mut self.members[id as usize];
        let is_second = member.doubt.take().is_some_and(|(of, at)| of == own && now <= at + DOUBT);
        if is_last && !is_second {
            member.doubt = Some((own, now));
            return true;
        }
        self.park(Part::Permission(id, own), reason, None, attempt.number, now);
        let permissions = self.members[id as usize].permissions.values().flatten();
        if reason == Reason::Forbidden && permissions.filter(|parking| parking.reason == reason).count() >= 2 {
            self.park(Part::Member(id), reason, None, attempt.number, now);
        }
        false
    }

    /// Records a failure of the vendor or the connection.
    fn broke(&mut self, attempt: &Attempt, place: Place, verdict: Verdict, error: &Error, now: Time) {
        if verdict.may_be_common(error) {
            if self.pause.is_some() {
                return self.failed_in_pause(attempt, hint(error), now);
            }
            self.sign(place.group, attempt.number, hint(error), now);
        }
        let part = Part::Member(place.member);
        // A half-open breaker opens again at the first failure.
        let (is_before, is_half_open) = self
            .parking(part)
            .map_or((false, false), |parking| (!parking.concerns(attempt.number), parking.reason.is_failure()));
        if !is_before && (self.members[place.member as usize].breaker.failed(now) || is_half_open) {
            let reason = if verdict == Verdict::TimedOut { Reason::TimedOut } else { Reason::Failing };
            self.park(part, reason, None, attempt.number, now);
        }
    }

    /// Learns from the vendor's name for a group that a member without a group belongs to another one.
    fn observe_group(&mut self, place: Place, limits: &VendorLimits, now: Time) {
        let Some(vendors_name) = &limits.group else { return };
        let has_none = self.members[place.member as usize].spec.group.is_none();
        match self.vendor_groups.get(vendors_name) {
            Some(known) if *known == place.group => {}
            Some(known) if has_none => self.join_group(place.member, *known, now),
            _ => drop(self.vendor_groups.insert(Arc::clone(vendors_name), place.group)),
        }
    }

    /// Removes the verdicts on a member, its missing permissions and its failures. Its group stays as it is.
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

/// Returns the vendor's hint. One of zero, such as a date in the past, is none.
fn hint(error: &Error) -> Option<Duration> {
    error.retry_after().filter(|hint| !hint.is_zero())
}
