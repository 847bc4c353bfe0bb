//! The vendor as a pure state machine: no input or output, no timers, no tasks. It is told what time it is.

use crate::answer::{Answer, Embed};
use crate::books::Bill;
use crate::dialect::{self, Dialect, Endpoint, Facts, Inquiry, Target};
use crate::fault::{Fault, RetryForm};
use crate::flavor::{Flavor, Format};
use crate::limits::{Demand, Gate, Limited, RateLimits};
use crate::openai;
use crate::plan::{CallId, End, Frame, Head, Outcome, Plan};
use crate::prng::{Prng, mix};
use crate::refusal::{Cause, Refusal};
use crate::reply::{Charge, Press, Reply};
use crate::script::{Script, Traits};
use crate::settings::Settings;
use crate::tokens;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use serde_json::Value;
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
    pub(crate) keys_in_urls: u64,
    pub(crate) limited: Vec<Limited>,
    gate: Gate,
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

/// A call as it came in.
struct Incoming<'a> {
    call: CallId,
    now: Duration,
    number: String,
    request_id: String,
    key: String,
    dialect: &'static dyn Dialect,
    request: &'a Request<Bytes>,
}

impl State {
    pub(crate) fn new(settings: Settings, gate: Gate) -> Self {
        Self {
            settings,
            script: Script::default(),
            calls: 0,
            statuses: BTreeMap::new(),
            bills: Vec::new(),
            requests: VecDeque::new(),
            most_in_flight: 0,
            keys_in_urls: 0,
            limited: Vec::new(),
            gate,
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
        let request_id = format!("req_{number}");
        let dialect = dialect::of(request, self.settings.flavor);
        let key = dialect.key(request).unwrap_or_default();
        self.keys_in_urls += u64::from(dialect::query(request.uri(), "key").is_some());
        let incoming = Incoming { call, now, number, request_id, key, dialect, request };
        let mut draft = self.draft(&incoming).unwrap_or_else(|refusal| self.refused(&incoming, &refusal));
        if let (false, Some(limits)) = (self.gate.is_open(), &mut draft.limits) {
            *limits = self.gate.figures(now, &incoming.key, *limits);
        }
        let headers = self.headers(&incoming, &draft);
        let Incoming { request_id, key, .. } = incoming;
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
        self.gate.end(now, &running.key, output);
        let price = self.settings.prices.row(&charge.model);
        self.bills.push(Bill {
            call,
            request_id: running.request_id,
            response_id: charge.response_id,
            format: charge.format,
            key: running.key,
            nano_usd: price.cost(charge.input, charge.cached, charge.written, output),
            model: charge.model,
            kind: charge.kind,
            response_hash: charge.response_hash,
            input_tokens: charge.input,
            cached_tokens: charge.cached,
            cache_write_5m_tokens: charge.written[0],
            cache_write_1h_tokens: charge.written[1],
            output_tokens: output,
            cancelled: outcome == Outcome::Cancelled,
        });
    }

    fn keep(&mut self, request: &Request<Bytes>) {
        if self.settings.recorded_requests > 0 {
            self.requests.truncate(self.settings.recorded_requests - 1);
            self.requests.push_front(request.clone());
        }
    }

    fn draft(&mut self, incoming: &Incoming<'_>) -> Result<Draft, Refusal> {
        let Incoming { dialect, request, .. } = incoming;
        let target = dialect.route(request.method(), request.uri())?;
        self.authorize(dialect.key(request))?;
        dialect.admit(request.headers())?;
        if target.endpoint == Endpoint::Models {
            return Ok(plain(StatusCode::OK, self.models(*dialect)));
        }
        let read = serde_json::from_slice::<Value>(request.body()).map_err(|error| Refusal::malformed(&error));
        let inquiry = read.and_then(|body| dialect.inquiry(&target, body));
        if let (false, Ok(inquiry)) = (self.gate.is_open(), &inquiry) {
            self.admit(incoming, target.endpoint, inquiry)?;
        }
        let fault = self.fault(incoming, inquiry.as_ref().ok(), &target);
        if let Some(draft) = fault.as_ref().and_then(|fault| self.instead(incoming, fault)) {
            return Ok(draft);
        }
        self.answer(incoming, &target, &inquiry?, fault.as_ref())
    }

    fn answer(
        &self,
        incoming: &Incoming<'_>,
        target: &Target,
        inquiry: &Inquiry,
        fault: Option<&Fault>,
    ) -> Result<Draft, Refusal> {
        let dialect = incoming.dialect;
        let prng = Prng::new(self.settings.seed, incoming.call.0);
        let mut press = Press { dialect, settings: &self.settings, prng, fault };
        let reply = match target.endpoint {
            Endpoint::Chat => {
                let id = dialect.response_id(&incoming.number);
                press.chat(Answer::new(id, target, inquiry, &self.settings)?)
            }
            Endpoint::Count => {
                Answer::new(String::new(), target, inquiry, &self.settings)?;
                let count = dialect.count(tokens::chat_input(&inquiry.body));
                plain(StatusCode::OK, count.to_string().into()).reply
            }
            Endpoint::Embeddings | Endpoint::Models => {
                press.embeddings(Embed::new(&inquiry.body, target.bare, &self.settings)?)
            }
        };
        let kind = dialect.content_type(reply.streamed, target.bare);
        Ok(Draft { status: StatusCode::OK, headers: content_type(kind), reply, limits: self.settings.limits })
    }

    /// The texts of all choices that answer a request; none if it is no chat, or would be refused.
    pub(crate) fn texts(&self, request: &Request<Bytes>) -> Vec<String> {
        let dialect = dialect::of(request, self.settings.flavor);
        let answer = || {
            let target = dialect.route(request.method(), request.uri()).ok()?;
            let body = serde_json::from_slice(request.body()).ok()?;
            let inquiry = dialect.inquiry(&target, body).ok()?;
            let chat = target.endpoint == Endpoint::Chat;
            chat.then(|| Answer::new(String::new(), &target, &inquiry, &self.settings).ok())?
        };
        answer().map(Answer::texts).unwrap_or_default()
    }

    fn authorize(&self, key: Option<String>) -> Result<(), Refusal> {
        let key = key.ok_or_else(Refusal::no_key)?;
        match &self.settings.keys {
            Some(keys) if !keys.contains(&key) => Err(Refusal::unknown_key()),
            _ => Ok(()),
        }
    }

    /// Enforces the limits of the call's key.
    fn admit(&mut self, incoming: &Incoming<'_>, endpoint: Endpoint, inquiry: &Inquiry) -> Result<(), Refusal> {
        let demand = match endpoint {
            Endpoint::Chat => self.chat_demand(&inquiry.body),
            Endpoint::Embeddings => {
                Demand { input: tokens::embedding_input(&inquiry.body["input"]), ..Demand::default() }
            }
            Endpoint::Count | Endpoint::Models => return Ok(()),
        };
        self.gate.admit(incoming.now, incoming.call, &incoming.key, &demand).map_err(|limited| {
            let format = incoming.dialect.format();
            let form = match (format, self.settings.flavor) {
                (Format::OpenAi, Flavor::OpenAi | Flavor::Azure) => RetryForm::Both,
                _ => RetryForm::Seconds,
            };
            let refusal = Refusal::over(&limited, limited.limit.code(format), form);
            self.limited.push(*limited);
            refusal
        })
    }

    fn chat_demand(&self, body: &Value) -> Demand {
        let input = tokens::chat_input(body);
        let most = body["max_completion_tokens"].as_u64().or(body["max_tokens"].as_u64()).unwrap_or(0);
        let choices = body["n"].as_u64().unwrap_or(1);
        Demand { input, cached: self.settings.cached(input), most_output: most.saturating_mul(choices) }
    }

    fn fault(&mut self, incoming: &Incoming<'_>, inquiry: Option<&Inquiry>, target: &Target) -> Option<Fault> {
        if self.script.is_empty() {
            return None;
        }
        let raw = || String::from_utf8_lossy(incoming.request.body()).into_owned();
        let prompt = inquiry.map_or_else(raw, |inquiry| openai::prompt_text(&inquiry.body));
        let named = inquiry.and_then(|inquiry| inquiry.body["model"].as_str());
        let model = named.or(target.model.as_deref()).unwrap_or_default();
        self.script.next(&Traits { prompt: &prompt, key: &incoming.key, model })
    }

    /// What comes instead of an answer, for faults that do not need one.
    fn instead(&self, incoming: &Incoming<'_>, fault: &Fault) -> Option<Draft> {
        match fault {
            Fault::RateLimited { retry_after, form, code } => {
                Some(self.refused(incoming, &Refusal::limited(code, *retry_after, *form)))
            }
            Fault::Refused(trouble) => Some(self.refused(incoming, &Refusal::trouble(*trouble))),
            Fault::Filtered => Some(self.refused(incoming, &incoming.dialect.filtered()?)),
            Fault::Response(answer) => {
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

    fn refused(&self, incoming: &Incoming<'_>, refusal: &Refusal) -> Draft {
        let (status, body) = incoming.dialect.refuse(refusal, &incoming.request_id);
        let mut draft = plain(status, body.to_string().into());
        draft.headers = content_type(incoming.dialect.content_type(false, false));
        incoming.dialect.refusal_headers(&mut draft.headers, refusal, (self.settings.wall)());
        if let Cause::Limited { code, retry_after, .. } = &refusal.cause {
            let limits = self.settings.limits;
            let scripted = self.gate.is_open();
            let spent = scripted && matches!(code.as_str(), "rate_limit_exceeded" | "requests_per_day");
            draft.limits = if spent { limits.map(|limits| limits.refused(*retry_after)) } else { limits };
        }
        draft
    }

    fn models(&self, dialect: &dyn Dialect) -> Bytes {
        let names: Vec<&str> = match &self.settings.models {
            Some(models) => models.iter().map(String::as_str).collect(),
            None => vec!["simulated"],
        };
        dialect.models(&names).to_string().into()
    }

    fn headers(&self, incoming: &Incoming<'_>, draft: &Draft) -> HeaderMap {
        let wall = (self.settings.wall)();
        let taken = match draft.reply.head {
            Head::At(at) | Head::Reset(at) => at,
            Head::Never => Duration::ZERO,
        };
        let mut headers = HeaderMap::new();
        headers.insert(header::DATE, openai::date(wall));
        let input = draft.reply.charge.as_ref().map_or(0, |charge| charge.input);
        let request_id = &incoming.request_id;
        incoming
            .dialect
            .headers(&mut headers, &Facts { request_id, taken, limits: draft.limits.as_ref(), input, wall });
        if let Some(length) = draft.reply.length {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
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
