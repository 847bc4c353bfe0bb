//! Tests of `CacheStatus` as an RFC 9211 header.

use std::time::Duration;

use llm_cache::{Background, Cache, CacheStatus, Directive, DirectivePolicy, Miss, Tag};
use llm_core::{Call, EmbedRequest, ManualClock};

use crate::upstream::{Upstream, ask, provider};

const HOUR: Duration = Duration::from_secs(3600);

/// Name of a parameter, and its value if it has one.
type Parameter = (String, Option<String>);

/// Returns the parameters of one member of a structured list whose items are tokens (RFC 9651, sections 3.1 and 4.2).
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
async fn cache_status_conforms_to_rfc_9211() {
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
    let status = async |directive| {
        let reply = wish(directive).await;
        let header = check(CacheStatus::of(&reply));
        assert_eq!(reply.extensions.header_fields(), [("cache-status".to_owned(), header.clone())]);
        header
    };
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
    let refused = provider.chat(ask("s")).await.unwrap_err();
    assert_eq!(refused.header_fields()[0].1, CacheStatus::of_error(&refused).to_string());
    assert_eq!(check(CacheStatus::of_error(&refused)), "llm-cache; hit; detail=\"negative, 0 s ago\"");
    *upstream.fail.lock().unwrap() = None;
    assert_eq!(status(plain()).await, "llm-cache; fwd=stale", "it was no more than a spare");
    cache.invalidate(Tag::tenant("acme")).await.unwrap();
    assert_eq!(status(plain()).await, "llm-cache; fwd=stale", "it was invalidated");
    assert_eq!(check(CacheStatus::Miss(Miss::Shadow)), "llm-cache; fwd=bypass; detail=shadow");
    assert!(parameters("llm-cache; Hit").is_none() && parameters("llm-cache; detail=a b").is_none());
}
