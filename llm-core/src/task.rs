use std::task::{Context, Poll};

use tower_service::Service;

use crate::{
    Call, Charge, ChatRequest, ChatResponse, ChatStream, EmbedRequest, Embeddings, Error, Operation,
    future::ResponseFuture,
    llm_service::{LlmService, oneshot},
    operation::Streamed,
};

/// An operation that a chat model can answer: how to ask, and how to read what it says.
pub trait Task: Operation {
    /// The question for the model.
    fn ask(&self) -> ChatRequest;

    /// Reads the model's answer.
    ///
    /// # Errors
    ///
    /// The answer is not what was asked for.
    fn read(&self, answer: ChatResponse) -> Result<Self::Output, Error>;
}

/// Puts users' own operations on top of a chat model. Stands at the bottom of a stack, right above the client; chat,
/// streamed chat and embeddings pass through.
///
/// Always ready; each call waits for its own clone of the inner service. Clones are as cheap as the inner service's.
#[derive(Clone, Debug)]
pub struct Tasks<S> {
    inner: S,
}

impl<S> Tasks<S> {
    /// Puts tasks on top of `inner`.
    pub fn new(inner: S) -> Self {
        Self { inner }
    }
}

impl<T: Task, S: LlmService<ChatRequest>> Service<Call<T>> for Tasks<S> {
    type Response = crate::Reply<T::Output>;
    type Error = Error;
    type Future = ResponseFuture<T::Output>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: Call<T>) -> Self::Future {
        let (inner, task) = (self.inner.clone(), call.body.clone());
        ResponseFuture::waiting(async move {
            let reply = oneshot(inner, call.map(|task| task.ask())).await?;
            let usage = reply.receipt.usage();
            // An answer that cannot be read was paid all the same.
            reply.try_map(|answer| task.read(answer)).map_err(|error| match (error.charge(), usage) {
                (Charge::None, Some(usage)) => error.with_charge(Charge::Known(usage)),
                (Charge::None, None) => error.with_charge(Charge::Unknown),
                _ => error,
            })
        })
    }
}

// `Task` is ours and none of these is one, so this does not overlap with the impl above.
macro_rules! pass_through {
    ($($operation:ty => $output:ty),*) => { $(
        impl<S: LlmService<$operation>> Service<Call<$operation>> for Tasks<S> {
            type Response = crate::Reply<$output>;
            type Error = Error;
            type Future = ResponseFuture<$output>;

            fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
                Poll::Ready(Ok(()))
            }

            fn call(&mut self, call: Call<$operation>) -> Self::Future {
                ResponseFuture::waiting(oneshot(self.inner.clone(), call))
            }
        }
    )* };
}

pass_through!(ChatRequest => ChatResponse, Streamed<ChatRequest> => ChatStream, EmbedRequest => Embeddings);
