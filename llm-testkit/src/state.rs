//! The vendor as a pure state machine: no input or output, no timers, no tasks. It is told what time it is.

use crate::books::Bill;
use crate::fault::{Fault, RetryForm};
use crate::limits::RateLimits;
use crate::openai::{self, Chat, Embed, Endpoint, Refusal};
use crate::plan::{CallId, End, Frame, Head, Outcome, Plan};
use crate::prng::{Prng, mix};
use crate::reply::{Charge, Reply};
use crate::script::{Script, Traits};
use crate::settings::Settings;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, header};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

/// Everything that a vendor remembers.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) settings: Settings,
    pub(crate) script: Script,
    pub(crate) calls: u64,
    pub(crate) statuses: BTreeMap<u16, u64>,
    pub(crate) bills: Vec<Bill>,
    pub(crate) requests: VecDeque<Request<Bytes>>,
    pub(crate) most_in_flight: usize,
    running: HashMap<CallId, Running>,
}

/// A call that has not ended.
#[derive(Debug)]
struct Running {
    since: Duration,
    request_id: String,
    key: String,
    charge: Option<Charge>,
    /// When which output tokens of a stream are generated, from `since`; `None` where the client pays for all or
    /// nothing.
    schedule: Option<Vec<(Duration, u64)>>,
}

/// One answer, with whatever is known of it.
struct Draft {
    status: StatusCode,
    headers: HeaderMap,
    reply: Reply,
    limits: Option<RateLimits>,
}

impl State {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            settings,
            script: Script::default(),
            calls: 0,
            statuses: BTreeMap::new(),
            bills: Vec::new(),
            requests: VecDeque::new(),
            most_in_flight: 0,
            running: HashMap::new(),
        }
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.running.len()
    }

    /// Receives a call and plans its answer.
    pub(crate) fn decide(&mut self, now: Duration, request: &Request<Bytes>) -> Plan {
        let call = CallId(self.calls);
        self.calls += 1;
        self.keep(request);
        let number = format!("{:016x}{:08x}", mix(self.settings.seed ^ mix(call.0)), call.0);
        let key = openai::bearer(request.headers()).unwrap_or_default().to_owned();
        let draft = self.draft(call, &number, &key, request).unwrap_or_else(|refusal| self.refused(&refusal));
        let request_id = format!("req_{number}");
        let headers = self.headers(&request_id, &draft);
        let Draft { status, reply, .. } = draft;
        if matches!(reply.head, Head::At(_)) {
            *self.statuses.entry(status.as_u16()).or_default() += 1;
        }
        let schedule = reply.streamed.then(|| reply.frames.iter().map(|frame| (frame.at, frame.tokens)).collect());
        self.running.insert(call, Running { since: now, request_id, key, charge: reply.charge, schedule });
        self.most_in_flight = self.most_in_flight.max(self.running.len());
        Plan { call, head: reply.head, status, headers, frames: reply.frames, end: reply.end }
    }

    /// Ends a call, and bills it. A call that has ended already stays as it was.
    pub(crate) fn settle(&mut self, now: Duration, call: CallId, outcome: Outcome) {
        let Some(running) = self.running.remove(&call) else { return };
        let Some(charge) = running.charge else { return };
        let output = match running.schedule {
            Some(schedule) => {
                let generated = |at: Duration| outcome == Outcome::Delivered || running.since + at <= now;
                schedule.iter().filter(|(at, _)| generated(*at)).map(|(_, tokens)| tokens).sum()
            }
            None => charge.output,
        };
        let price = self.settings.prices.row(&charge.model);
        self.bills.push(Bill {
            call,
            request_id: running.request_id,
            key: running.key,
            nano_usd: price.cost(charge.input, charge.cached, output),
            model: charge.model,
            kind: charge.kind,
            answer_hash: charge.answer_hash,
            input_tokens: charge.input,
            cached_tokens: charge.cached,
            output_tokens: output,
            cancelled: outcome == Outcome::Cancelled,
        });
    }

    fn keep(&mut self, request: &Request<Bytes>) {
        if self.settings.keep_requests > 0 {
            self.requests.truncate(self.settings.keep_requests - 1);
            self.requests.push_front(request.clone());
        }
    }

    fn draft(&mut self, call: CallId, number: &str, key: &str, request: &Request<Bytes>) -> Result<Draft, Refusal> {
        let endpoint = openai::route(request.method(), request.uri())?;
        self.authorize(key)?;
        if endpoint == Endpoint::Models {
            return Ok(plain(StatusCode::OK, self.models().to_string().into()));
        }
        let body = serde_json::from_slice::<Value>(request.body());
        let fault = self.fault(key, body.as_ref().ok(), request.body());
        if let Some(draft) = fault.as_ref().and_then(|fault| self.instead(fault)) {
            return Ok(draft);
        }
        let body = body.map_err(|error| Refusal::malformed(&error))?;
        let prng = &mut Prng::new(self.settings.seed, call.0);
        let reply = if endpoint == Endpoint::Chat {
            let id = format!("chatcmpl-{number}");
            Reply::chat(Chat::answer(&body, &self.settings)?, &id, &self.settings, prng, fault.as_ref())
        } else {
            Reply::embeddings(Embed::answer(&body, &self.settings)?, &self.settings, prng, fault.as_ref())
        };
        let kind = if reply.streamed { "text/event-stream; charset=utf-8" } else { "application/json" };
        Ok(Draft { status: StatusCode::OK, headers: content_type(kind), reply, limits: self.settings.limits })
    }

    fn authorize(&self, key: &str) -> Result<(), Refusal> {
        if key.is_empty() {
            return Err(Refusal::no_key());
        }
        match &self.settings.keys {
            Some(keys) if !keys.contains(key) => Err(Refusal::unknown_key()),
            _ => Ok(()),
        }
    }

    fn fault(&mut self, key: &str, body: Option<&Value>, raw: &[u8]) -> Option<Fault> {
        if self.script.is_empty() {
            return None;
        }
        let prompt = body.map_or_else(|| String::from_utf8_lossy(raw).into_owned(), openai::prompt_text);
        let model = body.and_then(|body| body["model"].as_str()).unwrap_or_default();
        self.script.next(&Traits { prompt: &prompt, key, model })
    }

    /// What comes instead of an answer, for faults that do not need one.
    fn instead(&self, fault: &Fault) -> Option<Draft> {
        match fault {
            Fault::RateLimited { retry_after, form, code } => Some(self.rate_limited(*retry_after, *form, code)),
            Fault::Answer(answer) => {
                let draft = plain(answer.status(), answer.body().clone());
                Some(Draft { headers: answer.headers().clone(), limits: self.settings.limits, ..draft })
            }
            Fault::Html => {
                let page = Bytes::from_static(b"<!DOCTYPE html>\n<html><body><h1>Welcome</h1></body></html>\n");
                Some(Draft { headers: content_type("text/html; charset=utf-8"), ..plain(StatusCode::OK, page) })
            }
            Fault::Reset => {
                let mut draft = plain(StatusCode::OK, Bytes::new());
                draft.reply.head = Head::Reset(Duration::ZERO);
                Some(draft)
            }
            _ => None,
        }
    }

    fn rate_limited(&self, retry_after: Duration, form: RetryForm, code: &str) -> Draft {
        let mut draft = self.refused(&Refusal::rate_limited(code));
        openai::retry_headers(&mut draft.headers, retry_after, form, (self.settings.wall)());
        draft.limits = match code {
            "rate_limit_exceeded" => self.settings.limits.map(|limits| openai::refused_limits(&limits, retry_after)),
            _ => self.settings.limits,
        };
        draft
    }

    fn refused(&self, refusal: &Refusal) -> Draft {
        plain(refusal.status, refusal.body())
    }

    fn models(&self) -> Value {
        let row = |id: &str| json!({"id": id, "object": "model", "created": 0, "owned_by": "llm-testkit"});
        let rows: Vec<_> = match &self.settings.models {
            Some(models) => models.iter().map(|model| row(model)).collect(),
            None => vec![row("simulated")],
        };
        json!({"object": "list", "data": rows})
    }

    fn headers(&self, request_id: &str, draft: &Draft) -> HeaderMap {
        let text = |text: String| HeaderValue::try_from(text).expect("digits and letters make a header");
        let taken = match draft.reply.head {
            Head::At(at) | Head::Reset(at) => at.as_millis(),
            Head::Never => 0,
        };
        let mut headers = HeaderMap::new();
        headers.insert(header::DATE, openai::date((self.settings.wall)()));
        headers.insert(HeaderName::from_static("x-request-id"), text(request_id.to_owned()));
        headers.insert(HeaderName::from_static("openai-version"), HeaderValue::from_static("2020-10-01"));
        headers.insert(HeaderName::from_static("openai-processing-ms"), text(taken.to_string()));
        if let Some(length) = draft.reply.length {
            headers.insert(header::CONTENT_LENGTH, text(length.to_string()));
        }
        if let Some(limits) = &draft.limits {
            openai::limit_headers(&mut headers, limits);
        }
        // NOTE: a header map's iterator names only the first of several values of a name; each name is replaced as a
        // whole.
        for name in draft.headers.keys() {
            headers.remove(name);
            for value in draft.headers.get_all(name) {
                headers.append(name.clone(), value.clone());
            }
        }
        headers
    }
}

/// JSON in one piece, at once, for nothing.
fn plain(status: StatusCode, bytes: Bytes) -> Draft {
    let length = Some(bytes.len());
    let frames = if bytes.is_empty() { Vec::new() } else { vec![Frame { at: Duration::ZERO, bytes, tokens: 0 }] };
    let reply = Reply { frames, head: Head::At(Duration::ZERO), end: End::Done, streamed: false, length, charge: None };
    Draft { status, headers: content_type("application/json"), reply, limits: None }
}

fn content_type(kind: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(kind))])
}
