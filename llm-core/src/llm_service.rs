use std::future::{Future, poll_fn};

use tower_service::Service;

use crate::{Call, Error, Operation, Reply};

/// A tower service of one operation: one bound instead of five.
///
/// Every tower service of that form is one, so that there is nothing to implement. Its error may be a box, so that tower's
/// own layers can stand between.
pub trait LlmService<T: Operation>:
    Service<Call<T>, Response = Reply<T::Output>, Error: Into<Error>, Future: Send> + Clone + Send + 'static
{
}

impl<T: Operation, S> LlmService<T> for S where
    S: Service<Call<T>, Response = Reply<T::Output>, Error: Into<Error>, Future: Send> + Clone + Send + 'static
{
}

/// Sends one call: waits until the service is ready, then calls that same instance.
///
/// ```
/// use llm_core::{Call, ChatRequest, ChatResponse, Error, Receipt, Reply, layer::oneshot};
///
/// # tokio_test::block_on(async {
/// let service = tower::service_fn(|call: Call<ChatRequest>| async move {
///     Ok::<_, Error>(Reply::new(ChatResponse::new("1", call.body.model, vec![]), Receipt::default()))
/// });
/// let reply = oneshot(service, Call::new("acme", ChatRequest::new("m"))).await?;
/// assert_eq!(&*reply.output.model, "m");
/// # Ok::<_, Error>(()) }).unwrap();
/// ```
///
/// # Errors
///
/// As the service, from readiness or from the call.
pub fn oneshot<T: Operation, S: LlmService<T>>(
    service: S,
    call: Call<T>,
) -> impl Future<Output = Result<Reply<T::Output>, Error>> + Send {
    // A block holds each argument once, an async function twice.
    let mut service = service;
    async move {
        poll_fn(|cx| service.poll_ready(cx)).await.map_err(Into::into)?;
        service.call(call).await.map_err(Into::into)
    }
}
