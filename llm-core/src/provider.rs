use std::{fmt, sync::Arc};

use async_trait::async_trait;

use crate::{
    Call, ChatRequest, ChatResponse, ChatStream, EmbedRequest, Embeddings, Error, Reply,
    layer::provider_services,
    llm_service::{LlmService, oneshot},
    operation::Streamed,
};

/// Interface by which an application sends calls, independent of the stack of layers that implements it.
///
/// [`into_provider`] makes a provider of any stack; [`into_service`] makes a service of a provider, for layers on top.
/// The documentation of the crate has an example that implements the trait.
#[async_trait]
pub trait Provider: Send + Sync + 'static {
    /// Sends a call and returns the complete response.
    ///
    /// # Errors
    ///
    /// Returns an [`Error`] of the request, of the vendor, or of a layer in between.
    async fn chat(&self, call: Call<ChatRequest>) -> Result<Reply<ChatResponse>, Error>;

    /// Sends a call and returns the response as a stream.
    ///
    /// # Errors
    ///
    /// Returns errors as [`chat`](Self::chat) does, if they occur before the stream's first
    /// [content](crate::ChatEvent::is_content). Later errors are items of the stream.
    async fn chat_stream(&self, call: Call<ChatRequest>) -> Result<Reply<ChatStream>, Error>;

    /// Turns texts into vectors.
    ///
    /// # Errors
    ///
    /// See [`chat`](Self::chat).
    async fn embed(&self, call: Call<EmbedRequest>) -> Result<Reply<Embeddings>, Error>;
}

/// Turns a stack of services into a provider.
///
/// ```
/// use std::sync::Arc;
/// use llm_core::{Call, ChatRequest, Error, Provider, into_provider, into_service};
///
/// # async fn example(client: Arc<dyn Provider>) -> Result<(), Error> {
/// let stack = tower::ServiceBuilder::new().concurrency_limit(8).service(into_service(client));
/// let provider: Arc<dyn Provider> = into_provider(stack);
/// let reply = provider.chat(Call::new("acme", ChatRequest::new("m").user("hello"))).await?;
/// println!("{}", reply.output.text());
/// # Ok(())
/// # }
/// ```
pub fn into_provider<S>(stack: S) -> Arc<dyn Provider>
where
    S: LlmService<ChatRequest> + LlmService<Streamed<ChatRequest>> + LlmService<EmbedRequest> + Sync,
{
    Arc::new(Stack(stack))
}

/// Turns a provider into a service, for layers on top.
pub fn into_service<P: Provider + ?Sized>(provider: Arc<P>) -> ProviderService<P> {
    ProviderService(provider)
}

/// Hides the type of a stack, so that stacks for different vendors have one type and can be members of a pool or items
/// of a list.
///
/// ```
/// use llm_core::{Call, ChatRequest, ChatResponse, EmbedRequest, Embeddings, Error, Provider, Receipt, Reply, erase};
/// use llm_core::layer::{ProviderService, oneshot};
/// # use llm_core::{ChatStream, into_service};
/// # use std::sync::Arc;
/// # struct Named(&'static str);
/// # #[async_trait::async_trait]
/// # impl Provider for Named {
/// #     async fn chat(&self, _: Call<ChatRequest>) -> Result<Reply<ChatResponse>, Error> {
/// #         Ok(Reply::new(ChatResponse::new("1", self.0, vec![]), Receipt::default()))
/// #     }
/// #     async fn chat_stream(&self, _: Call<ChatRequest>) -> Result<Reply<ChatStream>, Error> { unimplemented!() }
/// #     async fn embed(&self, _: Call<EmbedRequest>) -> Result<Reply<Embeddings>, Error> { unimplemented!() }
/// # }
/// # let (openai, anthropic) = (into_service(Arc::new(Named("a"))), into_service(Arc::new(Named("b"))));
///
/// # tokio_test::block_on(async {
/// // Two clients of different vendors, one of them below another layer.
/// let anthropic = tower::ServiceBuilder::new().concurrency_limit(8).service(anthropic);
/// let members: Vec<ProviderService<dyn Provider>> = vec![erase(openai), erase(anthropic)];
/// for member in members {
///     let reply = oneshot(member, Call::new("acme", ChatRequest::new("m").user("hello"))).await?;
///     assert!(["a", "b"].contains(&&*reply.output.model));
/// }
/// # Ok::<_, Error>(()) }).unwrap();
/// ```
pub fn erase<S>(stack: S) -> ProviderService<dyn Provider>
where
    S: LlmService<ChatRequest> + LlmService<Streamed<ChatRequest>> + LlmService<EmbedRequest> + Sync,
{
    into_service(into_provider(stack))
}

/// Tower service of a [`Provider`]. Always ready; clones share the provider.
pub struct ProviderService<P: ?Sized>(Arc<P>);

struct Stack<S>(S);

#[async_trait]
impl<S> Provider for Stack<S>
where
    S: LlmService<ChatRequest> + LlmService<Streamed<ChatRequest>> + LlmService<EmbedRequest> + Sync,
{
    async fn chat(&self, call: Call<ChatRequest>) -> Result<Reply<ChatResponse>, Error> {
        oneshot(self.0.clone(), call).await
    }

    async fn chat_stream(&self, call: Call<ChatRequest>) -> Result<Reply<ChatStream>, Error> {
        oneshot(self.0.clone(), call.map(Streamed)).await
    }

    async fn embed(&self, call: Call<EmbedRequest>) -> Result<Reply<Embeddings>, Error> {
        oneshot(self.0.clone(), call).await
    }
}

impl<P: ?Sized> Clone for ProviderService<P> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<P: ?Sized> fmt::Debug for ProviderService<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProviderService")
    }
}

provider_services! {
    [P: Provider + ?Sized] ProviderService<P>, |provider, call|
    chat: provider.0.chat(call),
    chat_stream: provider.0.chat_stream(call),
    embed: provider.0.embed(call),
}
