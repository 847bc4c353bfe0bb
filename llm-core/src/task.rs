use tower_service::Service;

use crate::{
    Call, Charge, ChatRequest, ChatResponse, ChatStream, EmbedRequest, Embeddings, Error, Operation,
    future::ResponseFuture,
    layer::always_ready,
    llm_service::{LlmService, oneshot},
    operation::Streamed,
};

/// Operation of an application that a chat model answers.
///
/// ```
/// use llm_core::{ChatRequest, ChatResponse, Error, ErrorKind, Operation, Task, layer::Fingerprinter};
///
/// #[derive(Clone)]
/// struct CountWords { text: String }
///
/// impl Operation for CountWords {
///     type Output = u32;
///     const NAME: &'static str = "count_words";
///     fn model(&self) -> &str { "gpt-4o-mini" }
///     fn fingerprint(&self, h: &mut Fingerprinter) { h.text(&self.text); }
/// }
///
/// impl Task for CountWords {
///     fn to_request(&self) -> ChatRequest {
///         ChatRequest::new(self.model()).system("Count the words.").user(&*self.text)
///     }
///     fn parse_response(&self, response: ChatResponse) -> Result<u32, Error> {
///         response.text().trim().parse().map_err(|_| Error::new(ErrorKind::Malformed, "no number"))
///     }
/// }
/// ```
pub trait Task: Operation {
    /// Returns the chat request that is sent to the model.
    fn to_request(&self) -> ChatRequest;

    /// Parses the model's response.
    ///
    /// # Errors
    ///
    /// Returns an error if the response does not have the form that the request asks for.
    fn parse_response(&self, response: ChatResponse) -> Result<Self::Output, Error>;
}

/// Service that answers [`Task`]s by a chat model. Put this service at the bottom of a stack, right above the client.
/// Calls of chat, streamed chat and embeddings pass through unchanged.
///
/// ```
/// use std::sync::Arc;
/// use llm_core::{Provider, Tasks, into_service};
///
/// # fn example(client: Arc<dyn Provider>) {
/// let service = tower::ServiceBuilder::new().layer_fn(Tasks::new).service(into_service(client));
/// # drop(service);
/// # }
/// ```
///
/// The service is always ready; each call waits for its own clone of the inner service. A clone costs as much as a
/// clone of the inner service.
#[derive(Clone, Debug)]
pub struct Tasks<S> {
    inner: S,
}

impl<S> Tasks<S> {
    /// Creates a service on top of `inner`.
    pub fn new(inner: S) -> Self {
        Self { inner }
    }
}

impl<T: Task, S: LlmService<ChatRequest>> Service<Call<T>> for Tasks<S> {
    always_ready!(T::Output);

    fn call(&mut self, call: Call<T>) -> Self::Future {
        let (inner, task) = (self.inner.clone(), call.body.clone());
        ResponseFuture::waiting(async move {
            let reply = oneshot(inner, call.map(|task| task.to_request())).await?;
            let receipt = reply.receipt.clone();
            // The error has the charge of the response, because a response that cannot be parsed is charged too.
            reply.try_map(|response| task.parse_response(response)).map_err(|error| match error.charge() {
                Charge::None => error.with_response(&receipt.accounting()),
                _ => error,
            })
        })
    }
}

// `Task` is a trait of this crate that none of these types implements, so this impl does not overlap with the one
// above.
macro_rules! pass_through {
    ($($operation:ty => $output:ty),*) => { $(
        impl<S: LlmService<$operation>> Service<Call<$operation>> for Tasks<S> {
            always_ready!($output);

            fn call(&mut self, call: Call<$operation>) -> Self::Future {
                ResponseFuture::waiting(oneshot(self.inner.clone(), call))
            }
        }
    )* };
}

pass_through!(ChatRequest => ChatResponse, Streamed<ChatRequest> => ChatStream, EmbedRequest => Embeddings);
