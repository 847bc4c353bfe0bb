//! One request and the head of its answer.

use std::sync::Arc;

use bytes::Bytes;
use http::{
    HeaderMap, Method, Request, Response, Uri,
    header::{ACCEPT, CONTENT_TYPE},
};
use llm_core::{BoxError, Call, Charge, Error, ErrorKind, Facts, Receipt, Usage, VendorLimits};

use super::{
    body::{self, read_refusal},
    client::{Config, OpenAi},
    codec::{Decoded, classify, request_id, vendor_limits},
};
use crate::{deadline::Deadline, transport::Transport};

/// The head of an answer that is no refusal.
pub(super) struct Head {
    pub(super) headers: HeaderMap,
    pub(super) limits: Option<Arc<VendorLimits>>,
    pub(super) deadline: Deadline,
}

/// What is asked: where, and in which form the answer should come.
pub(super) struct Question<'a> {
    pub(super) uri: &'a Uri,
    pub(super) accept: &'static str,
    pub(super) model: &'a Arc<str>,
    pub(super) body: Bytes,
}

impl<T: Transport> OpenAi<T> {
    /// Sends a request, and waits for the head of the answer.
    pub(super) async fn exchange<B>(&self, call: &Call<B>, question: Question<'_>) -> Result<(Head, T::Body), Error> {
        let deadline = Deadline::of(call);
        deadline.check()?;
        let Question { uri, accept, model, body } = question;
        let request = self.config.request(uri, accept, body);
        let mut transport = self.transport.clone();
        let ready = deadline.bound(transport.ready()).await.map_err(|error| error.with_charge(Charge::None))?;
        ready.map_err(|error| adopt(error).with_charge(Charge::None))?;
        call.mark_sent();
        let answer = deadline.bound(transport.send(request)).await?.map_err(adopt)?;
        let (parts, body) = answer.into_parts();
        let limits = vendor_limits(&parts.headers, model).map(Arc::new);
        if parts.status.is_success() {
            return Ok((Head { headers: parts.headers, limits, deadline }, body));
        }
        let answer = Response::from_parts(parts, body);
        Err(self.refusal(answer, limits, deadline).await)
    }

    /// Reads a whole answer.
    pub(super) async fn read<A>(
        &self,
        head: &Head,
        body: T::Body,
        decode: impl FnOnce(&[u8]) -> Result<Decoded<A>, Error>,
    ) -> Result<Decoded<A>, Error> {
        let most = self.config.max_body_bytes;
        let decoded = match head.deadline.bound(body::read(body, most)).await {
            Ok(Ok(bytes)) => decode(&bytes),
            Ok(Err(error)) | Err(error) => Err(error),
        };
        decoded.map_err(|error| head.blame(error))
    }

    /// What is known of an answer at its head.
    pub(super) fn receipt(&self, head: &Head, model: &Arc<str>) -> Receipt {
        let mut facts = Facts::default();
        facts.provider = Some(Arc::clone(&self.config.name));
        facts.model = Some(Arc::clone(model));
        facts.request_id = request_id(&head.headers).map(Arc::from);
        Receipt::new(facts)
    }

    async fn refusal(&self, answer: Response<T::Body>, limits: Option<Arc<VendorLimits>>, deadline: Deadline) -> Error {
        let (parts, body) = answer.into_parts();
        // The status alone says what matters, should the deadline pass meanwhile.
        let body = deadline.bound(read_refusal(body)).await.unwrap_or_default();
        let error = classify(parts.status, &parts.headers, &body, self.config.clock.now(), self.config.key());
        match limits {
            Some(limits) => error.with_limits(limits),
            None => error,
        }
    }
}

impl Head {
    /// Adds to an error what is known of the answer that it is about.
    pub(super) fn blame(&self, error: Error) -> Error {
        let error = match request_id(&self.headers) {
            Some(id) => error.with_request_id(id),
            None => error,
        };
        match &self.limits {
            Some(limits) => error.with_limits(Arc::clone(limits)),
            None => error,
        }
    }

    /// Whether the answer says that it is of this kind, such as `json`.
    pub(super) fn is(&self, kind: &str) -> bool {
        let said = self.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        said.to_ascii_lowercase().contains(kind)
    }
}

impl Config {
    fn request(&self, uri: &Uri, accept: &'static str, body: Bytes) -> Request<Bytes> {
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri.clone();
        *request.headers_mut() = self.headers.clone();
        request.headers_mut().entry(ACCEPT).or_insert(http::HeaderValue::from_static(accept));
        request
    }
}

/// Puts on the receipt what a whole answer told.
pub(super) fn settle(receipt: &Receipt, model: &Arc<str>, usage: Option<Usage>, tier: Option<Arc<str>>) {
    receipt.edit(|facts| {
        if !model.is_empty() {
            facts.model = Some(Arc::clone(model));
        }
        facts.usage = usage;
        facts.service_tier = tier;
    });
}

fn adopt(error: BoxError) -> Error {
    match error.downcast::<Error>() {
        Ok(error) => *error,
        Err(foreign) => Error::new(ErrorKind::Transport, "the connection to the vendor failed")
            .with_charge(Charge::Unknown)
            .with_source(foreign),
    }
}
