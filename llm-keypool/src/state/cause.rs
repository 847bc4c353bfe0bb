//! Detection of a common cause of refusals at several groups, such as a throttled IP address, or a vendor or a network
//! that is down.
//!
//! A refusal that names no limit and is not explained by a learned limit, or a failure to connect, is recorded as a
//! sign at its group. If at least two groups, and at least half as many as there are groups with a valid key, have
//! signs of the last two seconds, and no attempt that was sent later was served, the whole pool is parked in the same
//! way as a single part. At the end of the pause, one call is sent as a probe. If it succeeds, the pool resumes, and
//! sends only a single call to each group first. The pause ends early if an attempt is served that was sent after the
//! attempts with the signs. It ends without a probe if the groups' own use then explains the refusals.

use std::time::Duration;

use super::{
    GroupState, Part, State,
    choice::Attempt,
    parking::{Parking, Slot},
};
use crate::{
    Event, Reason,
    time::{MINUTE, SECOND, Time, nanos},
};

/// Time for which a sign of a common cause counts.
const WINDOW: Time = 2 * SECOND;

impl State {
    /// Records a refusal or failure that may have a common cause, unless an attempt that was sent later has been
    /// served. Returns `true` if the pool was paused already, so that no other part needs to be parked.
    ///
    /// During a pause, only a refusal of the probe prolongs the pause. If learned limits leave no room for the model of
    /// that attempt, they explain the refusal, and the pause ends.
    pub(super) fn sign(&mut self, attempt: &Attempt, group: u32, hint: Option<Duration>, now: Time) -> bool {
        if let Some(pause) = &self.pause {
            match pause.concerns(attempt.number) {
                true if self.has_room(attempt.model, now) => drop(self.pause_for(hint, now)),
                true => self.end_explained_pause(now),
                false => {}
            }
            return true;
        }
        self.groups[group as usize].sign = Some((now, attempt.number));
        if self.has_signs(now.saturating_sub(WINDOW)) {
            let pause = self.pause_for(hint, now);
            self.events.push(Event::Paused { length: Duration::from_nanos(pause - now) });
        }
        false
    }

    /// Returns `true` if enough groups have had signs at `since` or later, and no attempt that was sent after those
    /// with the signs was served. Enough are at least two, and half as many as there are groups with a valid key.
    fn has_signs(&self, since: Time) -> bool {
        let is_signed =
            |group: &&GroupState| group.sign.is_some_and(|(at, attempt)| at >= since && attempt >= self.served);
        let parking = |member: &u32| self.members[*member as usize].parking.as_ref();
        let is_valid = |member: &u32| parking(member).is_none_or(|parking| parking.is_timed);
        let valid = self.groups.iter().filter(|group| group.members.iter().any(is_valid));
        let signed = self.groups.iter().filter(is_signed).count();
        signed >= 2 && 2 * signed >= valid.count()
    }

    /// Ends the pause if an attempt that was sent before the pause, but after the attempts with the signs, has been
    /// served.
    pub(super) fn end_pause_without_signs(&mut self) {
        if self.pause.as_ref().is_some_and(|pause| !pause.concerns(self.served)) && !self.has_signs(0) {
            self.end_pause();
        }
    }

    /// Pauses the pool, or prolongs the pause. Returns the time at which the pause ends. `hint` is the waiting time
    /// that the vendor stated. The pause takes at most a minute.
    fn pause_for(&mut self, hint: Option<Duration>, now: Time) -> Time {
        let (before, backoff) = (self.pause.as_deref(), &self.settings.parking_backoff);
        let length = hint.unwrap_or_else(|| backoff.bound(Parking::step(Reason::RateLimited, before)));
        let pause = Parking::pause(nanos(length).min(MINUTE), before, self.attempts, now);
        self.queues.wake_heads();
        self.pause.insert(pause.into()).until
    }

    /// Ends the pause of the whole pool. Returns the ended pause; `None` if the pool was not paused.
    pub(super) fn end_pause(&mut self) -> Slot {
        let pause = self.pause.take()?;
        self.events.push(Event::Resumed);
        self.queues.wake_heads();
        Some(pause)
    }

    /// Ends the pause because learned limits explain the refusals.
    pub(super) fn end_explained_pause(&mut self, now: Time) {
        if self.end_pause().is_some() {
            self.try_each_quota(now);
        }
    }

    /// Starts a trial of each quota that is not parked, so that one call is sent first and the others wait for its
    /// outcome. Otherwise all waiting calls would be sent at once.
    fn try_each_quota(&mut self, now: Time) {
        let generation = self.attempts;
        for quota in &mut self.quotas {
            quota.parking.get_or_insert_with(|| Parking::trial(generation, now).into());
        }
    }

    /// Ends the pause after a success. Also ends the parkings of quotas that began at most two seconds before the
    /// pause, because they probably had the same cause.
    pub(super) fn resume(&mut self, now: Time) {
        let Some(pause) = self.end_pause() else { return };
        self.groups.iter_mut().for_each(|group| group.sign = None);
        let since = pause.since.saturating_sub(WINDOW);
        for part in (0..self.quotas.len() as u32).map(Part::Quota) {
            if self.parking(part).is_some_and(|parking| parking.since >= since) {
                self.unpark(part, now);
            }
        }
        self.try_each_quota(now);
    }
}
