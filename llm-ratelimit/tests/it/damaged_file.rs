//! Tests of files that are damaged, or that contain something other than balances.

use std::path::Path;

use llm_core::ManualClock;
use llm_ratelimit::{Balance, Demand, Limiter, Plans, Store, StoreError};

use crate::{scratch::Scratch, support::AtOnce};

const NOVEMBER: u64 = 1_794_700_800;

fn limiter() -> Limiter {
    let plans = Plans::uniform(["1000 tokens/month"]).expect("the limits are right");
    Limiter::builder(plans).clock(ManualClock::at_unix(NOVEMBER)).build().expect("the limits are right")
}

/// Writes a file of balances, and returns its bytes and the balances.
fn written(path: &Path) -> (Vec<u8>, Vec<Balance>) {
    let limiter = limiter();
    for tenant in 0..30 {
        limiter
            .try_reserve(&Demand::new(format!("tenant-{tenant}"), "m").tokens(5, 5))
            .expect("the disk works")
            .mark_sent();
    }
    let store = Store::file(path).expect("the disk works");
    store.put(limiter.balances().at_once()).expect("the disk works");
    let balances = store.balances().expect("the disk works");
    drop(store);
    (std::fs::read(path).expect("the disk works"), balances)
}

/// Opens and uses a file as an application does.
fn used(path: &Path) -> Result<Vec<Balance>, StoreError> {
    let store = Store::file(path)?;
    let balances = store.balances()?;
    store.put(balances.clone())?;
    store.prune(u64::MAX)?;
    Ok(balances)
}

/// Checks that damage leads to an error that names the file and the remedy, unless all balances are still there.
fn check(path: &Path, bytes: &[u8], balances: &[Balance], damage: &str) -> bool {
    std::fs::write(path, bytes).expect("the disk works");
    match used(path) {
        Ok(found) => {
            assert!(found == balances, "{damage}: {} balances", found.len());
            false
        }
        Err(error) => {
            let text = error.to_string();
            assert!(text.contains(&path.display().to_string()) && text.contains("move it away"), "{damage}: {text}");
            true
        }
    }
}

#[test]
fn truncated_file_is_refused_with_its_remedy() {
    let scratch = Scratch::new();
    let path = scratch.path().join("balances");
    let (bytes, balances) = written(&path);
    let lengths =
        (1..=12).map(|part| bytes.len() * part / 13).chain([1, 9, 64, 320, 512, 4_096, 8_192, bytes.len() - 1]);
    let refused = lengths.filter(|length| check(&path, &bytes[..*length], &balances, &format!("{length} bytes")));
    assert_eq!(refused.count(), 20);
}

#[test]
fn overwritten_page_never_makes_the_store_panic() {
    let scratch = Scratch::new();
    let path = scratch.path().join("balances");
    let (bytes, balances) = written(&path);
    let in_use = |page: &usize| bytes[*page..page + 4_096].iter().any(|byte| *byte > 0);
    let pages: Vec<usize> = (0..bytes.len()).step_by(4_096).filter(in_use).collect();
    let mut refused = 0;
    for (page, fill) in pages.iter().step_by(pages.len().div_ceil(6)).zip([0xff, 0x00].into_iter().cycle()) {
        let mut damaged = bytes.clone();
        damaged[*page..page + 4_096].fill(fill);
        refused += u32::from(check(&path, &damaged, &balances, &format!("page {page} of {fill}")));
    }
    assert!(refused > 0);
}

#[test]
fn empty_file_is_a_new_store() {
    let scratch = Scratch::new();
    let path = scratch.path().join("balances");
    std::fs::write(&path, "").unwrap();
    assert_eq!(used(&path), Ok(Vec::new()));
}

#[tokio::test]
async fn cache_file_is_refused_as_balances() {
    let scratch = Scratch::new();
    let (balances, cache) = (scratch.path().join("balances"), scratch.path().join("cache"));
    written(&balances);
    let open = |path: &Path| llm_cache::Cache::builder("answers").open(&format!("file://{}", path.display()));
    open(&cache).unwrap().close().await.unwrap();
    for _ in 0..2 {
        let refused = Store::file(&cache).unwrap_err().to_string();
        assert!(refused.contains("is a cache of llm-cache") && refused.contains("use another path"), "{refused}");
        let refused = open(&balances).unwrap_err().to_string();
        assert!(
            refused.contains("holds the balances of llm-ratelimit") && refused.contains("use another"),
            "{refused}"
        );
    }
    open(&cache).unwrap().close().await.unwrap();
    assert_eq!(Store::file(&balances).unwrap().balances().unwrap().len(), 30);
}

#[tokio::test]
async fn foreign_database_is_refused_and_left_alone() {
    let scratch = Scratch::new();
    let path = scratch.path().join("database");
    let database = redb::Database::create(&path).unwrap();
    let writing = database.begin_write().unwrap();
    writing.open_table(redb::TableDefinition::<u64, u64>::new("orders")).unwrap().insert(1, 2).unwrap();
    writing.commit().unwrap();
    drop(database);
    let refused = Store::file(&path).unwrap_err().to_string();
    assert!(refused.contains("another program") && refused.contains("orders"), "{refused}");
    let refused = llm_cache::Cache::builder("answers").open(&format!("file://{}", path.display())).unwrap_err();
    assert!(refused.to_string().contains("orders"), "{refused}");
    let reading = redb::Database::open(&path).unwrap().begin_read().unwrap();
    assert_eq!(reading.list_tables().unwrap().count(), 1);
}
