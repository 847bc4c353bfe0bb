//! Counters of calls that are made, in good times and in an outage.
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

use std::{io, sync::Arc};

use llm_cache::{Cache, CacheBuilder, Directive, Stats};
use llm_core::{Call, EmbedRequest, ErrorKind, Provider};

use crate::upstream::{Upstream, ask, provider, say};

fn build(set: impl FnOnce(CacheBuilder) -> CacheBuilder) -> Cache {
    set(Cache::builder("tests")).build().unwrap()
}

fn texts(texts: &[&str]) -> Call<EmbedRequest> {
    Call::new("acme", EmbedRequest::new("m", texts.iter().copied()))
}

/// Makes one call in each way in which a cache can be called. All of them fail.
async fn ask_in_an_outage(provider: &dyn Provider, cache: &Cache) {
    for streamed in [false, true] {
        say(provider, "b", streamed).await.unwrap_err();
        for directive in [Directive::new().no_cache(), Directive::new().no_store()] {
            let mut call = ask("b");
            call.extensions.insert(directive);
            match streamed {
                false => drop(provider.chat(call).await.unwrap_err()),
                true => drop(provider.chat_stream(call).await.unwrap_err()),
            }
        }
    }
    provider.embed(texts(&["one"])).await.unwrap_err();
    provider.embed(texts(&["two", "three"])).await.unwrap_err();
    let key = cache.key("acme", "op", "q").unwrap();
    cache.get_or_call(&key, || async { Err::<u8, _>(io::Error::other("down")) }).await.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn stats_count_failed_calls_during_outage() {
    for observes in [false, true] {
        let cache = build(|builder| if observes { builder.shadow() } else { builder });
        let upstream = Upstream::default();
        let provider = provider(&upstream, &cache);
        say(&*provider, "a", false).await.unwrap();
        *upstream.fail.lock().unwrap() = Some(ErrorKind::Server);
        if !observes {
            say(&*provider, "a", false).await.unwrap();
        }
        let before = cache.stats();
        ask_in_an_outage(&*provider, &cache).await;
        let Stats { hits, misses, bypassed, failed_calls, .. } = cache.stats();
        assert_eq!(hits, before.hits);
        assert_eq!((misses - before.misses, bypassed - before.bypassed), (5, 4));
        assert_eq!(failed_calls, 9, "each of them");
    }
}

#[tokio::test(start_paused = true)]
async fn stats_count_broken_streams_as_failed_calls() {
    let upstream = Upstream { break_after: Some(2), ..Upstream::default() };
    let cache = build(|builder| builder);
    let provider = provider(&upstream, &cache);
    say(&*provider, "a b c", true).await.unwrap_err();
    assert_eq!((cache.stats().misses, cache.stats().failed_calls), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn stats_count_misses_when_calls_are_sent() {
    let (upstream, cache) = (Upstream::default(), build(|builder| builder));
    let provider = provider(&upstream, &cache);
    let calls: Vec<_> = (0..3)
        .map(|_| {
            let provider = Arc::clone(&provider);
            tokio::spawn(async move { say(&*provider, "a", false).await })
        })
        .collect();
    tokio::task::yield_now().await;
    assert_eq!((cache.stats().running, cache.stats().misses), (1, 1), "before it has answered");
    for call in calls {
        call.await.unwrap().unwrap();
    }
    let Stats { misses, coalesced, failed_calls, .. } = cache.stats();
    assert_eq!((misses, coalesced, failed_calls), (1, 2, 0));
}
