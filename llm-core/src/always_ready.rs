/// Writes the part of a `tower::Service` impl that is the same in every service that is always ready: the types
/// `Response`, `Error` and `Future`, and the method `poll_ready`.
///
/// Put it into an `impl Service<Call<T>>`, beside the method `call`. Its argument is the type of the output. The future
/// is a [`ResponseFuture`](crate::layer::ResponseFuture), unless a second argument names another type. A layer reports
/// readiness at once, because it knows only from the call whether it needs the inner service. Its future then waits
/// until a clone of the inner service is ready ([`oneshot`](crate::layer::oneshot)).
///
/// ```
/// use llm_core::layer::{LlmService, ResponseFuture, always_ready, oneshot};
/// use llm_core::{Call, Operation, Priority, Reply, Error};
/// use tower_service::Service;
///
/// /// Sends calls as ones that no user waits for.
/// #[derive(Clone)]
/// struct InBackground<S>(S);
///
/// impl<T: Operation, S: LlmService<T>> Service<Call<T>> for InBackground<S> {
///     always_ready!(T::Output);
///
///     fn call(&mut self, call: Call<T>) -> Self::Future {
///         ResponseFuture::waiting(oneshot(self.0.clone(), call.with_priority(Priority::Background)))
///     }
/// }
/// ```
#[doc(hidden)]
#[macro_export]
macro_rules! __always_ready {
    ($output:ty) => {
        $crate::__always_ready!($output, $crate::layer::ResponseFuture<$output>);
    };
    ($output:ty, $future:ty) => {
        type Response = $crate::Reply<$output>;
        type Error = $crate::Error;
        type Future = $future;

        fn poll_ready(
            &mut self,
            _: &mut ::core::task::Context<'_>,
        ) -> ::core::task::Poll<::core::result::Result<(), $crate::Error>> {
            ::core::task::Poll::Ready(::core::result::Result::Ok(()))
        }
    };
}

/// Implements a tower service of the three built-in operations for a provider, so that it can stand at the bottom of a stack
/// without the box that [`into_service`](crate::into_service) needs for each call.
///
/// Its arguments are the generic parameters in brackets, the provider's type, two names (for the clone of the provider
/// and for the call), and for each operation one expression that creates its future.
///
/// ```
/// use llm_core::layer::provider_services;
/// use llm_core::{Call, ChatRequest, ChatResponse, ChatStream, EmbedRequest, Embeddings, Error, Output, Receipt, Reply};
///
/// /// Answers with the model's name.
/// #[derive(Clone)]
/// struct Parrot;
///
/// impl Parrot {
///     async fn chat(&self, call: Call<ChatRequest>) -> Result<ChatResponse, Error> {
///         Ok(ChatResponse::new("1", call.body.model, vec![]))
///     }
/// }
///
/// provider_services! {
///     [] Parrot, |parrot, call|
///     chat: async { Ok(Reply::new(parrot.chat(call).await?, Receipt::default())) },
///     chat_stream: async {
///         let response = parrot.chat(call).await?;
///         Ok(Reply::new(ChatStream::replay(response.into(), None), Receipt::default()))
///     },
///     embed: async { Ok(Reply::new(Embeddings::new(call.body.model, vec![]), Receipt::default())) },
/// }
///
/// let provider = llm_core::into_provider(Parrot);
/// ```
#[doc(hidden)]
#[macro_export]
macro_rules! __provider_services {
    ([$($generics:tt)*] $service:ty, |$provider:ident, $call:ident|
        chat: $chat:expr, chat_stream: $chat_stream:expr, embed: $embed:expr $(,)?) => {
        $crate::__provider_services!(
            @[$($generics)*] $service, $crate::ChatRequest, $crate::ChatResponse, $provider, $call, $chat
        );
        $crate::__provider_services!(
            @[$($generics)*] $service, $crate::layer::Streamed<$crate::ChatRequest>, $crate::ChatStream, $provider, $call, {
                let $call = $call.map(|streamed| streamed.0);
                $chat_stream
            }
        );
        $crate::__provider_services!(
            @[$($generics)*] $service, $crate::EmbedRequest, $crate::Embeddings, $provider, $call, $embed
        );
    };
    (@[$($generics:tt)*] $service:ty, $operation:ty, $output:ty, $provider:ident, $call:ident, $reply:expr) => {
        impl<$($generics)*> $crate::layer::Service<$crate::Call<$operation>> for $service {
            $crate::__always_ready!($output);

            fn call(&mut self, $call: $crate::Call<$operation>) -> Self::Future {
                let $provider = ::core::clone::Clone::clone(self);
                $crate::layer::ResponseFuture::waiting(async move { $reply.await })
            }
        }
    };
}
