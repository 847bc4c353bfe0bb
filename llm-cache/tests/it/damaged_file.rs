//! A cache's file of which a page is damaged while no process has it open.
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use llm_cache::{BuildError, Cache};

use crate::single_flight::full;

const PAGE: usize = 4096;
const ENTRIES: u32 = 8;
/// Text in every response, by which the test finds the pages with entries.
const MARK: &str = "the mark of an answer";

fn open(path: &Path) -> Result<Cache, BuildError> {
    Cache::builder("tests").open(&format!("file://{}", path.display()))
}

/// Stores a response, unless it is stored already.
async fn put(cache: &Cache, n: u32) {
    let key = cache.key("acme", "op", &n).unwrap();
    cache.get_or_call(&key, move || async move { Ok::<_, io::Error>(format!("{MARK} {n}")) }).await.unwrap();
}

/// Looks a response up. If it is found, it must be the right one.
async fn has(cache: &Cache, n: u32) -> bool {
    let key = cache.key("acme", "op", &n).unwrap();
    let found = cache.get_or_call(&key, || async { Err::<String, _>(io::Error::other("not asked")) }).await;
    found.inspect(|found| assert_eq!(*found.value, format!("{MARK} {n}"))).is_ok()
}

/// Returns the bytes of a file that contains some entries.
async fn whole(path: &Path) -> Vec<u8> {
    let cache = open(path).unwrap();
    for n in 0..ENTRIES {
        put(&cache, n).await;
    }
    cache.close().await.unwrap();
    drop(cache);
    fs::read(path).unwrap()
}

/// Outcome for a file with a damaged page.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Refused,
    Replaced,
    Unharmed,
}

async fn outcome(path: &Path) -> Outcome {
    let cache = match open(path) {
        Ok(cache) => cache,
        Err(error) => {
            let error = error.to_string();
            assert!(error.contains("damaged") && error.contains(&path.display().to_string()), "{error}");
            return Outcome::Refused;
        }
    };
    for _ in 0..3 {
        for n in 0..ENTRIES {
            has(&cache, n).await;
        }
    }
    assert!(cache.stats().store_errors <= 1, "the first look-up alone meets the damage: {:?}", cache.stats());
    put(&cache, ENTRIES).await;
    // This may be the batch that finds the damage.
    let _ = cache.close().await;
    put(&cache, ENTRIES + 1).await;
    cache.close().await.unwrap();
    assert!(has(&cache, ENTRIES + 1).await);
    drop(cache);
    match PathBuf::from(format!("{}.damaged", path.display())).exists() {
        true => Outcome::Replaced,
        false => Outcome::Unharmed,
    }
}

/// All pages with entries are damaged at once, or with `LLM_FULL`, each page of the file in turn.
#[tokio::test]
async fn file_with_damaged_page_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let whole = whole(&directory.path().join("whole")).await;
    let pages = || whole.chunks(PAGE).enumerate().skip(1);
    let holds_entries = |page: &[u8]| page.windows(MARK.len()).any(|bytes| bytes == MARK.as_bytes());
    let entries: Vec<usize> = pages().filter(|(_, page)| holds_entries(page)).map(|(at, _)| at).collect();
    let used = pages().filter(|(_, page)| page.iter().any(|byte| *byte != 0));
    let each = used.map(|(at, _)| vec![at]).filter(|_| full());
    let mut outcomes = Vec::new();
    for pages in std::iter::once(entries).chain(each) {
        for with in [0x00, 0xFF] {
            let path = directory.path().join(format!("{}-{with}", outcomes.len()));
            let mut damaged = whole.clone();
            pages.iter().for_each(|at| damaged[at * PAGE..][..PAGE].fill(with));
            fs::write(&path, damaged).unwrap();
            println!("pages {pages:?} filled with {with:#x}");
            outcomes.push(outcome(&path).await);
        }
    }
    println!("{outcomes:?}");
    assert_eq!(outcomes[..2], [Outcome::Replaced, Outcome::Replaced]);
}
