//! Tests of the negative cache: errors of requests that are remembered for `negative_ttl`.

use std::{sync::Arc, time::Duration};

use llm_cache::{Cache, CacheBuilder, CacheLayer, CacheStatus, Tag};
use llm_core::{Call, Charge, Error, ErrorKind, ManualClock, Origin, Provider, into_provider};
use llm_providers::scripted::{Rule, Scripted};
use tower::ServiceBuilder;

use crate::upstream::{Upstream, ask, provider};

fn over(builder: CacheBuilder, upstream: &Scripted) -> (Cache, Arc<dyn Provider>) {
    let cache = builder.build().expect("the settings are right");
    let layers = ServiceBuilder::new().layer(CacheLayer::new(cache.clone()));
    (cache, into_provider(layers.service(upstream.clone())))
}

#[tokio::test(start_paused = true)]
async fn negative_ttl_remembers_invalid_requests() {
    for (kind, is_remembered) in [
        (ErrorKind::InvalidRequest, true),
        (ErrorKind::ContextTooLong, true),
        (ErrorKind::ContentFiltered, false),
        (ErrorKind::RateLimited, false),
        (ErrorKind::Server, false),
        (ErrorKind::Authentication, false),
    ] {
        let (upstream, clock) = (Upstream::default(), ManualClock::default());
        let builder = Cache::builder("t").negative_ttl(Duration::from_secs(30)).clock(clock.clone());
        let cache = builder.build().unwrap();
        let provider = provider(&upstream, &cache);
        *upstream.fail.lock().unwrap() = Some(kind);
        let fail = async || provider.chat(ask("a")).await.unwrap_err();
        assert_eq!(CacheStatus::of_error(&fail().await), CacheStatus::Unseen);
        clock.advance(Duration::from_secs(7));
        let second = fail().await;
        assert_eq!(second.kind(), kind);
        if !is_remembered {
            assert_eq!((upstream.calls(), cache.stats().negative_hits), (2, 0), "{kind}");
            continue;
        }
        let age = Duration::from_secs(7);
        assert_eq!(CacheStatus::of_error(&second), CacheStatus::NegativeHit { age });
        assert_eq!((second.charge(), upstream.calls()), (Charge::None, 1));
        assert!(provider.chat(Call::new("umbrella", ask("a").body)).await.is_err());
        assert_eq!(upstream.calls(), 2, "another tenant's is another question");
        clock.advance(Duration::from_secs(23));
        fail().await;
        assert_eq!(upstream.calls(), 3, "not for long");
        cache.invalidate(Tag::model("m")).await.unwrap();
        fail().await;
        cache.forget("acme").await.unwrap();
        *upstream.fail.lock().unwrap() = None;
        assert_eq!(provider.chat(ask("a")).await.unwrap().receipt.origin(), Origin::Vendor);
        assert_eq!((upstream.calls(), cache.stats().negative_hits), (5, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn negative_ttl_unset_sends_invalid_request_again() {
    let upstream = Scripted::new().rule(Rule::fail(Error::invalid("as asked")));
    let (_, provider) = over(Cache::builder("t"), &upstream);
    for _ in 0..2 {
        provider.chat(ask("a")).await.unwrap_err();
    }
    assert_eq!(upstream.calls(), 2);
}
