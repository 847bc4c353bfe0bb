//! Errors of calls that get no member.

use std::{sync::Arc, time::Duration};

use indexmap::IndexMap;
use llm_core::{Error, ErrorKind};

use super::{
    Part, State,
    choice::{Place, Want},
};
use crate::{
    Reason,
    time::{Return, Time},
};

/// Largest number of members that an error names.
const NAMES: usize = 8;

impl State {
    /// Returns the error of a call for which no member will take calls again at a known time. Its message counts the
    /// parked members by reason, and is kept until one of the model's members or groups changes.
    pub(crate) fn unavailable(&mut self, want: &Want<'_>) -> Error {
        if let Some(pinned) = want.request.pinned.as_ref().filter(|pinned| !self.group_ids.contains_key(pinned.group()))
        {
            let message = format!("the call is pinned to group {:?}, which the pool does not have", pinned.group());
            return Error::new(ErrorKind::Unavailable, message);
        }
        let known = self.models[want.model as usize].unavailable.take();
        let message = known.unwrap_or_else(|| self.reasons(want.model).into());
        self.models[want.model as usize].unavailable = Some(Arc::clone(&message));
        Error::new(ErrorKind::Unavailable, message)
    }

    /// Returns a message with the counts of the reasons for which members take no calls for a model.
    pub(super) fn reasons(&self, model: u32) -> String {
        let model = &self.models[model as usize];
        let (mut counts, mut names) = (IndexMap::<Reason, usize>::new(), Vec::new());
        for route in model.tiers.iter().flat_map(|tier| &tier.routes).map(|route| &self.routes[*route as usize]) {
            let own = self.quotas[route.quota as usize].model;
            for member in route.members.iter().copied() {
                let parts = Place { member, own, group: route.group, quota: route.quota }.parts();
                let mut parts = parts.into_iter().filter(|part| *part != Part::Pool);
                if let Some(parking) = parts.find_map(|part| self.parking(part).filter(|parking| parking.step > 0)) {
                    *counts.entry(parking.reason).or_default() += 1;
                    names.push(&*self.members[member as usize].spec.name);
                }
            }
        }
        names.truncate(NAMES);
        let counts: Vec<_> =
            counts.iter().map(|(reason, count)| format!("{count} {}", reason.as_str().replace('_', " "))).collect();
        let why = match counts.is_empty() {
            true if model.tiers.is_empty() => "no member serves it".to_owned(),
            true => "the last one was refused".to_owned(),
            false => format!("{} ({})", counts.join(", "), names.join(", ")),
        };
        format!("no member of the pool can take calls for model {:?}: {why}", model.name)
    }

    /// Returns the error of a call that cannot wait until `first`, the earliest time at which a member takes calls
    /// again.
    pub(super) fn limited(&self, model: u32, first: Return, now: Time) -> Error {
        let model = &self.models[model as usize];
        let returns_in = (first.soonest > now).then(|| Duration::from_nanos(first.soonest - now));
        let when = returns_in.map_or_else(
            || "all are busy".to_owned(),
            |time| format!("the first returns in {:.1} s, too late for this call", time.as_secs_f64()),
        );
        let last = model.message.as_ref().map_or_else(String::new, |last| format!("; the last failed attempt: {last}"));
        let message = format!("no member of the pool has room for model {:?}: {when}{last}", model.name);
        let error = Error::new(ErrorKind::RateLimited, message);
        match returns_in {
            Some(time) => error.with_retry_after(time),
            None => error,
        }
    }
}
