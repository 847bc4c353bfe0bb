use std::future::poll_fn;

use tower_service::Service;

use crate::{Call, Error, Operation, Reply};

/// A service that answers one operation: one bound instead of five.
///
/// Every tower service of that form is one; there is nothing to implement. Its error may be a box, so tower's own layers
/// can stand between ours.
pub trait LlmService<T: Operation>:
    Service<Call<T>, Response = Reply<T::Output>, Error: Into<Error>, Future: Send> + Clone + Send + 'static
{
}

impl<T: Operation, S> LlmService<T> for S where
    S: Service<Call<T>, Response = Reply<T::Output>, Error: Into<Error>, Future: Send> + Clone + Send + 'static
{
}

/// Makes one call on a service of its own: waits until it is ready, then calls that same instance.
///
/// # Errors
///
/// What the service reports, from readiness or from the call.
pub async fn oneshot<T: Operation, S: LlmService<T>>(mut service: S, call: Call<T>) -> Result<Reply<T::Output>, Error> {
    poll_fn(|cx| service.poll_ready(cx)).await.map_err(Into::into)?;
    service.call(call).await.map_err(Into::into)
}
