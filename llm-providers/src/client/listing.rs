//! Token counts and lists of models, which no vendor charges.

use std::{sync::Arc, time::Instant};

use llm_core::{Call, Charge, ChatRequest, Error, ErrorKind};

use super::{exchange::JSON, setup::Client};
use crate::{
    protocol::{EncodedRequest, Model, VendorProtocol},
    telemetry::CallSpan,
    transport::Transport,
};

/// Largest number of pages of a list that are read.
const PAGES: usize = 100;

impl<W: VendorProtocol, T: Transport> Client<W, T> {
    /// Requests the number of input tokens of a chat request from the vendor, and waits for it until `deadline` at the
    /// latest. Vendors do not charge this request, but limit its rate.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] if the vendor does not count tokens. Otherwise the errors of a chat call.
    pub async fn count_tokens(&self, request: &ChatRequest, deadline: Option<Instant>) -> Result<u64, Error> {
        let (span, protocol) =
            (CallSpan::open("count_tokens", &self.config.name, &request.model), &self.config.protocol);
        span.run(async {
            let encoded = protocol.count(request)?;
            self.fetch(&request.model, deadline, encoded, |bytes| protocol.read_count(bytes)).await
        })
        .await
    }

    /// Returns all models that the vendor lists for this key, and waits for them until `deadline` at the latest.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] if the vendor has no list; [`ErrorKind::Malformed`] if it has more than a hundred
    /// pages. Otherwise the errors of any request to the vendor.
    pub async fn models(&self, deadline: Option<Instant>) -> Result<Vec<Model>, Error> {
        CallSpan::open("list_models", &self.config.name, "").run(self.pages(deadline)).await
    }

    async fn pages(&self, deadline: Option<Instant>) -> Result<Vec<Model>, Error> {
        let (protocol, model) = (&self.config.protocol, Arc::default());
        let (mut models, mut page) = (Vec::new(), None::<String>);
        for _ in 0..PAGES {
            let encoded = protocol.models(page.as_deref())?;
            let (more, next) = self.fetch(&model, deadline, encoded, |bytes| protocol.read_models(bytes)).await?;
            models.extend(more);
            if next.is_some() && next == page {
                return Err(Error::new(ErrorKind::Malformed, "the list of models goes round in a circle"));
            }
            page = next;
            if page.is_none() {
                return Ok(models);
            }
        }
        Err(Error::new(ErrorKind::Malformed, format!("the list of models does not end within {PAGES} pages")))
    }

    async fn fetch<A>(
        &self,
        model: &Arc<str>,
        deadline: Option<Instant>,
        encoded: EncodedRequest,
        read: impl FnOnce(&[u8]) -> Result<A, Error>,
    ) -> Result<A, Error> {
        // Vendors do not charge for lists, so no layer needs to know if the request was sent.
        let mut call = Call::new("", ());
        call.deadline = deadline;
        let response = async {
            let (head, body) = self.exchange(&call, model, JSON, encoded).await?;
            self.read(&head, body, read).await
        };
        response.await.map_err(|error| error.with_charge(Charge::None))
    }
}
