//! Common cause of refusals at several groups: an address that is throttled, a vendor or a network that is down.

use std::{collections::VecDeque, time::Duration};

use super::{State, choice::RELEASE, parking::Parking};
use crate::{
    event::Event,
    time::{MINUTE, SECOND, Time, nanos},
};

/// Signs of a common cause, and the pause while there is one.
#[derive(Debug, Default)]
pub(crate) struct Causes {
    signs: VecDeque<Sign>,
    groups: u32,
    /// Number of the last attempt that was served.
    pub(super) served: u64,
    pub(super) pause: Option<Pause>,
}

/// Refusal or failure that may have a common cause.
#[derive(Clone, Copy, Debug)]
struct Sign {
    at: Time,
    group: u32,
    attempt: u64,
}

/// Pause of the whole pool. After it one call tests.
#[derive(Clone, Debug)]
pub(super) struct Pause {
    pub(super) since: Time,
    pub(super) until: Time,
    step: u32,
    /// Attempts up to this number were sent before it.
    generation: u64,
    test: Option<(u64, Time)>,
}

/// Signs count for this long.
const WINDOW: Time = 2 * SECOND;
/// Time after which a test without an outcome loses its turn.
const TEST_TIMEOUT: Time = MINUTE;

impl Causes {
    /// Forgets the signs, because the groups change.
    pub(super) fn forget_signs(&mut self) {
        self.signs.clear();
        self.groups = 0;
    }
}

impl State {
    /// Returns the time until which the pool is paused, if it is; [`RELEASE`] while one call tests.
    pub(super) fn paused_until(&self, now: Time) -> Option<Time> {
        let pause = self.causes.pause.as_ref()?;
        let is_tested = pause.test.is_some_and(|(_, at)| now < at + TEST_TIMEOUT);
        if is_tested { Some(RELEASE) } else { Some(pause.until).filter(|until| *until > now) }
    }

    /// Returns `true` if the pool is paused for a common cause, or one call tests.
    pub(crate) fn is_paused(&self) -> bool {
        self.causes.pause.is_some()
    }

    /// Lets an attempt test if the cause is over.
    pub(super) fn begin_test(&mut self, attempt: u64, now: Time) -> bool {
        match &mut self.causes.pause {
            Some(pause) => {
                pause.test = Some((attempt, now));
                true
            }
            None => false,
        }
    }

    /// Ends a pause after which no group has room: the limits that were learned explain the refusals.
    pub(super) fn explain_cause(&mut self) {
        if self.causes.pause.take().is_some() {
            self.events.push(Event::Resumed);
            self.queues.wake_heads();
        }
    }

    /// Returns `true` if an attempt was sent before the pause, so that a refusal says nothing new.
    pub(super) fn was_sent_before_pause(&self, attempt: u64) -> bool {
        self.causes.pause.as_ref().is_some_and(|pause| attempt <= pause.generation)
    }

    /// Takes a refusal or failure that may have a common cause. It has none if an attempt that was sent later was served.
    pub(super) fn sign(&mut self, group: u32, attempt: u64, hint: Option<Duration>, now: Time) {
        let causes = &mut self.causes;
        causes.signs.push_back(Sign { at: now, group, attempt });
        let count = &mut self.groups[group as usize].signs;
        causes.groups += u32::from(*count == 0);
        *count += 1;
        let served = causes.served;
        let is_over = |sign: &Sign| sign.at + WINDOW < now || sign.attempt < served;
        while let Some(Sign { group, .. }) = causes.signs.front().copied().filter(is_over) {
            causes.signs.pop_front();
            let count = &mut self.groups[group as usize].signs;
            *count -= 1;
            causes.groups -= u32::from(*count == 0);
        }
        if causes.pause.is_none() && causes.groups >= self.valid_groups.div_ceil(2).max(2) {
            let length = hint.map_or(SECOND, nanos).min(MINUTE);
            let generation = self.attempts;
            causes.pause = Some(Pause { since: now, until: now + length, step: 1, generation, test: None });
            self.events.push(Event::Paused { length: Duration::from_nanos(length) });
        }
    }

    /// Prolongs the pause after a test that was refused, unless the limits that were learned leave its model no room, and so
    /// explain the refusals.
    pub(super) fn prolong_pause(&mut self, model: u32, hint: Option<Duration>, now: Time) {
        if !self.has_room(model, now) {
            return self.explain_cause();
        }
        let generation = self.attempts;
        if let Some(pause) = &mut self.causes.pause {
            let length = hint.map_or(SECOND << pause.step.min(6), nanos).min(MINUTE);
            (pause.until, pause.step, pause.generation) = (now + length, pause.step + 1, generation);
            pause.test = None;
            self.queues.wake_heads();
        }
    }

    /// Takes the turn back from a test without an outcome.
    pub(super) fn return_test(&mut self, attempt: u64) {
        if let Some(pause) = &mut self.causes.pause
            && pause.test.is_some_and(|(test, _)| test == attempt)
        {
            pause.test = None;
            self.queues.wake_heads();
        }
    }

    /// Ends the pause after the success of an attempt that was sent after it began.
    pub(super) fn end_pause(&mut self, attempt: u64, now: Time) {
        if self.was_sent_before_pause(attempt) {
            return;
        }
        let Some(pause) = self.causes.pause.take() else { return };
        while let Some(sign) = self.causes.signs.pop_front() {
            self.groups[sign.group as usize].signs = 0;
        }
        self.causes.groups = 0;
        let since = pause.since.saturating_sub(WINDOW);
        for quota in 0..self.quotas.len() as u32 {
            let slot = super::Slot::Quota(quota);
            if self.slot(slot).as_ref().is_some_and(|parking| parking.since >= since) {
                self.unpark(slot, now);
            }
            // All who wait would come at once: one call goes first at each group.
            let generation = self.attempts;
            self.slot(slot).get_or_insert_with(|| Parking::trial(generation, now));
        }
        self.events.push(Event::Resumed);
        self.queues.wake_heads();
    }
}
