//! Sending of a request, and the head of its response.

use std::sync::Arc;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Request, Response,
    header::{ACCEPT, CONTENT_TYPE},
};
use http_body::Body;
use llm_core::{
    BoxError, Call, Charge, Clock, Error, ErrorKind, Receipt,
    layer::{Accounting, MemberId, Pinned, Unread, VendorLimits},
};
use secrecy::{ExposeSecret, SecretString};

use super::{
    body::{self, read_refusal},
    setup::{Client, Config},
};
use crate::{
    deadline::Deadline,
    protocol::{
        Decoded, EncodedRequest, VendorProtocol, clean,
        error::{ErrorBody, may_pass},
        redact,
        wait::stated_wait,
    },
    transport::{Transport, with_cause},
};

/// Head of a successful response.
pub(super) struct Head {
    pub(super) headers: HeaderMap,
    /// Accounting data that the head states, before the body is read.
    accounting: Accounting,
    pub(super) limits: Option<Arc<VendorLimits>>,
    pub(super) deadline: Deadline,
    clock: Arc<dyn Clock>,
    /// Secrets, which are removed from messages of errors inside the response.
    secrets: Vec<SecretString>,
}

/// Content type of a complete response, for the header `accept`.
pub(super) const JSON: &str = "application/json";
pub(super) const EVENTS: &str = "text/event-stream";

/// Returns the remedy for an unread option of a call, if the option forbids to send the call.
fn way_out(unread: Unread) -> Option<&'static str> {
    match unread {
        Unread::Refused { way_out } => Some(way_out),
        _ => None,
    }
}

impl<W: VendorProtocol, T: Transport> Client<W, T> {
    /// Records the vendor's name on the call, for the layers above. Returns an error if the call has an option that
    /// only a missing layer could serve.
    pub(super) fn accept<B>(&self, call: &Call<B>) -> Result<(), Error> {
        call.set_vendor(&self.config.name);
        let message = match call.extensions.get::<Pinned>() {
            // A call whose `Pinned` was read by a layer other than a key pool is refused too.
            Some(pinned) if call.extensions.get::<MemberId>().is_none() => {
                let group = pinned.group();
                format!(
                    "the call is pinned to the group {group:?} of a key pool, and there is no pool above this client: put a \
                     llm_keypool::KeyPool with that group there, or send the call without `Pinned`"
                )
            }
            _ => match call.extensions.unread_options().find_map(way_out) {
                Some(way_out) => format!("the call has an option that no layer above this client reads: {way_out}"),
                None => return Ok(()),
            },
        };
        Err(Error::new(ErrorKind::Unsupported, message))
    }

    /// Sends a request, and waits for the head of the response.
    pub(super) async fn exchange<B>(
        &self,
        call: &Call<B>,
        model: &Arc<str>,
        accept: &'static str,
        encoded: EncodedRequest,
    ) -> Result<(Head, T::Body), Error> {
        let deadline = Deadline::of(call);
        deadline.check()?;
        let request = self.config.request(encoded, accept)?;
        let mut transport = self.transport.clone();
        let ready = deadline.bound(transport.ready()).await.map_err(|error| error.with_charge(Charge::None))?;
        ready.map_err(|error| adopt(error).with_charge(Charge::None))?;
        call.mark_sent();
        let response = deadline.bound(transport.send(request)).await?.map_err(adopt)?;
        let (parts, body) = response.into_parts();
        let limits = self.config.protocol.limits(&parts.headers, model, self.config.clock.now()).map(Arc::new);
        if parts.status.is_success() {
            let mut accounting = Accounting::default();
            accounting.provider = Some(Arc::clone(&self.config.name));
            accounting.model = Some(Arc::clone(model));
            accounting.request_id = self.config.protocol.request_id(&parts.headers).map(Arc::from);
            accounting.surcharges = self.config.protocol.surcharges(self.config.base_url.host());
            let secrets = self.config.secrets();
            let clock = Arc::clone(&self.config.clock);
            return Ok((Head { headers: parts.headers, accounting, limits, deadline, clock, secrets }, body));
        }
        let response = Response::from_parts(parts, body);
        Err(self.refusal(response, limits, &deadline).await)
    }

    /// Reads a complete response.
    pub(super) async fn read<A>(
        &self,
        head: &Head,
        body: impl Body<Data = Bytes, Error: Into<BoxError>>,
        decode: impl FnOnce(&[u8]) -> Result<A, Error>,
    ) -> Result<A, Error> {
        let most = self.config.max_body_bytes;
        let decoded = match head.deadline.bound(body::read(body, most)).await {
            Ok(Ok(bytes)) => decode(&bytes).map_err(|error| head.with_wait(error, &bytes)),
            Ok(Err(error)) | Err(error) => Err(error),
        };
        decoded.map_err(|error| head.blame(error))
    }

    async fn refusal(
        &self,
        response: Response<T::Body>,
        limits: Option<Arc<VendorLimits>>,
        deadline: &Deadline,
    ) -> Error {
        let (parts, body) = response.into_parts();
        // If the deadline passes while the body is read, the error is created from the status and the headers.
        let body = deadline.bound(read_refusal(body)).await.unwrap_or_default();
        let (now, key) = (self.config.clock.now(), self.config.key());
        let error =
            scrub(self.config.protocol.classify(parts.status, &parts.headers, &body, now, key), &self.config.secrets());
        match limits {
            Some(limits) => error.with_limits(limits),
            None => error,
        }
    }
}

impl Head {
    /// Returns a receipt with the accounting data that the head of the response states.
    pub(super) fn receipt(&self) -> Receipt {
        Receipt::new(self.accounting.clone())
    }

    /// Returns the surcharges of this host and those that the response states.
    pub(super) fn surcharges(&self, stated: &[Arc<str>]) -> Vec<Arc<str>> {
        let mut all = self.accounting.surcharges.clone();
        add(&mut all, stated);
        all
    }

    /// Adds the waiting time to an error inside the response, if waiting may help. `text` is the body or the event with
    /// the error. It or the headers state the time.
    pub(super) fn with_wait(&self, error: Error, text: &[u8]) -> Error {
        if !may_pass(error.kind()) {
            return error;
        }
        match stated_wait(&self.headers, &ErrorBody::read(text).waits(), self.clock.now()) {
            Some(wait) => error.with_retry_after(wait),
            None => error,
        }
    }

    /// Adds status, request id, limits and accounting data of the response to an error that it caused.
    pub(super) fn blame(&self, error: Error) -> Error {
        let mut accounting = self.accounting.clone();
        if let Some(stated) = error.accounting() {
            accounting.model = stated.model.clone().or(accounting.model);
            accounting.usage_so_far = stated.usage_so_far;
            accounting.service_tier.clone_from(&stated.service_tier);
            accounting.surcharges = self.surcharges(&stated.surcharges);
            accounting.side_calls.clone_from(&stated.side_calls);
            accounting.unusable_usage.clone_from(&stated.unusable_usage);
            accounting.cost = stated.cost;
        }
        let error = scrub(error, &self.secrets).with_accounting(accounting);
        let error = match &self.accounting.request_id {
            Some(id) => error.with_request_id(Arc::clone(id)),
            None => error,
        };
        match &self.limits {
            Some(limits) => error.with_limits(Arc::clone(limits)),
            None => error,
        }
    }

    /// Returns `true` if the response states this content type, such as `json`.
    pub(super) fn is(&self, kind: &str) -> bool {
        let said = self.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        said.to_ascii_lowercase().contains(kind)
    }
}

/// Removes secrets from an error's message, because vendors may repeat secrets in their messages.
fn scrub(error: Error, secrets: &[SecretString]) -> Error {
    let scrubbed = |text: &str| {
        let known = secrets.iter().map(ExposeSecret::expose_secret);
        let clean = known.fold(text.to_owned(), |text, secret| clean(&text, Some(secret)));
        let clean = redact(&clean, None);
        (clean != text).then_some(clean)
    };
    let (message, code) = (scrubbed(error.message()), error.code().and_then(scrubbed));
    let id = error.request_id().and_then(scrubbed);
    let error = message.into_iter().fold(error, Error::with_message);
    let error = code.into_iter().fold(error, Error::with_code);
    id.into_iter().fold(error, Error::with_request_id)
}

impl<W> Config<W> {
    fn request(&self, encoded: EncodedRequest, accept: &'static str) -> Result<Request<Bytes>, Error> {
        let EncodedRequest { method, path, headers, body } = encoded;
        let uri = self.base_url.below(&path)?;
        let with_body = !body.is_empty();
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        for (name, value) in &self.headers {
            request.headers_mut().insert(name, value.clone());
        }
        request.headers_mut().entry(ACCEPT).or_insert(HeaderValue::from_static(accept));
        if with_body {
            request.headers_mut().entry(CONTENT_TYPE).or_insert(HeaderValue::from_static(JSON));
        }
        Ok(request)
    }
}

/// Writes the values that a complete response states to the receipt.
pub(super) fn settle<A>(receipt: &Receipt, model: &Arc<str>, decoded: &Decoded<A>) {
    receipt.edit(|accounting| {
        if !model.is_empty() {
            accounting.model = Some(Arc::clone(model));
        }
        accounting.usage = decoded.usage;
        accounting.service_tier.clone_from(&decoded.service_tier);
        accounting.side_calls.clone_from(&decoded.side_calls);
        accounting.unusable_usage.clone_from(&decoded.unusable_usage);
        accounting.cost = decoded.billed;
        add(&mut accounting.surcharges, &decoded.surcharges);
    });
}

/// Adds the `stated` surcharges that are not in `known` yet.
fn add(known: &mut Vec<Arc<str>>, stated: &[Arc<str>]) {
    for way in stated {
        if !known.contains(way) {
            known.push(Arc::clone(way));
        }
    }
}

fn adopt(error: BoxError) -> Error {
    match error.downcast::<Error>() {
        Ok(error) => *error,
        Err(foreign) => Error::new(ErrorKind::Transport, with_cause("the connection to the vendor failed", &*foreign))
            .with_charge(Charge::Unknown)
            .with_source(foreign),
    }
}
