//! Vendor of embeddings that counts its requests.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use llm_core::{
    Call, Charge, EmbedInput, EmbedRequest, Embeddings, Error, ErrorKind, Receipt, Reply, Usage, Usd, layer::Accounting,
};
use tokio::time::sleep;
use tower::{service_fn, util::BoxCloneService};

pub(crate) const MS: Duration = Duration::from_millis(1);
/// Duration of one request.
pub(crate) const LATENCY: Duration = Duration::from_millis(100);

pub(crate) type Service = BoxCloneService<Call<EmbedRequest>, Reply<Embeddings>, Error>;

/// Texts of each request, in order of arrival.
#[derive(Clone, Default)]
pub(crate) struct Requests(Arc<Mutex<Vec<Vec<String>>>>);

impl Requests {
    pub(crate) fn all(&self) -> Vec<Vec<String>> {
        self.0.lock().expect("no test panics holding it").clone()
    }

    pub(crate) fn sizes(&self) -> Vec<usize> {
        self.all().iter().map(Vec::len).collect()
    }

    /// Returns a vendor that answers after [`LATENCY`], or fails with the error that `refuse` returns for the texts.
    pub(crate) fn vendor(
        &self,
        refuse: impl Fn(&[String]) -> Option<Error> + Clone + Send + Sync + 'static,
    ) -> Service {
        let requests = self.clone();
        BoxCloneService::new(service_fn(move |call: Call<EmbedRequest>| {
            let (requests, refuse) = (requests.clone(), refuse.clone());
            async move {
                call.mark_sent();
                let texts = texts(&call.body);
                requests.0.lock().expect("no test panics holding it").push(texts.clone());
                sleep(LATENCY).await;
                match refuse(&texts) {
                    Some(error) => Err(error),
                    None => Ok(embeddings(&texts)),
                }
            }
        }))
    }

    pub(crate) fn kind(&self) -> Service {
        self.vendor(|_| None)
    }
}

pub(crate) fn texts(request: &EmbedRequest) -> Vec<String> {
    let text = |input: &EmbedInput| match input {
        EmbedInput::Text(text) => text.to_string(),
        EmbedInput::Tokens(tokens) => format!("{tokens:?}"),
    };
    request.inputs.iter().map(text).collect()
}

/// Returns a vector that identifies the text.
pub(crate) fn vector(text: &str) -> f32 {
    text.bytes().fold(7_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()) % 65_521) as f32
}

/// Returns the embeddings of texts. Each text takes as many tokens as it has bytes, and a token costs 3 nano-dollars.
pub(crate) fn embeddings(texts: &[String]) -> Reply<Embeddings> {
    let tokens = texts.iter().map(String::len).sum::<usize>() as u64;
    let vectors = texts.iter().map(|text| Arc::from([vector(text)].as_slice())).collect();
    let mut accounting = Accounting::default();
    accounting.usage = Some(Usage::new(tokens, 0));
    accounting.cost = Some(Usd::from_nanos(3 * tokens as i64));
    Reply::new(Embeddings::new("m", vectors), Receipt::new(accounting))
}

pub(crate) fn call(text: impl Into<Arc<str>>) -> Call<EmbedRequest> {
    Call::new("acme", EmbedRequest::new("m", [text]))
}

pub(crate) fn first(reply: &Result<Reply<Embeddings>, Error>) -> f32 {
    reply.as_ref().expect("it was answered").output.vectors[0][0]
}

pub(crate) fn invalid() -> Error {
    Error::invalid("a text is bad")
}

pub(crate) fn outage() -> Error {
    Error::new(ErrorKind::Server, "it broke").with_charge(Charge::Unknown)
}
