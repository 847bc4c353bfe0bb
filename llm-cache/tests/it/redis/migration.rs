//! Tests of migrations between a file and Redis, in both directions.

use std::num::NonZeroUsize;

use llm_cache::{Cache, KeyRing, Secret, Tag, Ttl, migrate};
use llm_testkit::redis::RedisServer;

use super::{key, not_asked, open, put};

const BATCH: NonZeroUsize = NonZeroUsize::new(7).expect("not zero");

async fn has(cache: &Cache, n: u32) -> bool {
    cache.get_or_call(&key(n), not_asked).await.is_ok_and(|found| *found.value == n)
}

#[cfg(feature = "file")]
#[tokio::test]
async fn migrate_from_file_to_redis_and_back() {
    let server = RedisServer::spawn();
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| {
        let url = format!("file://{}", directory.path().join(name).display());
        Cache::builder("tests").ttl(Ttl::unlimited()).open(&url).unwrap()
    };
    let (from, back) = (file("from"), file("back"));
    for n in 0..50 {
        put(&from, n).await;
    }
    let redis = open(&server, |builder| builder.secret(Secret::new([1; 32])));
    let done = migrate(&from, &redis, None, BATCH, |_| ()).await.unwrap();
    assert_eq!((done.copied, done.not_taken, done.unreadable), (50, 0, 0));
    let again = migrate(&from, &redis, None, BATCH, |_| ()).await.unwrap();
    assert_eq!((again.copied, again.not_taken), (0, 50), "it has them");
    for n in 0..50 {
        assert!(has(&redis, n).await, "{n}");
    }
    redis.invalidate(Tag::tenant("acme")).await.unwrap();
    assert!(!has(&redis, 1).await, "what was copied can be dropped");
    put(&redis, 77).await;
    redis.close().await.unwrap();
    let done = migrate(&redis, &back, None, BATCH, |_| ()).await.unwrap();
    assert_eq!((done.copied, done.expired), (1, 50));
    assert!(has(&back, 77).await && !has(&back, 1).await);
}

#[tokio::test]
async fn redis_lists_purges_and_seals() {
    let server = RedisServer::spawn();
    let keys = KeyRing::new();
    keys.insert(llm_cache::Partition::tenant("acme"), Secret::new([2; 32]));
    let sealed = open(&server, |builder| builder.encryption_keys(keys.clone()));
    for n in 0..30 {
        put(&sealed, n).await;
    }
    sealed.close().await.unwrap();
    let (mut listed, mut after) = (0, None);
    loop {
        let page = sealed.list(after, 8).await.unwrap();
        listed += page.entries.len();
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(listed, 30);
    let unsealed = open(&server, |builder| builder);
    assert!(!has(&unsealed, 1).await);
    assert!(unsealed.stats().corrupt > 0);
    assert_eq!(sealed.purge(Tag::tenant("acme")).await.unwrap(), 30);
    assert_eq!(sealed.list(None, 8).await.unwrap().entries.len(), 0);
}
