use std::sync::Arc;

use llm_core::{
    Call, ChatRequest, ChatResponse, Error, Estimate, Operation,
    layer::{Fingerprinter, LlmService, ResponseFuture, always_ready, oneshot},
};
use tower_service::Service;

use super::{form::Form, packer::tokens, telemetry};

/// One prompt of a packed request, or all of them. It is an operation, so that `call_merged` can merge the prompts and
/// split the accounting.
#[derive(Clone)]
pub(super) struct Prompt {
    pub(super) form: Arc<Form>,
    /// Index of the item in the form; `None` for all items.
    pub(super) item: Option<usize>,
}

impl Operation for Prompt {
    /// Response to each item; `None` for an item without a usable response.
    type Output = Vec<Option<ChatResponse>>;

    const NAME: &'static str = "packed_chat";

    fn model(&self) -> &str {
        &self.form.request.model
    }

    /// Writes nothing, because no layer computes a key of this operation.
    fn fingerprint(&self, _: &mut Fingerprinter) {}

    /// Returns the estimate of the item without the frame. The accounting is split in proportion to these estimates.
    fn estimate(&self) -> Estimate {
        let item = self.item.map(|item| &self.form.items[item]);
        item.map_or_else(|| self.form.request.estimate(), |item| Estimate { input: tokens(item).1, ..item.estimate() })
    }

    fn item_count(&self) -> usize {
        if self.item.is_some() { 1 } else { self.form.items.len() }
    }

    fn merge(items: &[Self]) -> Option<Self> {
        Some(Self { form: Arc::clone(&items.first()?.form), item: None })
    }

    fn split(&self, whole: Vec<Option<ChatResponse>>) -> Result<Vec<Vec<Option<ChatResponse>>>, Error> {
        Ok(whole.into_iter().map(|response| vec![response]).collect())
    }
}

/// Service that sends a merged prompt as the chat request of its form, and reads the response.
#[derive(Clone)]
pub(super) struct Prompts<S>(pub(super) S);

impl<S: LlmService<ChatRequest>> Service<Call<Prompt>> for Prompts<S> {
    always_ready!(Vec<Option<ChatResponse>>);

    fn call(&mut self, call: Call<Prompt>) -> Self::Future {
        let form = Arc::clone(&call.body.form);
        let reply = oneshot(self.0.clone(), call.map(|prompt| prompt.form.request.clone()));
        ResponseFuture::waiting(async move {
            let reply = reply.await?;
            let answers = form.read(&reply.output);
            telemetry::read(&answers);
            Ok(reply.map(|_| answers.responses))
        })
    }
}
