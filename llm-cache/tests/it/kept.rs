//! What may be stored, for whom, and how many answers of it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use llm_cache::{Cache, CacheBuilder, CacheLayer, CacheStatus, Directive, DirectivePolicy, Tag};
use llm_core::{
    Call, Charge, ChatRequest, ChatResponse, Choice, Error, ErrorKind, FinishReason, ManualClock, Origin, Part,
    Provider, Receipt, Reply,
    chat::{ResponseFormat, Sampling},
    into_provider, into_service,
};
use llm_providers::scripted::{Rule, Scripted};
use serde_json::json;
use tower::ServiceBuilder;

use crate::{
    edges::Made,
    upstream::{HEAD, Upstream, ask, provider},
};

const HOUR: Duration = Duration::from_secs(3600);

fn over(builder: CacheBuilder, upstream: &Scripted) -> (Cache, Arc<dyn Provider>) {
    let cache = builder.build().expect("the settings are right");
    let layers = ServiceBuilder::new().layer(CacheLayer::new(cache.clone()));
    (cache, into_provider(layers.service(upstream.clone())))
}

/// Says a new number each time.
fn counting() -> Scripted {
    let said = AtomicU64::new(0);
    Scripted::new().rule(Rule::answer(move |request| {
        let part = Part::text(said.fetch_add(1, Ordering::SeqCst).to_string());
        Ok(ChatResponse::new("id", request.model.clone(), vec![Choice::new(0, vec![part], FinishReason::Stop)]))
    }))
}

async fn said(provider: &dyn Provider, call: Call<ChatRequest>) -> String {
    provider.chat(call).await.expect("the vendor answers").output.text().into_owned()
}

#[tokio::test(start_paused = true)]
async fn a_question_with_a_temperature_gets_up_to_n_answers_in_turn_and_others_one() {
    let upstream = counting();
    let (cache, provider) = over(Cache::builder("t").variants(3), &upstream);
    let warm = || {
        let mut call = ask("a");
        call.body = call.body.temperature(0.7);
        call
    };
    let mut answers = Vec::new();
    for _ in 0..9 {
        answers.push(said(&*provider, warm()).await);
    }
    assert_eq!(answers, ["0", "1", "2", "0", "1", "2", "0", "1", "2"]);
    let mut only = warm();
    only.extensions.insert(Directive::new().only_if_cached());
    assert_eq!(said(&*provider, only).await, "0");

    let mut cold = ask("a");
    cold.body = cold.body.temperature(0.0);
    let mut seeded = warm();
    seeded.body.sampling = Sampling { seed: Some(1), ..seeded.body.sampling };
    for call in [ask("a"), cold, seeded] {
        let first = said(&*provider, call.clone()).await;
        assert_eq!(said(&*provider, call).await, first);
    }
    assert_eq!((upstream.calls(), cache.stats().entries), (6, 6));
}

#[tokio::test(start_paused = true)]
async fn a_stampede_on_a_question_with_n_answers_makes_n_calls() {
    let upstream = Scripted::new().rule(Rule::say("x").after(HEAD));
    let (_, provider) = over(Cache::builder("t").variants(4), &upstream);
    join_all((0..400).map(|_| {
        let mut call = ask("a");
        call.body = call.body.temperature(1.0);
        said(&*provider, call)
    }))
    .await;
    assert_eq!(upstream.calls(), 4);
}

#[tokio::test(start_paused = true)]
async fn what_a_vendor_refuses_for_the_questions_sake_is_remembered_for_a_short_time() {
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
async fn refusals_are_asked_again_by_default() {
    let upstream = Scripted::new().rule(Rule::fail(Error::invalid("as asked")));
    let (_, provider) = over(Cache::builder("t"), &upstream);
    for _ in 0..2 {
        provider.chat(ask("a")).await.unwrap_err();
    }
    assert_eq!(upstream.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn structured_output_that_breaks_its_schema_is_served_and_not_stored() {
    let schema = json!({
        "type": "object",
        "properties": {"stars": {"type": "integer"}},
        "required": ["stars"],
        "additionalProperties": false,
    });
    let object = ResponseFormat::JsonObject;
    let typed = ResponseFormat::json_schema("score", schema);
    let cases = [
        (typed.clone(), r#"{"stars": 4}"#, true),
        (typed.clone(), r#"{"stars": "four"}"#, false),
        (typed.clone(), r#"{"points": 4}"#, false),
        (typed.clone(), r#"{"stars": 4, "why": ""}"#, false),
        (typed, "4 stars", false),
        (object.clone(), "{}", true),
        (object, "[]", false),
        (ResponseFormat::Text, "4 stars", true),
    ];
    for (format, answer, is_kept) in cases {
        let upstream = Scripted::new().rule(Rule::say(answer));
        let (cache, provider) = over(Cache::builder("t"), &upstream);
        let call = || Call::new("acme", ChatRequest::new("m").user("q").response_format(format.clone()));
        assert_eq!(said(&*provider, call()).await, answer);
        crate::upstream::read(provider.chat_stream(call()).await.unwrap().output).await.unwrap();
        assert_eq!(cache.stats().entries, u64::from(is_kept), "{answer} for {format:?}");
        assert_eq!(upstream.calls(), if is_kept { 1 } else { 2 });
    }
}

#[tokio::test(start_paused = true)]
async fn the_answer_of_a_fallback_model_is_not_stored_unless_the_operator_says_so() {
    for keep in [false, true] {
        let upstream = Made::of(|call| async move {
            let choice = Choice::new(0, vec![Part::text("x")], FinishReason::Stop);
            let receipt = Receipt::default();
            receipt.edit(|facts| {
                facts.model = Some("the-small-one".into());
                facts.fallback = call.body.messages.len() == 1;
            });
            Ok(Reply::new(ChatResponse::new("1", "m-2026-01-01", vec![choice]), receipt))
        });
        let builder = Cache::builder("t");
        let cache = if keep { builder.cache_fallbacks() } else { builder }.build().unwrap();
        let layers = ServiceBuilder::new().layer(CacheLayer::new(cache.clone()));
        let provider = into_provider(layers.service(into_service(upstream)));
        provider.chat(ask("a")).await.unwrap();
        let again = provider.chat(ask("a")).await.unwrap();
        assert_eq!(again.receipt.origin() == Origin::Vendor, !keep);
        assert!(again.receipt.accounting().fallback, "whoever gets it is told");
        let mut dated = ask("a");
        dated.body = dated.body.user("b");
        for _ in 0..2 {
            provider.chat(dated.clone()).await.unwrap();
        }
        assert_eq!(cache.stats().entries, 1 + u64::from(keep), "a model's full name is no fallback");
    }
}

fn sharing(tenant: &str, scope: &str) -> Call<ChatRequest> {
    let mut call = Call::new(tenant, ask("a").body);
    call.extensions.insert(Directive::new().shared(scope));
    call
}

#[tokio::test(start_paused = true)]
async fn tenants_share_answers_by_scope_only_if_the_operator_allows_it() {
    for allowed in [false, true] {
        let upstream = Scripted::new();
        let caps = if allowed { DirectivePolicy::none().allow_sharing() } else { DirectivePolicy::none() };
        let (cache, provider) = over(Cache::builder("t").directive_policy(caps), &upstream);
        let is_hit = async |call| provider.chat(call).await.unwrap().receipt.origin() != Origin::Vendor;
        assert!(!is_hit(sharing("acme", "public")).await);
        assert_eq!(is_hit(sharing("umbrella", "public")).await, allowed);
        if !allowed {
            continue;
        }
        assert!(!is_hit(sharing("umbrella", "other")).await, "another scope");
        assert!(!is_hit(Call::new("umbrella", ask("a").body)).await, "who does not name the scope has no part in it");
        assert!(!is_hit(Call::new("public", ask("a").body)).await, "a scope is no tenant");
        cache.forget("public").await.unwrap();
        assert!(is_hit(sharing("umbrella", "public")).await);
        cache.forget("acme").await.unwrap();
        assert!(!is_hit(sharing("umbrella", "public")).await, "what a tenant bought goes with him");
    }
}

#[tokio::test(start_paused = true)]
async fn a_scope_shares_stored_answers_and_never_running_calls() {
    let upstream = Scripted::new().rule(Rule::say("x").after(HOUR));
    let (cache, provider) =
        over(Cache::builder("t").directive_policy(DirectivePolicy::none().allow_sharing()), &upstream);
    let calls = ["acme", "acme", "umbrella", "umbrella"].map(|tenant| provider.chat(sharing(tenant, "public")));
    let origins: Vec<_> = join_all(calls).await.into_iter().map(|reply| reply.unwrap().receipt.origin()).collect();
    let own = [Origin::Vendor, Origin::Coalesced];
    assert_eq!(origins, [own, own].concat(), "one call a tenant");
    assert_eq!((upstream.calls(), cache.stats().entries), (2, 1));

    // One tenant's budget is not the other's.
    let (cache, provider) =
        over(Cache::builder("t").directive_policy(DirectivePolicy::none().allow_sharing()), &upstream);
    let gone = tokio::time::timeout(HOUR / 2, provider.chat(sharing("acme", "public")));
    let (gone, stays) = tokio::join!(gone, provider.chat(sharing("umbrella", "public")));
    assert!(gone.is_err() && stays.is_ok());
    assert_eq!(cache.stats().coalesced, 0);
}
