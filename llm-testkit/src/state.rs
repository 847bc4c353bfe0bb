//! State machine of a vendor, without I/O, timers and tasks. Its callers pass the current time.

use crate::billing::Bill;
use crate::fault::{Fault, RetryForm};
use crate::flavor::{Flavor, Format};
use crate::limits::{ClientAddress, Demand, Limited, Limiter, RateLimits, ResetSense};
use crate::openai;
use crate::plan::{CallId, End, Frame, Head, Outcome, Plan};
use crate::planned_response::{Charge, PlannedResponse, ResponseWriter};
use crate::prng::{Prng, mix};
use crate::prompt_cache::PromptCache;
use crate::protocol::{self, CanonicalRequest, Endpoint, HeaderContext, Protocol, Target};
use crate::refusal::{Cause, Refusal};
use crate::response::{ChatResponse, EmbeddingResponse};
use crate::rules::{CallTraits, Rules};
use crate::settings::Settings;
use crate::tokens;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

/// State of a vendor.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) settings: Settings,
    pub(crate) rules: Rules,
    pub(crate) calls: u64,
    pub(crate) statuses: BTreeMap<u16, u64>,
    pub(crate) bills: Vec<Bill>,
    pub(crate) requests: VecDeque<Request<Bytes>>,
    pub(crate) most_in_flight: usize,
    pub(crate) keys_in_urls: u64,
    pub(crate) limited: Vec<Limited>,
    limiter: Limiter,
    prompt_cache: Option<PromptCache>,
    running: HashMap<CallId, Running>,
}

/// Call in flight.
#[derive(Debug)]
struct Running {
    since: Duration,
    request_id: String,
    key: String,
    charge: Option<Charge>,
    /// Times from `since` at which the output tokens of a stream are generated; `None` for a response in one piece, which
    /// is billed in full.
    schedule: Option<Vec<(Duration, u64)>>,
}

/// Response without the headers that depend on the call and the limits.
struct Draft {
    status: StatusCode,
    headers: HeaderMap,
    reply: PlannedResponse,
    limits: Option<RateLimits>,
}

/// Received call, with its ids, its key and its protocol.
struct Incoming<'a> {
    call: CallId,
    now: Duration,
    number: String,
    request_id: String,
    key: String,
    protocol: &'static dyn Protocol,
    request: &'a Request<Bytes>,
}

impl Incoming<'_> {
    /// Returns the model of the request; empty if it names none.
    fn model(&self) -> String {
        let target = self.protocol.route(self.request.method(), self.request.uri()).ok();
        let body = || serde_json::from_slice::<Value>(self.request.body()).ok();
        let named = target.and_then(|target| target.model).or_else(|| Some(body()?["model"].as_str()?.to_owned()));
        named.unwrap_or_default()
    }
}

impl State {
    pub(crate) fn new(settings: Settings, limiter: Limiter, prompt_cache: Option<PromptCache>) -> Self {
        Self {
            settings,
            rules: Rules::default(),
            calls: 0,
            statuses: BTreeMap::new(),
            bills: Vec::new(),
            requests: VecDeque::new(),
            most_in_flight: 0,
            keys_in_urls: 0,
            limited: Vec::new(),
            limiter,
            prompt_cache,
            running: HashMap::new(),
        }
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.running.len()
    }

    /// Receives a call and returns the plan of its response.
    pub(crate) fn decide(&mut self, now: Duration, request: &Request<Bytes>) -> Plan {
        let call = CallId(self.calls);
        self.calls += 1;
        self.keep(request);
        let number = format!("{:016x}{:08x}", mix(self.settings.seed ^ mix(call.0)), call.0);
        let request_id = format!("req_{number}");
        let protocol = protocol::of(request, self.settings.flavor);
        let key = protocol.key(request).unwrap_or_default();
        self.keys_in_urls += u64::from(protocol::query(request.uri(), "key").is_some());
        let incoming = Incoming { call, now, number, request_id, key, protocol, request };
        let mut draft = self.draft(&incoming).unwrap_or_else(|refusal| self.refused(&incoming, &refusal));
        if let (false, Some(limits)) = (self.limiter.is_open(), &mut draft.limits) {
            let sense = match (incoming.protocol.format(), self.settings.flavor) {
                (Format::OpenAi, Flavor::Azure) => ResetSense::Renewal,
                _ => ResetSense::Refill,
            };
            *limits = self.limiter.figures(now, &incoming.key, &incoming.model(), (*limits, sense));
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

    /// Ends a call and bills it. Has no effect on a call that has ended already.
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
        self.limiter.end(now, &running.key, &charge.model, output);
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
        let Incoming { protocol, request, .. } = incoming;
        if let Some(refused) = self.refused_by_address(incoming) {
            return Ok(refused);
        }
        let target = protocol.route(request.method(), request.uri())?;
        self.authorize(protocol.key(request))?;
        protocol.admit(request.headers())?;
        if target.endpoint == Endpoint::Models {
            return Ok(plain(StatusCode::OK, self.models(*protocol)));
        }
        let read = serde_json::from_slice::<Value>(request.body()).map_err(|error| Refusal::malformed(&error));
        let canonical = read.and_then(|body| protocol.canonical(&target, body));
        let cached = canonical.as_ref().map_or(0, |canonical| self.cached(incoming, canonical));
        if let (false, Ok(canonical)) = (self.limiter.is_open(), &canonical) {
            self.admit(incoming, target.endpoint, canonical, cached)?;
        }
        let fault = self.fault(incoming, canonical.as_ref().ok(), &target);
        if let Some(draft) = fault.as_ref().and_then(|fault| self.replacement(incoming, fault)) {
            return Ok(draft);
        }
        let canonical = canonical?;
        let draft = self.response(incoming, &target, &canonical, cached, fault.as_ref())?;
        if let (Some(cache), Endpoint::Chat) = (&mut self.prompt_cache, target.endpoint) {
            cache.keep(
                incoming.now,
                self.limiter.organisation(&incoming.key).unwrap_or(&incoming.key),
                &canonical.body,
            );
        }
        Ok(draft)
    }

    /// Returns the number of tokens of a chat's prompt that are read from a cache.
    fn cached(&self, incoming: &Incoming<'_>, canonical: &CanonicalRequest) -> u64 {
        let share = self.settings.cached(tokens::chat_input(&canonical.body));
        let Some(cache) = &self.prompt_cache else { return share };
        if incoming.protocol.format() == Format::Anthropic && canonical.breakpoints == [0; 2] {
            return share;
        }
        let organisation = self.limiter.organisation(&incoming.key).unwrap_or(&incoming.key);
        share.max(cache.cached(incoming.now, organisation, &canonical.body))
    }

    fn response(
        &self,
        incoming: &Incoming<'_>,
        target: &Target,
        canonical: &CanonicalRequest,
        cached: u64,
        fault: Option<&Fault>,
    ) -> Result<Draft, Refusal> {
        let protocol = incoming.protocol;
        let prng = Prng::new(self.settings.seed, incoming.call.0);
        let mut writer = ResponseWriter { protocol, settings: &self.settings, prng, fault };
        let reply = match target.endpoint {
            Endpoint::Chat => {
                let id = protocol.response_id(&incoming.number);
                writer.chat(ChatResponse::new(id, target, canonical, cached, &self.settings)?)
            }
            Endpoint::Count => {
                ChatResponse::new(String::new(), target, canonical, cached, &self.settings)?;
                let count = protocol.count(tokens::chat_input(&canonical.body));
                plain(StatusCode::OK, count.to_string().into()).reply
            }
            Endpoint::Embeddings | Endpoint::Models => {
                writer.embeddings(EmbeddingResponse::new(&canonical.body, target.bare, &self.settings)?)
            }
        };
        let kind = protocol.content_type(reply.streamed, target.bare);
        Ok(Draft { status: StatusCode::OK, headers: content_type(kind), reply, limits: self.settings.limits })
    }

    /// Returns the texts of all choices of a response; none if the request is not a chat, or would be refused.
    pub(crate) fn texts(&self, request: &Request<Bytes>) -> Vec<String> {
        let protocol = protocol::of(request, self.settings.flavor);
        let response = || {
            let target = protocol.route(request.method(), request.uri()).ok()?;
            let body = serde_json::from_slice(request.body()).ok()?;
            let canonical = protocol.canonical(&target, body).ok()?;
            let chat = target.endpoint == Endpoint::Chat;
            chat.then(|| ChatResponse::new(String::new(), &target, &canonical, 0, &self.settings).ok())?
        };
        response().map(ChatResponse::texts).unwrap_or_default()
    }

    fn authorize(&self, key: Option<String>) -> Result<(), Refusal> {
        let key = key.ok_or_else(Refusal::no_key)?;
        match &self.settings.keys {
            Some(keys) if !keys.contains(&key) => Err(Refusal::unknown_key()),
            _ => Ok(()),
        }
    }

    /// Returns the response to a call that exceeds the limit of its client's address; `None` if the call is admitted.
    fn refused_by_address(&mut self, incoming: &Incoming<'_>) -> Option<Draft> {
        let ClientAddress(address) = incoming.request.extensions().get().copied()?;
        let limited = self.limiter.admit_from(incoming.now, incoming.call, &incoming.key, address).err()?;
        self.limited.push(*limited);
        Some(throttled())
    }

    /// Admits a call under the limits of its key and of the key's organisations, or returns its refusal.
    fn admit(
        &mut self,
        incoming: &Incoming<'_>,
        endpoint: Endpoint,
        canonical: &CanonicalRequest,
        cached: u64,
    ) -> Result<(), Refusal> {
        let demand = match endpoint {
            Endpoint::Chat => chat_demand(&canonical.body, cached),
            Endpoint::Embeddings => {
                Demand { input: tokens::embedding_input(&canonical.body["input"]), ..Demand::default() }
            }
            Endpoint::Count | Endpoint::Models => return Ok(()),
        };
        let demand = Demand { model: incoming.model(), ..demand };
        self.limiter.admit(incoming.now, incoming.call, &incoming.key, &demand).map_err(|limited| {
            let format = incoming.protocol.format();
            let form = match (format, self.settings.flavor) {
                (Format::OpenAi, Flavor::OpenAi | Flavor::Azure) => RetryForm::Both,
                _ => RetryForm::Seconds,
            };
            let refusal = Refusal::over(&limited, limited.limit.code(format), form);
            self.limited.push(*limited);
            refusal
        })
    }

    fn fault(
        &mut self,
        incoming: &Incoming<'_>,
        canonical: Option<&CanonicalRequest>,
        target: &Target,
    ) -> Option<Fault> {
        if self.rules.is_empty() {
            return None;
        }
        let raw = || String::from_utf8_lossy(incoming.request.body()).into_owned();
        let prompt = canonical.map_or_else(raw, |canonical| openai::prompt_text(&canonical.body));
        let named = canonical.and_then(|canonical| canonical.body["model"].as_str());
        let model = named.or(target.model.as_deref()).unwrap_or_default();
        self.rules.next(&CallTraits { prompt: &prompt, key: &incoming.key, model })
    }

    /// Returns the replacement of a response, for faults that replace the whole response; `None` for other faults.
    fn replacement(&self, incoming: &Incoming<'_>, fault: &Fault) -> Option<Draft> {
        match fault {
            Fault::RateLimited { retry_after, form, code } => {
                Some(self.refused(incoming, &Refusal::limited(code, *retry_after, *form)))
            }
            Fault::Refused(kind) => Some(self.refused(incoming, &Refusal::of_kind(*kind))),
            Fault::Filtered => Some(self.refused(incoming, &incoming.protocol.filtered()?)),
            Fault::Response(response) => {
                let draft = plain(response.status(), response.body().clone());
                Some(Draft { headers: response.headers().clone(), limits: self.settings.limits, ..draft })
            }
            Fault::Html => {
                let page = Bytes::from_static(b"<!DOCTYPE html>\n<html><body><h1>Welcome</h1></body></html>\n");
                Some(Draft { headers: content_type("text/html; charset=utf-8"), ..plain(StatusCode::OK, page) })
            }
            Fault::Throttled => Some(throttled()),
            Fault::Reset => {
                let mut draft = plain(StatusCode::OK, Bytes::new());
                draft.reply.head = Head::Reset(Duration::ZERO);
                Some(draft)
            }
            _ => None,
        }
    }

    fn refused(&self, incoming: &Incoming<'_>, refusal: &Refusal) -> Draft {
        let (status, body) = incoming.protocol.refuse(refusal, &incoming.request_id);
        let mut draft = plain(status, body.to_string().into());
        draft.headers = content_type(incoming.protocol.content_type(false, false));
        incoming.protocol.refusal_headers(&mut draft.headers, refusal, (self.settings.wall)());
        if let Cause::Limited { code, retry_after, .. } = &refusal.cause {
            let limits = self.settings.limits;
            let scripted = self.limiter.is_open();
            let spent = scripted && matches!(code.as_str(), "rate_limit_exceeded" | "requests_per_day");
            draft.limits = if spent { limits.map(|limits| limits.refused(*retry_after)) } else { limits };
        }
        draft
    }

    fn models(&self, protocol: &dyn Protocol) -> Bytes {
        let names: Vec<&str> = match &self.settings.models {
            Some(models) => models.iter().map(String::as_str).collect(),
            None => vec!["simulated"],
        };
        protocol.models(&names).to_string().into()
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
            .protocol
            .headers(&mut headers, &HeaderContext { request_id, taken, limits: draft.limits.as_ref(), input, wall });
        if let (true, Some(name)) = (self.settings.states_organisation, self.limiter.organisation(&incoming.key)) {
            let header = match incoming.protocol.format() {
                Format::OpenAi => Some("openai-organization"),
                Format::Anthropic => Some("anthropic-organization-id"),
                Format::Gemini => None,
            };
            if let (Some(header), Ok(name)) = (header, HeaderValue::try_from(name)) {
                headers.insert(header, name);
            }
        }
        if let Some(length) = draft.reply.length {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        // NOTE: the iterator of a header map yields a name only for the first of its values, so each name is replaced
        // with all of its values.
        for name in draft.headers.keys() {
            headers.remove(name);
            for value in draft.headers.get_all(name) {
                headers.append(name.clone(), value.clone());
            }
        }
        headers
    }
}

/// Returns a bare 429, as from a proxy in front of the vendor.
fn throttled() -> Draft {
    let body = Bytes::from_static(b"too many requests\n");
    Draft { headers: content_type("text/plain"), ..plain(StatusCode::TOO_MANY_REQUESTS, body) }
}

/// Returns the amounts of a chat that limits count. `cached` tokens of its prompt are read from a cache.
fn chat_demand(body: &Value, cached: u64) -> Demand {
    let most = body["max_completion_tokens"].as_u64().or(body["max_tokens"].as_u64()).unwrap_or(0);
    let choices = body["n"].as_u64().unwrap_or(1);
    Demand { input: tokens::chat_input(body), cached, most_output: most.saturating_mul(choices), ..Demand::default() }
}

/// Returns a response that is not streamed, has no delay and costs nothing.
fn plain(status: StatusCode, bytes: Bytes) -> Draft {
    let length = Some(bytes.len());
    let frames = if bytes.is_empty() { Vec::new() } else { vec![Frame { at: Duration::ZERO, bytes, tokens: 0 }] };
    let reply = PlannedResponse {
        frames,
        head: Head::At(Duration::ZERO),
        end: End::Done,
        streamed: false,
        length,
        charge: None,
    };
    Draft { status, headers: content_type("application/json"), reply, limits: None }
}

fn content_type(kind: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(kind))])
}
