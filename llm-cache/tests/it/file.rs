//! Answers in a file.
#![expect(clippy::unwrap_used, reason = "cases are tests, and so is what they are made of")]

use std::{fs, io, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt;
use llm_cache::{
    BuildError, Cache, Directive, DirectivePolicy, Key, KeyRing, MigrationReport, Partition, Secret, Tag, migrate,
};
use llm_core::{Call, ChatRequest, Origin, Provider};

use crate::{
    conformance::TestStore,
    upstream::{Upstream, ask, provider},
};

const BATCH: std::num::NonZeroUsize = std::num::NonZeroUsize::new(7).expect("not zero");

fn key(n: u32) -> Key {
    Key::of("ns", "acme", "op", &n).expect("a number serializes")
}

async fn put(cache: &Cache, n: u32) {
    cache.get_or_call(&key(n), move || async move { Ok::<_, io::Error>(n) }).await.unwrap();
}

async fn tier(cache: &Cache, n: u32) -> Option<&'static str> {
    let resolved = cache.get_or_call(&key(n), || async { Err::<u32, _>(io::Error::other("not asked")) }).await.ok()?;
    assert_eq!(*resolved.value, n);
    match resolved.origin {
        Origin::Cache { tier, .. } => Some(tier),
        _ => None,
    }
}

async fn origin(provider: &Arc<dyn Provider>, call: Call<ChatRequest>) -> Origin {
    provider.chat(call).await.unwrap().receipt.origin()
}

#[tokio::test(start_paused = true)]
async fn file_keeps_entries_across_restart() {
    for store in [TestStore::file(), TestStore::tiered()] {
        for close in [true, false] {
            let cache = store.open();
            put(&cache, u32::from(close)).await;
            assert!(tier(&cache, u32::from(close)).await.is_some(), "before it is written");
            if close {
                cache.close().await.unwrap();
            }
            drop(cache);
            assert_eq!(tier(&store.open(), u32::from(close)).await, Some("file"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn memory_ttl_limits_fetched_entry_in_memory() {
    let store = TestStore::tiered();
    let cache = store.open();
    put(&cache, 1).await;
    assert_eq!(tier(&cache, 1).await, Some("memory"));
    drop(cache);
    let cache = store.open();
    assert_eq!((tier(&cache, 1).await, tier(&cache, 1).await), (Some("file"), Some("memory")));
    store.clock.advance(Duration::from_secs(10));
    assert_eq!((tier(&cache, 1).await, tier(&cache, 1).await), (Some("file"), Some("memory")));
}

#[tokio::test(start_paused = true)]
async fn file_invalidation_survives_restart_and_clock() {
    let store = TestStore::file();
    let upstream = Upstream::default();
    let other = || Call::new("umbrella", ChatRequest::new("m").user("a"));
    {
        let cache = store.open();
        let provider = provider(&upstream, &cache);
        for call in [ask("a"), other()] {
            assert_eq!(origin(&provider, call).await, Origin::Vendor);
        }
        cache.close().await.unwrap();
        cache.invalidate(Tag::tenant("acme")).await.unwrap();
    }
    // The clock is set back by less than the entry's age, so the age of the entry is unknown.
    store.clock.set_unix(Duration::from_secs(1_700_000_000));
    let cache = store.open();
    let provider = provider(&upstream, &cache);
    assert!(matches!(origin(&provider, other()).await, Origin::Cache { .. }), "nobody invalidated it");
    assert_eq!(origin(&provider, ask("a")).await, Origin::Vendor);
    cache.close().await.unwrap();
    drop((cache, provider));
    let cache = store.open();
    let provider = crate::upstream::provider(&upstream, &cache);
    assert!(matches!(origin(&provider, ask("a")).await, Origin::Cache { .. }), "it began after");
    cache.clear().await.unwrap();
    drop((cache, provider));
    let cache = store.open();
    assert_eq!((cache.stats().entries, cache.stats().bytes), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn file_survives_clock_set_back() {
    let store = TestStore::file();
    let cache = store.open();
    cache.invalidate(Tag::tenant("acme")).await.unwrap();
    drop(cache);
    store.clock.set_unix(Duration::from_secs(1_000_000_000));
    let cache = store.open();
    put(&cache, 1).await;
    cache.close().await.unwrap();
    drop(cache);
    assert_eq!(tier(&store.open(), 1).await, Some("file"));
}

#[tokio::test(start_paused = true)]
async fn file_open_error_names_path() {
    let store = TestStore::file();
    let first = store.open();
    let path = store.url().trim_start_matches("file://").trim_end_matches('?').to_owned();
    let fails = |url: &str| Cache::builder("tests").open(url).unwrap_err();
    let error = fails(store.url());
    assert!(matches!(error, BuildError::Store(_)), "{error:?}");
    assert!(error.to_string().contains(&path) && error.to_string().contains("open already"), "{error}");
    drop(first);
    store.open();

    fs::write(&path, "this is somebody's diary, and long enough to be taken for one".repeat(1_000)).unwrap();
    let error = fails(store.url()).to_string();
    assert!(error.contains(&path) && error.contains("no cache file"), "{error}");
    assert!(fs::read(&path).unwrap().starts_with(b"this is"), "it is left as it was");
    let error = fails("file:///no/such/directory/answers").to_string();
    assert!(error.contains("/no/such/directory/answers"), "{error}");
}

#[cfg(unix)]
#[tokio::test(start_paused = true)]
async fn file_is_readable_by_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let store = TestStore::file();
    let _cache = store.open();
    let path = store.url().trim_start_matches("file://").trim_end_matches('?');
    assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o077, 0);
}

#[tokio::test(start_paused = true)]
async fn encryption_keys_removed_key_erases_tenant() {
    let (store, keys) = (TestStore::file(), KeyRing::new());
    for tenant in ["acme", "umbrella"] {
        keys.insert(Partition::tenant(tenant), Secret::new([tenant.len() as u8; 32]));
    }
    let open = || store.open_with(|builder| builder.secret(Secret::new([3; 32])).encryption_keys(keys.clone()));
    let upstream = Upstream::default();
    let call = |tenant: &str| Call::new(tenant, ChatRequest::new("m").user("a secret question"));
    let cache = open();
    let before = provider(&upstream, &cache);
    for tenant in ["acme", "umbrella", "keyless"] {
        origin(&before, call(tenant)).await;
    }
    cache.close().await.unwrap();
    assert_eq!(cache.stats().entries, 2, "who has no key has nothing stored");
    drop((cache, before));
    let path = store.url().trim_start_matches("file://").trim_end_matches('?');
    let bytes = fs::read(path).unwrap();
    for secret_text in ["acme", "umbrella", "secret question", "words"] {
        assert!(!bytes.windows(secret_text.len()).any(|window| window == secret_text.as_bytes()), "{secret_text}");
    }
    keys.remove(&Partition::tenant("acme"));
    let cache = open();
    let after = provider(&upstream, &cache);
    assert!(matches!(origin(&after, call("umbrella")).await, Origin::Cache { .. }));
    assert_eq!(origin(&after, call("acme")).await, Origin::Vendor);
    assert!(cache.stats().corrupt > 0);
    assert_eq!(cache.stats().store_errors, 0);
}

#[tokio::test(start_paused = true)]
async fn secret_of_other_store_misses_all_entries() {
    let store = TestStore::file();
    let cache = store.open();
    put(&cache, 1).await;
    drop(cache);
    let cache = store.open_with(|builder| builder.secret(Secret::new([3; 32])));
    assert_eq!((tier(&cache, 1).await, cache.stats().corrupt), (None, 0), "its name is another");
    let listing = cache.list(None, 10).await.unwrap();
    assert_eq!((listing.entries.len(), listing.unreadable), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn migrate_copies_live_entries_with_remaining_ttl() {
    let (from, to) = (TestStore::file(), TestStore::tiered());
    let (old, secret) = (from.open(), Secret::new([5; 32]));
    for n in 0..50 {
        put(&old, n).await;
    }
    from.clock.advance(Duration::from_secs(30));
    for n in 50..80 {
        put(&old, n).await;
    }
    let gone = old.key("umbrella", "op", "x").unwrap();
    old.get_or_call(&gone, || async { Ok::<_, io::Error>(1u32) }).await.unwrap();
    old.close().await.unwrap();
    old.invalidate(Tag::tenant("umbrella")).await.unwrap();

    let sealed = || {
        let keys = KeyRing::new();
        keys.insert(Partition::tenant("acme"), Secret::new([6; 32]));
        to.open_with(|builder| builder.secret(secret.clone()).encryption_keys(keys))
    };
    let (mut batches, mut stopped) = (0, MigrationReport::default());
    let target = sealed();
    let walk = migrate(&old, &target, None, BATCH, |done| {
        batches += 1;
        stopped = done.clone();
        if batches == 3 {
            std::panic::resume_unwind(Box::new("stopped"));
        }
    });
    assert!(AssertUnwindSafe(walk).catch_unwind().await.is_err(), "it was interrupted after three batches");
    assert_eq!(target.stats().entries, stopped.copied, "what was reported is there");
    drop(target);
    let target = sealed();
    let mut batches = 0;
    let done = migrate(&old, &target, stopped.next, BATCH, |_| batches += 1).await.unwrap();
    assert_eq!((done.copied + stopped.copied, done.expired + stopped.expired), (80, 1));
    assert_eq!((stopped.copied + stopped.expired, batches), (21, 9), "it goes on where it stopped");
    assert_eq!((done.unreadable, done.not_taken, done.next), (0, 0, None));
    assert_eq!(target.stats().entries, 80);
    let again = migrate(&old, &target, None, BATCH, |_| {}).await.unwrap();
    assert_eq!((again.copied, again.not_taken), (0, 80), "it has them");
    drop(target);

    to.clock.advance(Duration::from_secs(45));
    let new = sealed();
    assert_eq!((tier(&new, 79).await, tier(&new, 50).await), (Some("file"), Some("file")));
    to.clock.advance(Duration::from_secs(16));
    assert_eq!(tier(&new, 0).await, None, "its minute is over");
}

#[tokio::test(start_paused = true)]
async fn list_remove_stored_and_purge_entries() {
    let store = TestStore::file();
    let cache = store.open();
    let provider = provider(&Upstream::default(), &cache);
    for n in 0..5 {
        origin(&provider, ask(&format!("{n}"))).await;
    }
    origin(&provider, Call::new("umbrella", ChatRequest::new("m2").user("a"))).await;
    cache.close().await.unwrap();
    let first = cache.list(None, 4).await.unwrap();
    let rest = cache.list(first.next.clone(), 4).await.unwrap();
    assert_eq!((first.entries.len(), rest.entries.len(), rest.next), (4, 2, None));
    let of_acme: Vec<_> = first
        .entries
        .iter()
        .chain(&rest.entries)
        .filter(|entry| entry.partition == Partition::tenant("acme"))
        .collect();
    assert_eq!(of_acme.len(), 5);
    assert!(of_acme.iter().all(|entry| entry.live && entry.accounting.usage.is_some()));
    assert!(of_acme[0].tags.contains(&Tag::model("m")));
    assert!(cache.remove_stored(&of_acme[0].name).await.unwrap());
    assert!(!cache.remove_stored(&of_acme[0].name).await.unwrap());
    assert!(cache.remove_stored("x").await.is_err());
    assert_eq!(cache.purge(Tag::model("m")).await.unwrap(), 4);
    assert_eq!(cache.stats().entries, 1);
}

#[tokio::test(start_paused = true)]
async fn corrupt_bytes_in_file_are_misses() {
    let store = TestStore::file();
    let path = store.url().trim_start_matches("file://").trim_end_matches('?').to_owned();
    let cache = store.open();
    for n in 0..20 {
        put(&cache, n).await;
    }
    drop(cache);
    let whole = fs::read(&path).unwrap();
    let (mut opened, mut served) = (0, 0);
    for at in (0..whole.len()).step_by(whole.len() / 24) {
        let mut changed = whole.clone();
        changed[at..].iter_mut().take(64).for_each(|byte| *byte ^= 0x55);
        fs::write(&path, &changed).unwrap();
        let Ok(cache) = Cache::builder("tests").clock(store.clock.clone()).open(store.url()) else { continue };
        opened += 1;
        for n in 0..20 {
            served += u32::from(tier(&cache, n).await.is_some());
        }
    }
    assert!(opened > 4 && served > 40, "{opened} opened, {served} served");
}

#[tokio::test(start_paused = true)]
async fn encryption_keys_seal_shared_entry_by_scope() {
    let (from, to, keys) = (TestStore::file(), TestStore::file(), KeyRing::new());
    let open = |store: &TestStore| {
        let sharing = DirectivePolicy::none().allow_sharing();
        store.open_with(|builder| {
            builder.directive_policy(sharing).secret(Secret::new([3; 32])).encryption_keys(keys.clone())
        })
    };
    let call = |tenant: &str| {
        let mut call = Call::new(tenant, ChatRequest::new("m").user("a"));
        call.extensions.insert(Directive::new().shared("public"));
        call
    };
    keys.insert(Partition::tenant("acme"), Secret::new([1; 32]));
    let upstream = Upstream::default();
    let old = open(&from);
    origin(&provider(&upstream, &old), call("acme")).await;
    old.close().await.unwrap();
    assert_eq!(old.stats().entries, 0, "the scope has no key, whoever bought it");
    keys.insert(Partition::scope("public"), Secret::new([2; 32]));
    origin(&provider(&upstream, &old), call("acme")).await;
    let new = open(&to);
    let done = migrate(&old, &new, None, BATCH, |_| {}).await.unwrap();
    assert_eq!((done.copied, done.unreadable), (1, 0));
    assert_eq!(new.list(None, 9).await.unwrap().entries[0].partition, Partition::scope("public"));
    keys.remove(&Partition::tenant("acme"));
    assert!(matches!(origin(&provider(&upstream, &new), call("umbrella")).await, Origin::Cache { .. }));
    keys.remove(&Partition::scope("public"));
    assert_eq!(origin(&provider(&upstream, &new), call("umbrella")).await, Origin::Vendor);
    assert_eq!(new.stats().corrupt, 2, "it was looked for before the call and once more when it began");
}

#[tokio::test(start_paused = true)]
async fn migrate_onto_same_store_changes_nothing() {
    let store = TestStore::file();
    let cache = store.open();
    for n in 0..20 {
        put(&cache, n).await;
    }
    let done = migrate(&cache, &cache.clone(), None, BATCH, |_| {}).await.unwrap();
    assert_eq!((done.copied, done.not_taken, cache.stats().entries), (0, 20, 20));
}

#[tokio::test(start_paused = true)]
async fn file_evictions_are_counted() {
    for store in [TestStore::file(), TestStore::tiered()] {
        let cache = store.open_small(2_000);
        for n in 0..20 {
            put(&cache, n).await;
        }
        cache.close().await.unwrap();
        let stats = cache.stats();
        assert!(stats.entries > 0 && stats.evictions == 20 - stats.entries, "{stats:?}");
    }
}
