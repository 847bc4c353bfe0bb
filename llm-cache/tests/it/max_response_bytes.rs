//! Tests of streams that become too large to be kept for other callers.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, stream};
use llm_cache::{Cache, CacheLayer};
use llm_core::{
    Call, ChatEvent, ChatRequest, ChatResponse, ChatStream, EmbedRequest, Embeddings, Error, ErrorKind, FinishReason,
    Origin, Provider, Receipt, Reply, into_provider, into_service,
};
use tower::ServiceBuilder;

use crate::upstream::ask;

/// Vendor that repeats one word 2,000 times. The word's reference count is the number of pieces in memory.
struct Repeats(Arc<str>);

const PIECES: usize = 2_000;
const WORD: &str = "0123456789";

#[async_trait::async_trait]
impl Provider for Repeats {
    async fn chat(&self, _: Call<ChatRequest>) -> Result<Reply<ChatResponse>, Error> {
        Err(Error::new(ErrorKind::Unsupported, "not here"))
    }
    async fn chat_stream(&self, _: Call<ChatRequest>) -> Result<Reply<ChatStream>, Error> {
        let word = Arc::clone(&self.0);
        let said = stream::iter(0..PIECES).then(move |_| {
            let text = Arc::clone(&word);
            async move {
                tokio::time::sleep(Duration::from_millis(1)).await;
                Ok(ChatEvent::Text { choice: 0, text })
            }
        });
        let end = Ok(ChatEvent::Finish { choice: 0, reason: FinishReason::Stop });
        Ok(Reply::new(ChatStream::new(said.chain(stream::iter([end]))), Receipt::default()))
    }
    async fn embed(&self, _: Call<EmbedRequest>) -> Result<Reply<Embeddings>, Error> {
        Err(Error::new(ErrorKind::Unsupported, "not here"))
    }
}

async fn next(stream: &mut ChatStream, pieces: usize) {
    for _ in 0..pieces {
        stream.next().await.expect("there is more").expect("it does not fail");
    }
}

#[tokio::test(start_paused = true)]
async fn max_response_bytes_closes_stream_to_joiners() {
    let word: Arc<str> = WORD.into();
    // A piece counts as 138 bytes in this test.
    let cache = Cache::builder("t").max_response_bytes(13_800).build().unwrap();
    let layers = ServiceBuilder::new().layer(CacheLayer::new(cache.clone()));
    let provider = into_provider(layers.service(into_service(Arc::new(Repeats(Arc::clone(&word))))));
    let open = async || provider.chat_stream(ask("q")).await.unwrap();

    let mut leader = open().await.output;
    next(&mut leader, 90).await;
    let follower = open().await;
    assert_eq!(follower.receipt.origin(), Origin::Coalesced);
    let (mut follower, mut dawdler) = (follower.output, open().await.output);
    next(&mut follower, 90).await;
    next(&mut leader, 20).await;
    next(&mut follower, 20).await;
    let late = open().await;
    assert_eq!(late.receipt.origin(), Origin::Vendor, "it makes its own call");
    drop(late);
    assert_eq!(cache.stats().misses, 2);

    let mut most = 0;
    for _ in 110..PIECES {
        next(&mut leader, 1).await;
        next(&mut follower, 1).await;
        most = most.max(Arc::strong_count(&word));
    }
    assert!(most < 120, "{most} pieces held of a stream of {PIECES}");
    let text = |stream: ChatStream| async { stream.complete().await.map(|response| response.text().len()) };
    assert_eq!(text(leader).await.unwrap(), PIECES * WORD.len());
    assert_eq!(text(follower).await.unwrap(), PIECES * WORD.len());
    let behind = dawdler.next().await.unwrap().unwrap_err();
    assert_eq!(behind.kind(), ErrorKind::Incomplete, "never is a part taken for the whole: {behind}");
    drop(dawdler);
    assert_eq!((cache.stats().entries, cache.stats().running, Arc::strong_count(&word)), (0, 0, 2));
}

#[tokio::test(start_paused = true)]
async fn max_response_bytes_completes_unary_waiter() {
    let cache = Cache::builder("t").max_response_bytes(13_800).build().unwrap();
    let layers = ServiceBuilder::new().layer(CacheLayer::new(cache));
    let provider = into_provider(layers.service(into_service(Arc::new(Repeats(WORD.into())))));
    let mut leader = provider.chat_stream(ask("q")).await.unwrap().output;
    next(&mut leader, 1).await;
    let (leader, unary) = tokio::join!(leader.complete(), provider.chat(ask("q")));
    assert_eq!(unary.unwrap().output.text(), leader.unwrap().text());
}
