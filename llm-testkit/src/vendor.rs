//! Simulated vendor.

use crate::billing::Bill;
use crate::builder::VendorBuilder;
use crate::flavor::Flavor;
use crate::latency::Latency;
use crate::limits::{Limited, Limiter, RateLimits};
use crate::plan::{CallId, Outcome, Plan};
use crate::prompt_cache::PromptCache;
use crate::rules::Rule;
use crate::settings::Settings;
use crate::state::State;
use crate::transport::{Server, Transport};
use bytes::Bytes;
use http::Request;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Simulated vendor. Clones share one state, and so do all of its transports.
///
/// # Example
///
/// ```
/// use llm_testkit::Vendor;
/// use tower::ServiceExt;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let vendor = Vendor::new();
/// let body = r#"{"model": "m", "messages": [{"role": "user", "content": "hello"}]}"#;
/// let request = http::Request::post("/v1/chat/completions").header("authorization", "Bearer any");
/// let response = vendor.transport().oneshot(request.body(bytes::Bytes::from(body))?).await?;
/// assert_eq!(response.status(), 200);
/// assert_eq!(vendor.statuses()[&200], 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Vendor {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Time of the first call, at which the vendor's time begins.
    start: OnceLock<Instant>,
    changes: watch::Sender<u64>,
}

impl Vendor {
    /// Creates a vendor with the defaults: any key, any model, no latency, no prices.
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// Creates a builder with the default settings.
    pub fn builder() -> VendorBuilder {
        VendorBuilder::default()
    }

    pub(crate) fn open(settings: Settings, limiter: Limiter, prompt_cache: Option<PromptCache>) -> Self {
        let state = Mutex::new(State::new(settings, limiter, prompt_cache));
        Self { shared: Arc::new(Shared { state, start: OnceLock::new(), changes: watch::Sender::new(0) }) }
    }

    /// Serves HTTP/1.1 on a free port of 127.0.0.1.
    ///
    /// It **spawns a task** on the current tokio runtime, and one more for each connection. All of them end when the
    /// [`Server`] is dropped.
    ///
    /// # Panics
    ///
    /// If no port can be bound, or outside of a tokio runtime.
    pub async fn serve(&self) -> Server {
        Server::spawn(self.transport()).await
    }

    /// Returns a tower service in this process, without a network.
    ///
    /// It spawns nothing, and waits by tokio's time, which a test can pause.
    pub fn transport(&self) -> Transport {
        Transport::new(self.clone())
    }

    pub(crate) fn flavor(&self) -> Flavor {
        self.state().settings.flavor
    }

    /// Adds a rule. The first rule that applies to a call determines its fault; see [`Rule`].
    pub fn script(&self, rule: Rule) {
        self.state().rules.push(rule);
    }

    /// Removes all rules.
    pub fn clear_script(&self) {
        self.state().rules.clear();
    }

    /// Changes the latency of responses to later calls.
    pub fn set_latency(&self, latency: Latency) {
        self.state().settings.latency = latency;
    }

    /// Changes the limits that later responses advertise.
    pub fn set_rate_limits(&self, limits: Option<RateLimits>) {
        self.state().settings.limits = limits;
    }

    /// Returns the text (or tool arguments) of the first choice for a chat request in OpenAI's format; `None` if the
    /// request would be refused. The request does not count as a call.
    pub fn response_text(&self, body: &Value) -> Option<String> {
        self.response_texts(body).into_iter().next()
    }

    /// Returns the texts (or tool arguments) of all choices for a chat request in OpenAI's format; none if the request
    /// would be refused.
    pub fn response_texts(&self, body: &Value) -> Vec<String> {
        let path = format!("{}/chat/completions", self.flavor().path_prefix());
        let request = Request::post(path).body(body.to_string().into());
        self.responses_to(&request.expect("a path makes a request"))
    }

    /// Returns the texts (or tool arguments) of all choices for a chat request in any format; none if the request would
    /// be refused.
    ///
    /// The request does not count as a call, and its key does not matter.
    pub fn responses_to(&self, request: &Request<Bytes>) -> Vec<String> {
        self.state().texts(request)
    }

    /// Returns all bills, in the order in which calls ended.
    pub fn bills(&self) -> Vec<Bill> {
        self.state().bills.clone()
    }

    /// Returns the bill of the call with this request id or response id, if it has ended and was charged.
    ///
    /// The search takes time in proportion to the number of bills. To look up many calls, index [`bills`](Self::bills).
    pub fn bill(&self, id: &str) -> Option<Bill> {
        let is = |bill: &&Bill| !id.is_empty() && (bill.request_id == id || bill.response_id == id);
        self.state().bills.iter().find(is).cloned()
    }

    /// Returns the sum of all bills, in nano-dollars.
    pub fn total_billed(&self) -> u64 {
        self.state().bills.iter().fold(0, |sum, bill| sum.saturating_add(bill.nano_usd))
    }

    /// Returns the calls that an enforced limit refused, in the order of arrival.
    pub fn limited(&self) -> Vec<Limited> {
        self.state().limited.clone()
    }

    /// Returns the number of received calls, whatever their outcome.
    pub fn calls(&self) -> u64 {
        self.state().calls
    }

    /// Returns the number of calls with a key in their URL, which servers and proxies would log.
    pub fn keys_in_urls(&self) -> u64 {
        self.state().keys_in_urls
    }

    /// Returns the number of calls by status. Calls without a head do not count.
    pub fn statuses(&self) -> BTreeMap<u16, u64> {
        self.state().statuses.clone()
    }

    /// Returns the number of calls that have been received and have not ended.
    pub fn in_flight(&self) -> usize {
        self.state().in_flight()
    }

    /// Returns the largest number of calls in flight at a time.
    pub fn most_in_flight(&self) -> usize {
        self.state().most_in_flight
    }

    /// Returns the latest requests, the newest first, and at most the builder's `recorded_requests`.
    pub fn requests(&self) -> Vec<Request<Bytes>> {
        self.state().requests.iter().cloned().collect()
    }

    /// Waits for the next call to arrive or to end.
    ///
    /// The method misses changes before it is called, so prefer [`wait_until`](Self::wait_until).
    pub async fn changed(&self) {
        // NOTE: `self` owns the sender, so the channel is open.
        let _ = self.shared.changes.subscribe().changed().await;
    }

    /// Waits until `is` returns true. It checks at once, and whenever a call arrives or ends.
    pub async fn wait_until(&self, mut is: impl FnMut(&Self) -> bool) {
        let mut changes = self.shared.changes.subscribe();
        while !is(self) {
            let _ = changes.changed().await;
        }
    }

    /// Receives a call at `now` (the time since the vendor's start) and returns the plan of its response.
    ///
    /// It is for transports of your own. These send the parts of the plan at their times, and then pass the call to
    /// [`settle`](Self::settle).
    pub fn decide(&self, now: Duration, request: &Request<Bytes>) -> Plan {
        let plan = self.state().decide(now, request);
        self.shared.changes.send_modify(|changes| *changes += 1);
        plan
    }

    /// Ends a call at `now` and bills it. Further settlements of the same call have no effect. It is for transports of
    /// your own.
    pub fn settle(&self, now: Duration, call: CallId, outcome: Outcome) {
        self.state().settle(now, call, outcome);
        self.shared.changes.send_modify(|changes| *changes += 1);
    }

    /// Returns the time since the first call.
    pub(crate) fn now(&self) -> Duration {
        let now = Instant::now();
        now.saturating_duration_since(*self.shared.start.get_or_init(|| now))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // NOTE: a test can panic while it holds the lock only if it reads the state, which changes nothing.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Vendor {
    fn default() -> Self {
        Self::new()
    }
}
