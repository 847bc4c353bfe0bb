use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use tower_service::Service;

use crate::{Call, Error, Operation, Reply};

/// Bound for a tower service that serves one operation, in place of the five bounds that it implies.
///
/// Every tower service with these bounds implements the trait, so no impl has to be written. The service's error may be
/// a boxed error, so that tower's own layers can stand in the stack.
///
/// Two of tower's own layers cannot stand in a stack: the service of `rate_limit` cannot be cloned, and that of
/// `buffer` serves requests of one type. `concurrency_limit`, `load_shed` and `timeout` can. The compiler refuses these
/// two examples:
///
/// ```compile_fail,E0277
/// use std::time::Duration;
/// use llm_core::{Provider, into_provider, into_service};
///
/// # fn example(client: std::sync::Arc<dyn Provider>) {
/// let stack = tower::ServiceBuilder::new().rate_limit(5, Duration::from_secs(1)).service(into_service(client));
/// into_provider(stack);
/// # }
/// ```
///
/// ```compile_fail,E0277
/// use llm_core::{Call, ChatRequest, Provider, into_provider, into_service};
/// use tower::buffer::Buffer;
///
/// # fn example(client: std::sync::Arc<dyn Provider>) {
/// let stack = Buffer::<Call<ChatRequest>, _>::new(into_service(client), 8);
/// into_provider(stack);
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not serve `{T}`, so it cannot stand in a stack that does",
    label = "this service, or one below it, does not serve `{T}`",
    note = "an application's own operation implements `Task` and needs `.layer_fn(Tasks::new)` above the client",
    note = "tower's `rate_limit` cannot be cloned and its `buffer` serves requests of one type: take `concurrency_limit`, or the limits of llm-ratelimit",
    note = "a service is `Clone + Send + 'static`, returns `Reply<_>`, and its error becomes an `llm_core::Error`"
)]
pub trait LlmService<T: Operation>:
    Service<Call<T>, Response = Reply<T::Output>, Error: Into<Error>, Future: Send> + Clone + Send + 'static
{
}

// Without this message the compiler would name only the first of the five bounds that a service of the stack does not
// meet.
#[diagnostic::do_not_recommend]
impl<T: Operation, S> LlmService<T> for S where
    S: Service<Call<T>, Response = Reply<T::Output>, Error: Into<Error>, Future: Send> + Clone + Send + 'static
{
}

/// Sends one call: waits until `service` is ready, then calls that same instance.
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
/// Returns the service's error, from `poll_ready` or from the call.
pub fn oneshot<T: Operation, S: LlmService<T>>(service: S, call: Call<T>) -> Oneshot<T, S> {
    Oneshot { state: State::Waiting { service, call: Some(call) } }
}

pin_project! {
    /// Future of [`oneshot`]. The type is nameable, so that a layer's future can hold it without a box.
    #[must_use = "futures do nothing unless polled"]
    pub struct Oneshot<T, S>
    where
        S: Service<Call<T>>,
    {
        #[pin]
        state: State<T, S>,
    }
}

pin_project! {
    #[project = Projected]
    enum State<T, S>
    where
        S: Service<Call<T>>,
    {
        Waiting { service: S, call: Option<Call<T>> },
        Sent { #[pin] reply: S::Future },
    }
}

impl<T: Operation, S: LlmService<T>> Future for Oneshot<T, S> {
    type Output = Result<Reply<T::Output>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let reply = match state.as_mut().project() {
                Projected::Sent { reply } => return reply.poll(cx).map_err(Into::into),
                Projected::Waiting { service, call } => {
                    ready!(service.poll_ready(cx)).map_err(Into::into)?;
                    service.call(call.take().expect("polled after it failed"))
                }
            };
            state.set(State::Sent { reply });
        }
    }
}

impl<T, S: Service<Call<T>>> fmt::Debug for Oneshot<T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Oneshot")
    }
}
