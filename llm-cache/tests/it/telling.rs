//! What the cache tells: on replies, as a header, in observe mode.

use std::{sync::Arc, time::Duration};

use llm_cache::{
    Background, Cache, CacheBuilder, CacheLayer, CacheStatus, Directive, DirectivePolicy, Miss, ShadowStatus, Tag,
};
use llm_core::{Call, EmbedRequest, Error, ManualClock, Origin, Provider, into_provider};
use llm_providers::scripted::{Rule, Scripted};
use tower::ServiceBuilder;

use crate::upstream::{HEAD, Upstream, ask, provider, say};

const HOUR: Duration = Duration::from_secs(3600);

/// A name and, where there is one, its value.
type Parameter = (String, Option<String>);

/// The parameters of one member of a structured list whose items are tokens (RFC 9651, sections 3.1 and 4.2).
fn parameters(header: &str) -> Option<(String, Vec<Parameter>)> {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~:/".contains(c);
    let starts_token = |text: &str| text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '*');
    let mut rest = header;
    let take = |rest: &mut &str, fits: &dyn Fn(char) -> bool| {
        let end = rest.find(|c| !fits(c)).unwrap_or(rest.len());
        let (taken, left) = rest.split_at(end);
        *rest = left;
        taken.to_owned()
    };
    if !starts_token(rest) {
        return None;
    }
    let item = take(&mut rest, &is_token);
    let mut found = Vec::new();
    while let Some(after) = rest.strip_prefix(';') {
        rest = after.trim_start_matches(' ');
        if !rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '*') {
            return None;
        }
        let name = take(&mut rest, &|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-.*".contains(c));
        let value = match rest.strip_prefix('=') {
            None => None,
            Some(after) if after.starts_with('"') => {
                let text = &after[1..];
                let end = text.find('"')?;
                rest = &text[end + 1..];
                let plain = |c: char| (' '..='~').contains(&c) && c != '\\';
                Some(text[..end].to_owned()).filter(|text| text.chars().all(plain)).map(Some)?
            }
            Some(after) if after.starts_with(|c: char| c.is_ascii_digit()) => {
                rest = after;
                Some(take(&mut rest, &|c| c.is_ascii_digit())).filter(|digits| digits.len() <= 15).map(Some)?
            }
            Some(after) if starts_token(after) => {
                rest = after;
                Some(take(&mut rest, &is_token))
            }
            Some(_) => return None,
        };
        found.push((name, value));
    }
    rest.is_empty().then_some((item, found))
}

/// Checks a status against RFC 9211, section 2.
fn check(status: CacheStatus) -> String {
    let header = status.to_string();
    let (cache, parameters) = parameters(&header).unwrap_or_else(|| panic!("no structured field: {header}"));
    let value = |wanted: &str| parameters.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone());
    assert_eq!(cache, "llm-cache");
    match (value("hit"), value("fwd")) {
        (Some(None), None) => assert!(value("collapsed").is_none(), "{header}"),
        (None, Some(Some(why))) => {
            let known = ["bypass", "method", "uri-miss", "vary-miss", "miss", "request", "stale", "partial"];
            assert!(known.contains(&&*why), "{header}");
        }
        _ => panic!("either a hit or forwarded: {header}"),
    }
    assert!(value("collapsed").is_none_or(|value| value.is_none()), "{header}");
    let mut names: Vec<_> = parameters.iter().map(|(name, _)| name).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), parameters.len(), "each once: {header}");
    let registered = ["hit", "fwd", "fwd-status", "ttl", "stored", "collapsed", "key", "detail"];
    assert!(names.iter().all(|name| registered.contains(&name.as_str())), "one is not registered: {header}");
    header
}

#[tokio::test(start_paused = true)]
async fn every_status_that_occurs_is_a_cache_status_header() {
    let (upstream, clock) = (Upstream::default(), ManualClock::default());
    let policy = DirectivePolicy::none().max_stale(3 * HOUR);
    let builder = Cache::builder("t").ttl(HOUR).directive_policy(policy).stale_if_error(9 * HOUR);
    let builder = builder.background(Background::new(2).revalidate(HOUR));
    let cache = builder.negative_ttl(HOUR).clock(clock.clone()).build().unwrap();
    let provider = provider(&upstream, &cache);
    let wish = async |directive| {
        let mut call = ask("q");
        call.extensions.insert(directive);
        provider.chat(call).await.unwrap()
    };
    let status = async |directive| check(CacheStatus::of(&wish(directive).await));
    let plain = Directive::new;
    let texts = |texts: &[&str]| Call::new("acme", EmbedRequest::new("e", texts.iter().copied()));

    assert_eq!(status(plain().no_store()).await, "llm-cache; fwd=bypass; detail=no-store");
    assert_eq!(status(plain()).await, "llm-cache; fwd=uri-miss");
    assert_eq!(status(plain()).await, "llm-cache; hit; detail=\"memory, 0 s old\"");
    assert_eq!(status(plain().no_cache()).await, "llm-cache; fwd=request; detail=no-cache");
    clock.advance(Duration::from_secs(60));
    assert_eq!(status(plain().max_age(HOUR / 90)).await, "llm-cache; fwd=request; detail=too-old");
    let (_, second) = tokio::join!(provider.chat(ask("r")), provider.chat(ask("r")));
    assert_eq!(check(CacheStatus::of(&second.unwrap())), "llm-cache; fwd=miss; collapsed");
    provider.embed(texts(&["a"])).await.unwrap();
    let partial = provider.embed(texts(&["a", "b"])).await.unwrap();
    assert_eq!(check(CacheStatus::of(&partial)), "llm-cache; fwd=partial; detail=\"1 items\"");
    clock.advance(HOUR);
    assert_eq!(status(plain()).await, "llm-cache; hit; detail=\"memory, 3600 s old, stale: revalidating\"");
    cache.close().await.unwrap();
    clock.advance(3 * HOUR);
    let allowed = plain().max_stale(3 * HOUR);
    assert_eq!(status(allowed).await, "llm-cache; hit; detail=\"memory, 10800 s old, stale: allowed\"");
    *upstream.fail.lock().unwrap() = Some(llm_core::ErrorKind::Server);
    assert_eq!(status(plain()).await, "llm-cache; fwd=stale; detail=\"memory, 10800 s old, stale: the call failed\"");
    *upstream.fail.lock().unwrap() = Some(llm_core::ErrorKind::InvalidRequest);
    let unseen = CacheStatus::of_error(&provider.chat(ask("s")).await.unwrap_err());
    assert_eq!(check(unseen), "llm-cache; fwd=bypass; detail=unseen");
    let refused = CacheStatus::of_error(&provider.chat(ask("s")).await.unwrap_err());
    assert_eq!(check(refused), "llm-cache; hit; detail=\"negative, 0 s ago\"");
    *upstream.fail.lock().unwrap() = None;
    assert_eq!(status(plain()).await, "llm-cache; fwd=stale", "it was no more than a spare");
    cache.invalidate(Tag::tenant("acme")).await.unwrap();
    assert_eq!(status(plain()).await, "llm-cache; fwd=stale", "it was invalidated");
    assert_eq!(check(CacheStatus::Miss(Miss::Shadow)), "llm-cache; fwd=bypass; detail=shadow");
    assert!(parameters("llm-cache; Hit").is_none() && parameters("llm-cache; detail=a b").is_none());
}

fn observing(builder: CacheBuilder, upstream: &Scripted) -> (Cache, Arc<dyn Provider>) {
    let cache = builder.shadow().build().expect("the settings are right");
    let layers = ServiceBuilder::new().layer(CacheLayer::new(cache.clone()));
    (cache, into_provider(layers.service(upstream.clone())))
}

#[tokio::test(start_paused = true)]
async fn observing_lets_every_call_pass_and_says_what_would_have_become_of_it() {
    let (upstream, clock) = (Scripted::new().rule(Rule::say("x").after(HEAD)), ManualClock::default());
    let (cache, provider) = observing(Cache::builder("t").ttl(HOUR).clock(clock.clone()), &upstream);
    let would = async |call| {
        let reply = provider.chat(call).await.unwrap();
        assert_eq!((reply.receipt.origin(), reply.output.text()), (Origin::Vendor, "x".into()));
        assert_eq!(CacheStatus::of(&reply), CacheStatus::Miss(Miss::Shadow));
        reply.extensions.get::<ShadowStatus>().unwrap().status
    };
    let hit = |age| CacheStatus::Hit { tier: "memory", age, stale: None };
    let (first, second) = tokio::join!(would(ask("a")), would(ask("a")));
    assert_eq!((first, second), (CacheStatus::Miss(Miss::Unknown), CacheStatus::Coalesced));
    clock.advance(HOUR / 2);
    assert_eq!(would(ask("a")).await, hit(HOUR / 2));
    let mut only = ask("b");
    only.extensions.insert(Directive::new().only_if_cached());
    assert_eq!(would(only).await, CacheStatus::Miss(Miss::Unknown), "even this one passes");
    let stream = provider.chat_stream(ask("c")).await.unwrap();
    assert_eq!(stream.extensions.get::<ShadowStatus>().unwrap().status, CacheStatus::Miss(Miss::Unknown));
    crate::upstream::read(stream.output).await.unwrap();
    assert_eq!(would(ask("c")).await, hit(Duration::ZERO));
    let stats = cache.stats();
    assert_eq!((upstream.calls(), stats.hits, stats.misses, stats.coalesced, stats.running), (6, 2, 3, 1, 0));

    let key = cache.key("acme", "own", "q").unwrap();
    for (n, hits) in [(1, 2), (2, 3)] {
        let answered = cache.get_or_call(&key, move || async move { Ok::<_, Error>(n) }).await.unwrap();
        assert_eq!((*answered.value, answered.origin, cache.stats().hits), (n, Origin::Vendor, hits));
    }
}

#[tokio::test(start_paused = true)]
async fn observing_tells_what_would_have_been_saved_and_knows_items() {
    let clock = ManualClock::default();
    let cache = Cache::builder("t").shadow().clock(clock.clone()).build().unwrap();
    let upstream = Upstream::default();
    let provider = into_provider(llm_cache::Cached::new(crate::contract::priced(&upstream), cache.clone()));
    provider.chat(ask("a")).await.unwrap();
    let again = provider.chat(ask("a")).await.unwrap();
    let would = again.extensions.get::<ShadowStatus>().unwrap();
    assert_eq!((would.saves, again.receipt.saved()), (again.receipt.cost(), llm_core::Usd::ZERO));

    let embed = async |texts: &[&str]| {
        let reply = provider.embed(Call::new("acme", EmbedRequest::new("e", texts.iter().copied()))).await.unwrap();
        assert_eq!(reply.output.vectors.len(), texts.len());
        reply.extensions.get::<ShadowStatus>().unwrap().status
    };
    assert_eq!(embed(&["a", "b", "a"]).await, CacheStatus::Miss(Miss::Unknown));
    assert_eq!(embed(&["c", "b"]).await, CacheStatus::Miss(Miss::Items { asked: 1, stale: None }));
    assert!(matches!(embed(&["a", "b", "c"]).await, CacheStatus::Hit { .. }));
    assert_eq!((upstream.calls(), cache.stats().entries), (5, 4));
}

#[tokio::test(start_paused = true)]
async fn observing_serves_no_error_and_stores_nothing_that_is_given_up() {
    let upstream = Scripted::new().rule(Rule::say("x").after(HOUR));
    let (cache, provider) = observing(Cache::builder("t"), &upstream);
    assert!(tokio::time::timeout(HEAD, say(&*provider, "a", true)).await.is_err());
    assert_eq!((cache.stats().running, cache.stats().entries), (0, 0));
}
