//! The handle of a simulated vendor.

use crate::books::Bill;
use crate::builder::VendorBuilder;
use crate::face::{Server, Transport};
use crate::flavor::Flavor;
use crate::latency::Latency;
use crate::limits::{Gate, Limited, RateLimits};
use crate::plan::{CallId, Outcome, Plan};
use crate::script::Rule;
use crate::settings::Settings;
use crate::state::State;
use bytes::Bytes;
use http::Request;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// A simulated vendor. Clones are the same vendor: they share one state, and so do all of its faces.
#[derive(Debug, Clone)]
pub struct Vendor {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// When the first call was received; the vendor's time begins there.
    start: OnceLock<Instant>,
    changes: watch::Sender<u64>,
}

impl Vendor {
    /// A vendor with defaults: any key, any model, no latency, no prices.
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// Builds a vendor.
    pub fn builder() -> VendorBuilder {
        VendorBuilder::default()
    }

    pub(crate) fn open(settings: Settings, gate: Gate) -> Self {
        let state = Mutex::new(State::new(settings, gate));
        Self { shared: Arc::new(Shared { state, start: OnceLock::new(), changes: watch::Sender::new(0) }) }
    }

    /// The real face: HTTP/1.1 on a free port of 127.0.0.1. **Spawns a task** on the current tokio runtime, and one
    /// more for each connection; all of them end when the [`Server`] is dropped.
    ///
    /// # Panics
    ///
    /// If no port can be bound, or outside of a tokio runtime.
    pub async fn serve(&self) -> Server {
        Server::spawn(self.transport()).await
    }

    /// The face without a network: a tower service in this process, whose waiting is tokio's, so that it can be paused.
    /// Spawns nothing.
    pub fn transport(&self) -> Transport {
        Transport::new(self.clone())
    }

    pub(crate) fn flavor(&self) -> Flavor {
        self.state().settings.flavor
    }

    /// Adds a rule. The first rule in force that matches a call decides; see [`Rule`].
    pub fn script(&self, rule: Rule) {
        self.state().script.push(rule);
    }

    /// Forgets all rules.
    pub fn clear_script(&self) {
        self.state().script.clear();
    }

    /// Changes how long answers to later calls take.
    pub fn set_latency(&self, latency: Latency) {
        self.state().settings.latency = latency;
    }

    /// Changes what later answers advertise.
    pub fn set_rate_limits(&self, limits: Option<RateLimits>) {
        self.state().settings.limits = limits;
    }

    /// The text (or tool arguments) of the first choice that answers this chat request in OpenAI's format, or `None` if
    /// it would be refused. It does not count as a call.
    pub fn response_text(&self, body: &Value) -> Option<String> {
        self.response_texts(body).into_iter().next()
    }

    /// The texts (or tool arguments) of all choices that answer this chat request in OpenAI's format; none if it would
    /// be refused.
    pub fn response_texts(&self, body: &Value) -> Vec<String> {
        let path = format!("{}/chat/completions", self.flavor().path_prefix());
        let request = Request::post(path).body(body.to_string().into());
        self.responses_to(&request.expect("a path makes a request"))
    }

    /// The texts (or tool arguments) of all choices that answer this chat request, in whichever format it is; none if
    /// it would be refused. It does not count as a call, and its key does not matter.
    pub fn responses_to(&self, request: &Request<Bytes>) -> Vec<String> {
        self.state().texts(request)
    }

    /// What has been billed, in the order in which calls ended.
    pub fn bills(&self) -> Vec<Bill> {
        self.state().bills.clone()
    }

    /// The bill of the call with this request id, or with this id of its answer, if it has ended and was charged for. It
    /// searches all bills: to compare many, index [`bills`](Self::bills).
    pub fn bill(&self, id: &str) -> Option<Bill> {
        let is = |bill: &&Bill| !id.is_empty() && (bill.request_id == id || bill.response_id == id);
        self.state().bills.iter().find(is).cloned()
    }

    /// The sum of all bills, in nano-dollars.
    pub fn total_billed(&self) -> u64 {
        self.state().bills.iter().fold(0, |sum, bill| sum.saturating_add(bill.nano_usd))
    }

    /// The calls that were refused for an enforced limit, in the order in which they came.
    pub fn limited(&self) -> Vec<Limited> {
        self.state().limited.clone()
    }

    /// How many calls were received, whatever came of them.
    pub fn calls(&self) -> u64 {
        self.state().calls
    }

    /// How many calls had a key in their URL, where it ends up in logs.
    pub fn keys_in_urls(&self) -> u64 {
        self.state().keys_in_urls
    }

    /// How many calls got which status. Calls that get no head do not count.
    pub fn statuses(&self) -> BTreeMap<u16, u64> {
        self.state().statuses.clone()
    }

    /// How many calls have been received and have not ended.
    pub fn in_flight(&self) -> usize {
        self.state().in_flight()
    }

    /// The most calls that were in flight at once.
    pub fn most_in_flight(&self) -> usize {
        self.state().most_in_flight
    }

    /// The latest requests as they came in, the newest first; as many as the builder's `recorded_requests` says.
    pub fn requests(&self) -> Vec<Request<Bytes>> {
        self.state().requests.iter().cloned().collect()
    }

    /// Waits for the next call to arrive or to end. What happened before is not seen: prefer
    /// [`wait_until`](Self::wait_until).
    pub async fn changed(&self) {
        // NOTE: the sender lives in `self`, so that the channel is open.
        let _ = self.shared.changes.subscribe().changed().await;
    }

    /// Waits until `is` holds, looking now and whenever a call arrives or ends.
    pub async fn wait_until(&self, mut is: impl FnMut(&Self) -> bool) {
        let mut changes = self.shared.changes.subscribe();
        while !is(self) {
            let _ = changes.changed().await;
        }
    }

    /// For own faces: receives a call at `now` (the time since the vendor's start) and plans its answer. The face plays
    /// the plan, and gives the call back to [`settle`](Self::settle).
    pub fn decide(&self, now: Duration, request: &Request<Bytes>) -> Plan {
        let plan = self.state().decide(now, request);
        self.shared.changes.send_modify(|changes| *changes += 1);
        plan
    }

    /// For own faces: ends a call at `now`, and bills it. Only the first time counts.
    pub fn settle(&self, now: Duration, call: CallId, outcome: Outcome) {
        self.state().settle(now, call, outcome);
        self.shared.changes.send_modify(|changes| *changes += 1);
    }

    /// The time since the first call.
    pub(crate) fn now(&self) -> Duration {
        let now = Instant::now();
        now.saturating_duration_since(*self.shared.start.get_or_init(|| now))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // NOTE: a test that panicked while it looked has changed nothing.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Vendor {
    fn default() -> Self {
        Self::new()
    }
}
