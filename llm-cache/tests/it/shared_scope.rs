//! Tests of sharing scopes: entries that several tenants share.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use llm_cache::{Cache, CacheBuilder, CacheLayer, Directive, DirectivePolicy};
use llm_core::{Call, ChatRequest, Origin, Provider, into_provider};
use llm_providers::scripted::{Rule, Scripted};
use tower::ServiceBuilder;

use crate::upstream::ask;

const HOUR: Duration = Duration::from_secs(3600);

fn over(builder: CacheBuilder, upstream: &Scripted) -> (Cache, Arc<dyn Provider>) {
    let cache = builder.build().expect("the settings are right");
    let layers = ServiceBuilder::new().layer(CacheLayer::new(cache.clone()));
    (cache, into_provider(layers.service(upstream.clone())))
}

fn sharing(tenant: &str, scope: &str) -> Call<ChatRequest> {
    let mut call = Call::new(tenant, ask("a").body);
    call.extensions.insert(Directive::new().shared(scope));
    call
}

#[tokio::test(start_paused = true)]
async fn allow_sharing_is_required_for_shared_scope() {
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
async fn shared_scope_shares_entries_not_running_calls() {
    let upstream = Scripted::new().rule(Rule::say("x").after(HOUR));
    let (cache, provider) =
        over(Cache::builder("t").directive_policy(DirectivePolicy::none().allow_sharing()), &upstream);
    let calls = ["acme", "acme", "umbrella", "umbrella"].map(|tenant| provider.chat(sharing(tenant, "public")));
    let origins: Vec<_> = join_all(calls).await.into_iter().map(|reply| reply.unwrap().receipt.origin()).collect();
    let own = [Origin::Vendor, Origin::Coalesced];
    assert_eq!(origins, [own, own].concat(), "one call a tenant");
    assert_eq!((upstream.calls(), cache.stats().entries), (2, 1));

    // One tenant's budget does not affect the other tenant.
    let (cache, provider) =
        over(Cache::builder("t").directive_policy(DirectivePolicy::none().allow_sharing()), &upstream);
    let gone = tokio::time::timeout(HOUR / 2, provider.chat(sharing("acme", "public")));
    let (gone, stays) = tokio::join!(gone, provider.chat(sharing("umbrella", "public")));
    assert!(gone.is_err() && stays.is_ok());
    assert_eq!(cache.stats().coalesced, 0);
}
