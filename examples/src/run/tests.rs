use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use llm_cache::{Cache, CacheLayer, Ttl};
use llm_core::{Clock, ManualClock, Origin, into_provider};
use llm_providers::scripted::Scripted;
use tower::Layer;

use crate::{
    demo,
    simulation::{CacheSettings, Simulation},
    trace::{Key, Trace},
    workload::{Request, Source},
};

/// Replays the public trace through a cache. Checks that each tenant has as many hits as with a set that forgets
/// nothing, and returns the numbers of calls and hits.
async fn replay(directory: &Path, key: Key) -> (u64, u64) {
    let texts: Vec<PathBuf> =
        ["bdd_scenarios_mit.jsonl.gz", "bdd_scenarios_es_mpl.jsonl.gz"].map(|file| directory.join(file)).into();
    let trace = Trace::open(&directory.join("bdd_regen_trace.csv.gz"), &texts, key).expect("the trace can be read");
    let clock = ManualClock::default();
    let cache = Cache::builder("trace")
        .ttl(Ttl::unlimited())
        .max_bytes(4 << 30)
        .clock(clock.clone())
        .build()
        .expect("it is right");
    let provider = into_provider(CacheLayer::new(cache).layer(Scripted::new()));

    let mut known = HashSet::new();
    let (mut naive, mut counted) = (BTreeMap::<Arc<str>, u64>::new(), BTreeMap::<Arc<str>, u64>::new());
    let mut calls = 0;
    for request in trace.into_source().expect("the trace can be read") {
        let request = request.expect("the trace can be read");
        calls += 1;
        let organisation = Arc::clone(&request.organisation);
        if let Some(at) = request.at {
            clock.set_unix(at.duration_since(std::time::UNIX_EPOCH).expect("after 1970"));
        }
        let seen = !known.insert((Arc::clone(&organisation), Arc::clone(&request.text)));
        *naive.entry(Arc::clone(&organisation)).or_default() += u64::from(seen);
        let origin = Simulation::send(Arc::clone(&provider), request).await.expect("scripted responses do not fail");
        *counted.entry(organisation).or_default() += u64::from(matches!(origin, Origin::Cache { .. }));
    }
    assert_eq!(counted, naive);
    (calls, counted.values().sum())
}

#[tokio::test]
async fn trace_hits_equal_naive_count() {
    #[expect(clippy::disallowed_methods, reason = "a test's edge")]
    let Some(directory) = std::env::var_os("LLM_TRACES").filter(|path| !path.is_empty()) else {
        eprintln!("skipped: LLM_TRACES names no directory of traces");
        return;
    };
    assert_eq!(replay(Path::new(&directory), Key::Full).await, (100_630, 67_789));
    assert_eq!(replay(Path::new(&directory), Key::Scenario).await, (100_630, 81_198));
}

#[tokio::test]
async fn demo_over_http_agrees_with_bills() {
    let simulation = start(llm_core::SystemClock, CacheSettings::default(), &BTreeSet::new()).await;
    let table = super::in_order(&simulation, None, demo::source()).await.expect("nothing fails");
    assert!(table.contains("in all") && table.contains("Elm Street Library"), "{table}");
    let total = simulation.books().total().clone();
    assert_eq!((total.calls, total.hits, total.coalesced, total.vendor), (22, 9, 0, 13));
    assert!(super::check(&simulation).starts_with("the books agree"), "{}", super::check(&simulation));
    assert!(simulation.disclosure("none").contains("simulated"));
}

#[tokio::test]
async fn replay_applies_ttl_and_model_prices() {
    let clock = ManualClock::default();
    let models = BTreeSet::from(["gpt-4o".into(), "a-model-of-my-own".into()]);
    let day = Duration::from_secs(86_400);
    let simulation = start(clock.clone(), CacheSettings { ttl: Some(day), ..CacheSettings::default() }, &models).await;
    let request = |model: &str, days: u32| Request {
        model: Some(model.into()),
        instructed: false,
        ..Request::new("me", "how much?").at(UNIX_EPOCH + day * days)
    };
    let requests =
        vec![request("gpt-4o", 1), request("gpt-4o", 1), request("gpt-4o", 2), request("a-model-of-my-own", 2)];
    let source = Source::of("log", requests);
    super::in_order(&simulation, Some(&clock), source).await.expect("nothing fails");
    let total = simulation.books().total().clone();
    assert_eq!((total.calls, total.hits, total.vendor), (4, 1, 3));
    assert!(super::check(&simulation).starts_with("the books agree"), "{}", super::check(&simulation));
    let said = simulation.disclosure("none");
    assert!(said.contains("of a-model-of-my-own: at gpt-4o-mini's") && said.contains("Kept: for 86400 s"), "{said}");
}

async fn start(clock: impl Clock, cache_settings: CacheSettings, models: &BTreeSet<Arc<str>>) -> Simulation {
    Simulation::start(clock, llm_testkit::Latency::zero(), cache_settings, models).await.expect("it starts")
}
