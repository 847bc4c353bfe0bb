//! Limiter with a log of admitted calls. It is naive on purpose, because tests compare real limiters with it.

use super::limit::{Limit, Measure};
use super::{RateLimits, Window};
use crate::plan::CallId;
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

/// Call that an enforced limit refused.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limited {
    /// Number of the call.
    pub call: CallId,
    /// Key of the call.
    pub key: String,
    /// Organisation that the limit belongs to; `None` for a limit of the key or the address.
    pub organisation: Option<String>,
    /// Address of the client, if the limit belongs to it.
    pub address: Option<IpAddr>,
    /// Limit that the call exceeded. If it exceeded several, it is the limit with the longest waiting time.
    pub limit: Limit,
    /// Time from the start of the vendor to the arrival of the call.
    pub at: Duration,
    /// Time until the call would be admitted; `None` if it exceeds the limit of an empty window.
    pub retry_after: Option<Duration>,
}

/// Meaning of the time until the reset that headers state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ResetSense {
    /// Time in which the used amount is restored, as if the limit was refilled continuously.
    Refill,
    /// Time until the last admitted amount has left the window.
    Renewal,
}

/// Address of the client, which a transport stores in the extensions of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ClientAddress(pub(crate) IpAddr);

/// Amounts of a call that limits may count.
#[derive(Debug, Clone, Default)]
pub(crate) struct Demand {
    pub(crate) model: String,
    /// Number of tokens of the prompt, `cached` of which are read from a cache.
    pub(crate) input: u64,
    pub(crate) cached: u64,
    /// Largest number of tokens in the response, if the request states it.
    pub(crate) most_output: u64,
}

/// Enforced limits, with the logs of admitted calls.
#[derive(Debug, Default)]
pub(crate) struct Limiter {
    /// Limits of each key that has no limits of its own.
    each: Vec<Limit>,
    /// Limits of individual keys, which replace those in `each`.
    own: HashMap<String, Vec<Limit>>,
    organisations: HashMap<String, Organisation>,
    /// Limit on the requests of each client address.
    each_address: Option<Limit>,
    logs: HashMap<Scope, Vec<Log>>,
}

#[derive(Debug)]
struct Organisation {
    keys: Vec<String>,
    limits: Vec<Limit>,
}

/// Key, organisation or address whose calls a log contains.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Scope {
    Key(String),
    Organisation(String),
    Address(IpAddr),
}

/// Amounts that one limit has admitted, the oldest first.
#[derive(Debug)]
struct Log {
    limit: Limit,
    entries: VecDeque<(Duration, u64)>,
}

impl Limiter {
    pub(crate) fn limit_each(&mut self, limits: Vec<Limit>) {
        self.each = limits;
    }

    pub(crate) fn limit_key(&mut self, key: String, limits: Vec<Limit>) {
        self.own.insert(key, limits);
    }

    pub(crate) fn limit_organisation(&mut self, name: String, keys: Vec<String>, limits: Vec<Limit>) {
        self.organisations.insert(name, Organisation { keys, limits });
    }

    pub(crate) fn limit_each_address(&mut self, limit: Limit) {
        self.each_address = Some(limit);
    }

    /// Returns `true` if no limit of keys or organisations is enforced.
    pub(crate) fn is_open(&self) -> bool {
        self.each.is_empty() && self.own.is_empty() && self.organisations.is_empty()
    }

    /// Admits a call at `now` and records it in the logs of all its limits. If the call exceeds a limit, refuses the
    /// call and records it in no log.
    pub(crate) fn admit(
        &mut self,
        now: Duration,
        call: CallId,
        key: &str,
        demand: &Demand,
    ) -> Result<(), Box<Limited>> {
        let scopes = self.scopes(key);
        self.admit_in(now, call, key, &scopes, demand)
    }

    /// Admits a call from a client's address as [`admit`](Self::admit) does, before its key is checked.
    pub(crate) fn admit_from(
        &mut self,
        now: Duration,
        call: CallId,
        key: &str,
        address: IpAddr,
    ) -> Result<(), Box<Limited>> {
        let Some(limit) = self.each_address else { return Ok(()) };
        let scope = Scope::Address(address);
        self.logs.entry(scope.clone()).or_insert_with(|| vec![Log { limit, entries: VecDeque::new() }]);
        self.admit_in(now, call, key, &[scope], &Demand::default())
    }

    fn admit_in(
        &mut self,
        now: Duration,
        call: CallId,
        key: &str,
        scopes: &[Scope],
        demand: &Demand,
    ) -> Result<(), Box<Limited>> {
        let refusals = scopes.iter().flat_map(|scope| {
            let of_scope = self.logs.get(scope).into_iter().flatten();
            let of_model = of_scope.filter(|log| log.limit.counts(&demand.model));
            of_model.filter_map(move |log| Some((scope, log.limit, log.wait(now, log.limit.admission(demand))?)))
        });
        // NOTE: a limit that can never admit the call counts as the longest waiting time.
        let longest = refusals.max_by_key(|(.., wait)| wait.unwrap_or(Duration::MAX));
        if let Some((scope, limit, retry_after)) = longest {
            let (organisation, address) = match scope {
                Scope::Organisation(name) => (Some(name.clone()), None),
                Scope::Address(address) => (None, Some(*address)),
                Scope::Key(_) => (None, None),
            };
            return Err(Box::new(Limited {
                call,
                key: key.into(),
                organisation,
                address,
                limit,
                at: now,
                retry_after,
            }));
        }
        self.note(now, scopes, &demand.model, |limit| limit.admission(demand));
        Ok(())
    }

    /// Records the output tokens of an admitted call.
    pub(crate) fn end(&mut self, now: Duration, key: &str, model: &str, output: u64) {
        let scopes = self.scopes(key);
        self.note(now, &scopes, model, |limit| limit.ending(output));
    }

    /// Returns the limits that headers state for a key at `now`.
    ///
    /// For each of requests, all tokens, tokens of prompts and tokens of responses, it is the enforced limit with the
    /// smallest remaining share, or the `advertised` limit if none is enforced.
    pub(crate) fn figures(
        &mut self,
        now: Duration,
        key: &str,
        model: &str,
        (advertised, reset): (RateLimits, ResetSense),
    ) -> RateLimits {
        let scopes = self.scopes(key);
        let logs = scopes.iter().filter_map(|scope| self.logs.get(scope)).flatten();
        let logs: Vec<&Log> = logs.filter(|log| log.limit.counts(model)).collect();
        let tightest = |is: fn(Measure) -> bool| {
            let windows = logs.iter().filter(|log| is(log.limit.measure)).map(|log| log.window(now, reset));
            windows.min_by_key(|window| u128::from(window.remaining) * 1_000_000 / u128::from(window.limit.max(1)))
        };
        RateLimits {
            requests: tightest(|measure| measure == Measure::Requests).unwrap_or(advertised.requests),
            tokens: tightest(|measure| measure != Measure::Requests).unwrap_or(advertised.tokens),
            input_tokens: tightest(|measure| measure == Measure::Input).unwrap_or(advertised.input_tokens),
            output_tokens: tightest(|measure| measure == Measure::Output).unwrap_or(advertised.output_tokens),
        }
    }

    /// Returns the first organisation of a key, by name.
    pub(crate) fn organisation(&self, key: &str) -> Option<&str> {
        let of_key = self.organisations.iter().filter(|(_, it)| it.keys.iter().any(|member| member == key));
        of_key.map(|(name, _)| name.as_str()).min()
    }

    /// Returns the scopes of a key in sorted order, and creates the logs that they lack.
    fn scopes(&mut self, key: &str) -> Vec<Scope> {
        let own = self.own.get(key).unwrap_or(&self.each);
        let mut scopes = vec![(Scope::Key(key.into()), own)];
        for (name, organisation) in &self.organisations {
            if organisation.keys.iter().any(|member| member == key) {
                scopes.push((Scope::Organisation(name.clone()), &organisation.limits));
            }
        }
        // NOTE: the order of a map differs between runs, but the choice among equally tight limits must not.
        scopes.sort_by(|(left, _), (right, _)| left.cmp(right));
        for (scope, limits) in &scopes {
            let logs = || limits.iter().map(|limit| Log { limit: *limit, entries: VecDeque::new() }).collect();
            self.logs.entry(scope.clone()).or_insert_with(logs);
        }
        scopes.into_iter().map(|(scope, _)| scope).collect()
    }

    fn note(&mut self, now: Duration, scopes: &[Scope], model: &str, amount: impl Fn(&Limit) -> u64) {
        for scope in scopes {
            for log in self.logs.get_mut(scope).into_iter().flatten() {
                log.entries.retain(|(at, _)| now < *at + log.limit.per);
                let amount = amount(&log.limit);
                if amount > 0 && log.limit.counts(model) {
                    log.entries.push_back((now, amount));
                }
            }
        }
    }
}

impl Log {
    /// Returns the amount that was admitted in the `window` before `now`.
    fn used(&self, now: Duration, window: Duration) -> u64 {
        let within = self.entries.iter().filter(|(at, _)| now < *at + window);
        within.fold(0, |sum, (_, amount)| sum.saturating_add(*amount))
    }

    /// Returns `None` if `amount` fits, `Some(None)` if it never fits, and otherwise the time until it fits, in whole
    /// milliseconds.
    fn wait(&self, now: Duration, amount: u64) -> Option<Option<Duration>> {
        let waits = self.limit.windows().filter_map(|(most, window)| self.wait_in(now, amount, most, window));
        waits.max_by_key(|wait| wait.unwrap_or(Duration::MAX))
    }

    fn wait_in(&self, now: Duration, amount: u64, most: u64, window: Duration) -> Option<Option<Duration>> {
        // NOTE: a limit on tokens of responses counts a call at its end, so it admits calls while any token remains.
        let amount = if self.limit.measure == Measure::Output { 1 } else { amount };
        if amount > most {
            return Some(None);
        }
        let mut used = self.used(now, window);
        if used.saturating_add(amount) <= most {
            return None;
        }
        let leaves = self.entries.iter().filter(|(at, _)| now < *at + window).find_map(|(at, gone)| {
            used = used.saturating_sub(*gone);
            (used.saturating_add(amount) <= most).then(|| ceil_millis(*at + window - now))
        });
        Some(leaves)
    }

    fn window(&self, now: Duration, sense: ResetSense) -> Window {
        let Limit { most, per, .. } = self.limit;
        let used = self.used(now, per);
        let reset = match sense {
            ResetSense::Refill => {
                let nanos = per.as_nanos() * u128::from(used.min(most)) / u128::from(most.max(1));
                ceil_millis(Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)))
            }
            ResetSense::Renewal => {
                self.entries.back().map_or(Duration::ZERO, |(at, _)| (*at + per).saturating_sub(now))
            }
        };
        Window { limit: most, remaining: most.saturating_sub(used), reset }
    }
}

fn ceil_millis(duration: Duration) -> Duration {
    let millis = duration.as_nanos().div_ceil(1_000_000);
    Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
}
