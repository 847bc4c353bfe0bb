//! Tests of the status that the cache adds to a reply.

use std::time::Duration;

use llm_cache::{Cache, CacheStatus, Directive, DirectivePolicy, Miss, Stale};
use llm_core::{Call, ChatRequest, EmbedRequest, ManualClock, Reply};

use crate::upstream::{Upstream, ask, provider, read};

fn status<O>(reply: &Reply<O>) -> CacheStatus {
    let status = *reply.extensions.get::<CacheStatus>().expect("each reply has a status");
    assert_eq!(status, CacheStatus::of(reply));
    status
}

fn wish(directive: Directive) -> Call<ChatRequest> {
    let mut call = ask("a");
    call.extensions.insert(directive);
    call
}

fn hit(age: u64, stale: Option<Stale>) -> CacheStatus {
    CacheStatus::Hit { tier: "memory", age: Duration::from_secs(age), stale }
}

#[tokio::test(start_paused = true)]
async fn cache_status_is_in_every_replys_extensions() {
    let (clock, upstream) = (ManualClock::default(), Upstream::default());
    let policy = DirectivePolicy::none().max_stale(Duration::from_secs(60));
    let builder = Cache::builder("tests").ttl(Duration::from_secs(60)).directive_policy(policy);
    let cache = builder.clock(clock.clone()).build().unwrap();
    let provider = provider(&upstream, &cache);

    let [led, joined] = {
        let (led, joined) = tokio::join!(provider.chat(ask("a")), provider.chat(ask("a")));
        [led.unwrap(), joined.unwrap()]
    };
    assert_eq!((status(&led), status(&joined)), (CacheStatus::Miss(Miss::Unknown), CacheStatus::Coalesced));
    assert_eq!(status(&provider.chat(ask("a")).await.unwrap()), hit(0, None));
    assert_eq!(status(&provider.chat_stream(ask("a")).await.unwrap()), hit(0, None));

    let streamed = provider.chat_stream(ask("b")).await.unwrap();
    let late = provider.chat_stream(ask("b")).await.unwrap();
    assert_eq!((status(&streamed), status(&late)), (CacheStatus::Miss(Miss::Unknown), CacheStatus::Coalesced));
    read(streamed.output).await.unwrap();
    read(late.output).await.unwrap();
    assert_eq!(status(&provider.chat(ask("b")).await.unwrap()), hit(0, None));

    for texts in [vec!["one"], vec!["two", "three"]] {
        let call = || Call::new("acme", EmbedRequest::new("m", texts.clone()));
        assert_eq!(status(&provider.embed(call()).await.unwrap()), CacheStatus::Miss(Miss::Unknown));
        assert_eq!(status(&provider.embed(call()).await.unwrap()), hit(0, None));
    }

    let no_cache = provider.chat(wish(Directive::new().no_cache())).await.unwrap();
    let no_store = provider.chat(wish(Directive::new().no_store())).await.unwrap();
    assert_eq!(status(&no_cache), CacheStatus::Miss(Miss::NoCache));
    assert_eq!(status(&no_store), CacheStatus::Miss(Miss::NoStore));

    clock.advance(Duration::from_secs(70));
    let stale = Directive::new().max_stale(Duration::from_secs(30));
    assert_eq!(status(&provider.chat(wish(stale)).await.unwrap()), hit(70, Some(Stale::Allowed)));
}
