use std::{fmt, sync::Arc};

use llm_core::{
    Call, ChatRequest, ChatResponse, ChatStream, EmbedRequest, Embeddings,
    layer::{BatchLimits, LlmService, ResponseFuture, Streamed, always_ready, oneshot},
};
use tower_layer::Layer;
use tower_service::Service;

use super::{
    deliver::{Packs, State},
    form::{FORM_TOKENS, output},
    layer::PackLayer,
    packer::{Packer, frame_key, tokens},
    sizes::PackSize,
    stats::PackStats,
};
use crate::gather::{Groups, Size, may_wait};

/// Service that packs prompts: see [`PackLayer`]. Streams and embeddings pass through unchanged.
///
/// The service is always ready. A call waits inside its future, for a bounded time, and is then sent by a clone of the
/// inner service. Clones share the packs.
///
/// ```
/// use llm_batch::pack::{Check, PackLayer};
/// use llm_core::{Call, ChatRequest, ChatResponse, Choice, Error, FinishReason, Part, Receipt, Reply, layer::oneshot};
/// use tower_layer::Layer;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Error> {
/// let vendor = tower::service_fn(|call: Call<ChatRequest>| async move {
///     let choice = Choice::new(0, vec![Part::text("42")], FinishReason::Stop);
///     Ok::<_, Error>(Reply::new(ChatResponse::new("1", call.body.model, vec![choice]), Receipt::default()))
/// });
/// let pack = PackLayer::new(Check::new(0.0, 0.05)).layer(vendor);
/// let ask = |text: &str| oneshot(pack.clone(), Call::new("acme", ChatRequest::new("m").user(text).max_output_tokens(9)));
/// let (one, other) = tokio::join!(ask("6 x 7"), ask("7 x 6"));
/// assert_eq!((&*one?.output.text(), &*other?.output.text()), ("42", "42"));
/// // This vendor never answers in the form, so that each of the two is asked again, alone.
/// assert_eq!((pack.stats().batches.requests, pack.stats().repaired), (1, 2));
/// pack.close().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Pack<S> {
    inner: S,
    groups: Arc<Groups>,
    state: Arc<State>,
}

impl<S: LlmService<ChatRequest>> Layer<S> for PackLayer {
    type Service = Pack<S>;

    fn layer(&self, inner: S) -> Pack<S> {
        Pack { inner, groups: Groups::new(&self.gather), state: Arc::new(State::new(self.clone())) }
    }
}

impl<S: LlmService<ChatRequest>> Pack<S> {
    /// Returns the counts of the service and its clones since the service was created.
    pub fn stats(&self) -> PackStats {
        PackStats { batches: *self.groups.shared.stats(), ..self.state.stats() }
    }

    /// Returns the number of prompts in a request for each packer and model, with the disagreement that was measured.
    pub fn sizes(&self) -> Vec<PackSize> {
        self.state.sizes.all()
    }

    /// Refuses further calls that could be packed ([`Closed`](llm_core::ErrorKind::Closed)), closes the open packs so
    /// that they are sent, and waits until no call is pending. The futures of the callers must be polled meanwhile,
    /// because they drive the packs.
    pub async fn close(&self) {
        self.groups.shared.close().await;
    }

    /// Returns the packer for a call, and the key of its frame; `None` for a call that is sent unchanged.
    fn packer(&self, call: &Call<ChatRequest>) -> Option<(&Arc<dyn Packer>, Vec<u8>)> {
        let mut packers = self.state.settings.packers.iter().filter(|_| may_wait(call));
        packers.find_map(|packer| Some((packer, frame_key(&**packer, &call.body)?)))
    }
}

impl<S: LlmService<ChatRequest>> Service<Call<ChatRequest>> for Pack<S> {
    always_ready!(ChatResponse);

    fn call(&mut self, call: Call<ChatRequest>) -> Self::Future {
        let inner = self.inner.clone();
        let Some((packer, key)) = self.packer(&call) else { return ResponseFuture::waiting(oneshot(inner, call)) };
        let prompts = self.state.sizes.size(packer.name(), &call.body.model);
        let (frame, item) = tokens(&call.body);
        let (packer, state) = (Arc::clone(packer), Arc::clone(&self.state));
        let packs = Packs { inner, packer, state, size: prompts, is_half: false };
        let limits = BatchLimits::of_items(prompts).with_tokens(self.state.settings.tokens.saturating_sub(frame));
        let size = Size { items: 1, tokens: item, output: output(&call.body) };
        let most = Size { output: self.state.settings.output.saturating_sub(FORM_TOKENS), ..size.room(&limits) };
        ResponseFuture::waiting(Arc::clone(&self.groups).submit(key, call, size, most, packs))
    }
}

impl<S> Service<Call<Streamed<ChatRequest>>> for Pack<S>
where
    S: LlmService<ChatRequest> + LlmService<Streamed<ChatRequest>>,
{
    always_ready!(ChatStream);

    fn call(&mut self, call: Call<Streamed<ChatRequest>>) -> Self::Future {
        ResponseFuture::waiting(oneshot(self.inner.clone(), call))
    }
}

impl<S: LlmService<ChatRequest> + LlmService<EmbedRequest>> Service<Call<EmbedRequest>> for Pack<S> {
    always_ready!(Embeddings);

    fn call(&mut self, call: Call<EmbedRequest>) -> Self::Future {
        ResponseFuture::waiting(oneshot(self.inner.clone(), call))
    }
}

impl<S: LlmService<ChatRequest>> fmt::Debug for Pack<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pack").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
