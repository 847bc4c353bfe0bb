//! Simulated vendor of these tests: organisations with sliding limits, and failures on demand.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};

use llm_core::{
    Error, ErrorKind,
    layer::{LimitScope, LimitWindow, VendorLimit, VendorLimits},
};
use tokio::time::Instant;

/// Simulated vendor. Clones share its state.
#[derive(Clone)]
pub(crate) struct Vendor(Arc<Mutex<State>>);

/// Key of an organisation.
#[derive(Clone)]
pub(crate) struct Key {
    vendor: Vendor,
    pub(crate) name: &'static str,
    organisation: &'static str,
}

#[derive(Default)]
struct State {
    start: Option<Instant>,
    organisations: HashMap<&'static str, Organisation>,
    seed: u64,
    latency: (u64, u64),
    headers: Headers,
    pub(crate) attempts: HashMap<&'static str, Vec<Duration>>,
    pub(crate) refused: u64,
    pub(crate) served: u64,
    faults: HashMap<&'static str, Fault>,
    hanging: HashSet<&'static str>,
}

type Fault = Arc<dyn Fn(Duration) -> Option<Error> + Send + Sync>;

#[derive(Default)]
struct Organisation {
    limit: Option<u64>,
    log: VecDeque<Instant>,
}

/// Kinds of limit headers that the responses have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Headers {
    #[default]
    None,
    Limits,
    LimitsAndGroup,
}

const MINUTE: Duration = Duration::from_secs(60);

impl Vendor {
    /// Creates a vendor that responds within a range of milliseconds.
    pub(crate) fn new(latency: (u64, u64), headers: Headers) -> Self {
        let state = State { latency, headers, seed: 42, start: Some(Instant::now()), ..State::default() };
        Self(Arc::new(Mutex::new(state)))
    }

    /// Sets the seed of the latencies.
    pub(crate) fn seed(self, seed: u64) -> Self {
        self.0.lock().unwrap().seed = seed;
        self
    }

    /// Creates a key of an organisation that serves a number of requests a minute.
    pub(crate) fn key(&self, name: &'static str, organisation: &'static str, limit: impl Into<Option<u64>>) -> Key {
        let mut state = self.0.lock().unwrap();
        state.organisations.entry(organisation).or_default().limit = limit.into();
        Key { vendor: self.clone(), name, organisation }
    }

    /// Makes a key fail as a function of the time since the start.
    pub(crate) fn fault(&self, key: &'static str, fault: impl Fn(Duration) -> Option<Error> + Send + Sync + 'static) {
        self.0.lock().unwrap().faults.insert(key, Arc::new(fault));
    }

    /// Makes a key never respond.
    pub(crate) fn hang(&self, key: &'static str) {
        self.0.lock().unwrap().hanging.insert(key);
    }

    pub(crate) fn served(&self) -> u64 {
        self.0.lock().unwrap().served
    }

    pub(crate) fn refused(&self) -> u64 {
        self.0.lock().unwrap().refused
    }

    /// Returns the times of a key's attempts since the start.
    pub(crate) fn attempts(&self, key: &str) -> Vec<Duration> {
        self.0.lock().unwrap().attempts.get(key).cloned().unwrap_or_default()
    }
}

impl Key {
    /// Sends a request. Returns the limits that the response states, if any.
    pub(crate) async fn send(&self) -> Result<Option<VendorLimits>, Error> {
        let (latency, outcome) = self.decide();
        tokio::time::sleep(latency).await;
        outcome
    }

    fn decide(&self) -> (Duration, Result<Option<VendorLimits>, Error>) {
        let now = Instant::now();
        let mut state = self.vendor.0.lock().unwrap();
        let state = &mut *state;
        let at = now - state.start.unwrap();
        state.attempts.entry(self.name).or_default().push(at);
        state.seed = state.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (low, high) = state.latency;
        let latency = Duration::from_millis(low + (state.seed >> 33) % (high - low + 1));
        if state.hanging.contains(self.name) {
            return (Duration::from_secs(86_400), Err(Error::new(ErrorKind::Timeout, "it hung for a day")));
        }
        if let Some(error) = state.faults.get(self.name).and_then(|fault| fault(at)) {
            state.refused += u64::from(error.kind() == ErrorKind::RateLimited);
            return (latency, Err(error));
        }
        let organisation = state.organisations.get_mut(self.organisation).unwrap();
        while organisation.log.front().is_some_and(|first| *first + MINUTE <= now) {
            organisation.log.pop_front();
        }
        let is_full = organisation.limit.is_some_and(|limit| organisation.log.len() as u64 >= limit);
        if !is_full {
            organisation.log.push_back(now);
        }
        let limits = (state.headers != Headers::None).then(|| {
            let mut limits = VendorLimits::default();
            let limit = organisation.limit;
            let remaining = limit.map(|limit| limit - organisation.log.len() as u64);
            limits.requests = VendorLimit::new(limit, remaining, None).map(|limit| limit.with_window(MINUTE));
            limits.group = (state.headers == Headers::LimitsAndGroup).then(|| self.organisation.into());
            limits
        });
        if is_full {
            state.refused += 1;
            let error = Error::new(ErrorKind::RateLimited, "too many requests");
            let error = match limits {
                Some(limits) => error.with_limits(limits).with_scope(LimitScope::Model(LimitWindow::Minute)),
                None => error,
            };
            return (latency, Err(error));
        }
        state.served += 1;
        (latency, Ok(limits))
    }
}
