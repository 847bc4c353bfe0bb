//! Tests in which any caller is cancelled at any time with all settings switched on, and a test of one key with many
//! calls.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use llm_cache::{Background, Cache, CacheBuilder, CacheLayer, Directive, DirectivePolicy, Verification};
use llm_core::{
    Call, ChatRequest, EmbedRequest, Error, ManualClock, Priority, Provider, Usd, into_provider, into_service,
};
use llm_providers::{
    Ledger, OpenAi,
    ledger::{Attempt, Charged, Outcome},
};
use llm_testkit::{Distribution, Fault, Latency, Rule, Vendor};
use proptest::{
    prelude::Rng,
    test_runner::{RngAlgorithm, TestRng},
};
use tower::ServiceBuilder;

use crate::{
    single_flight::full,
    single_flight_edges::{Made, response},
    upstream::{prices, read},
};

const CHAT: &str = "gpt-4o-mini";
const EMBED: &str = "text-embedding-3-small";
const MINUTE: Duration = Duration::from_secs(60);

struct World {
    vendor: Vendor,
    clock: ManualClock,
    cache: Cache,
    ledger: Ledger,
    purchases: Arc<Mutex<Vec<Attempt>>>,
    provider: Arc<dyn Provider>,
}

/// Creates a stack over a simulated vendor that sometimes fails.
fn world(seed: u64, build: impl FnOnce(CacheBuilder) -> Cache) -> World {
    let table = prices();
    let mut vendor = Vendor::builder().seed(seed).response_tokens(3..=20).latency(Latency::new(
        Distribution::Uniform(Duration::from_millis(10), Duration::from_millis(60)),
        Distribution::Fixed(Duration::from_millis(2)),
    ));
    for model in [CHAT, EMBED] {
        let price = *table.model(model).and_then(|model| model.at(1)).expect("a model of the table");
        let cached = price.cache_read.unwrap_or(price.input).nanos();
        vendor = vendor.price(model, price.input.nanos(), cached, price.output.nanos());
    }
    let vendor = vendor.build();
    vendor.script(Rule::new(Fault::CutAfter(4)).prompt_contains("cut").times(4));
    vendor.script(Rule::new(Fault::insufficient_quota()).prompt_contains("refused").times(4));
    let purchases = Arc::new(Mutex::new(Vec::new()));
    let ledger = Ledger::new(table).on_attempt({
        let purchases = Arc::clone(&purchases);
        move |purchase: &Attempt| purchases.lock().expect("no test panics holding it").push(purchase.clone())
    });
    let clock = ManualClock::default();
    let cache = build(Cache::builder("chaos").ttl(MINUTE).clock(clock.clone()));
    let client = OpenAi::with_transport("no-real-key", vendor.transport()).expect("the key is a header value");
    let layers = ServiceBuilder::new().layer(ledger.requests()).layer(CacheLayer::new(cache.clone()));
    let provider = into_provider(layers.layer(ledger.attempts()).service(client));
    World { vendor, clock, cache, ledger, purchases, provider }
}

/// Makes a random call, and reads its response to the end.
async fn make(provider: &dyn Provider, random: [u32; 4]) -> Result<(), Error> {
    let [kind, question, wish, tenant] = random;
    let tenant = ["acme", "umbrella"][(tenant % 2) as usize];
    let directive = match wish % 8 {
        0 => Directive::new().no_cache(),
        1 => Directive::new().shared("all"),
        2 => Directive::new().max_age(MINUTE / 2),
        _ => Directive::new(),
    };
    let priority = if wish % 16 == 9 { Priority::Background } else { Priority::Interactive };
    if kind.is_multiple_of(3) {
        let first = question % 12;
        let texts = (first..first + 1 + question % 5).map(|n| format!("text {n}"));
        let mut call = Call::new(tenant, EmbedRequest::new(EMBED, texts)).with_priority(priority);
        call.extensions.insert(directive);
        return provider.embed(call).await.map(drop);
    }
    let what = ["plain", "cut", "refused", "plain"][(question % 4) as usize];
    let request = ChatRequest::new(CHAT).user(format!("{what} question {}", question % 7)).temperature(0.5);
    let mut call = Call::new(tenant, request).with_priority(priority);
    call.extensions.insert(directive);
    match kind % 3 {
        1 => provider.chat(call).await.map(drop),
        _ => read(provider.chat_stream(call).await?.output).await.map(drop),
    }
}

/// Makes 60 calls at random times, while entries expire. A third of the calls is cut off at random times.
async fn storm(world: &World, seed: u64) {
    let seed: [u8; 32] = std::array::from_fn(|at| seed.to_le_bytes()[at % 8]);
    let mut random = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    let tasks: Vec<_> = (0..60)
        .map(|_| {
            let what = std::array::from_fn(|_| random.next_u32());
            let start = Duration::from_millis(u64::from(random.next_u32() % 400));
            let is_cut = random.next_u32().is_multiple_of(3);
            let stay = Duration::from_millis(u64::from(random.next_u32() % 120));
            let stay = if is_cut { stay } else { Duration::from_secs(3600) };
            let (provider, clock) = (Arc::clone(&world.provider), world.clock.clone());
            tokio::spawn(async move {
                tokio::time::sleep(start).await;
                clock.advance(MINUTE / 40);
                let made = tokio::time::timeout(stay, make(&*provider, what)).await;
                assert!(made.is_ok() || is_cut, "nobody hangs");
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("no caller panics");
    }
    world.cache.close().await.expect("the store does not fail");
}

/// Checks for each attempt that the paid amount is the billed one, and that the unconfirmed amount covers the rest.
fn audit(world: &World, seed: u64) {
    let billed = |nanos: u64| Usd::from_nanos(i64::try_from(nanos).expect("a small bill"));
    let mut bills: HashMap<String, Usd> =
        world.vendor.bills().into_iter().map(|bill| (bill.request_id.clone(), billed(bill.nano_usd))).collect();
    let mut unconfirmed = Usd::ZERO;
    for purchase in world.purchases.lock().expect("no test panics holding it").iter() {
        match purchase.charged {
            Charged::Paid(amount) => {
                let id = purchase.request_id.as_deref().expect("whoever tells usage tells an id");
                assert_eq!(bills.remove(id), Some(amount), "seed {seed}: {purchase:?}");
            }
            Charged::Unconfirmed(bound) => {
                assert_ne!(purchase.outcome, Outcome::Complete);
                // A request without a limit on its response is bounded by the longest response of its model.
                unconfirmed += bound.expect("the models have prices");
            }
            Charged::Nothing => {}
            ref other => panic!("nothing here is without a price: {other:?}"),
        }
    }
    let gap: Usd = bills.into_values().sum();
    assert!(unconfirmed >= gap, "seed {seed}: {gap} were billed and {unconfirmed} expected");
    let books = world.ledger.snapshot();
    assert!(books.balance().is_balanced(), "seed {seed}\n{books}");
    assert!(books.total().open.is_zero(), "seed {seed}\n{books}");
}

/// Runs a storm of calls over a cache, and checks its state afterwards. Returns the cache's counters.
async fn survive(seed: u64, world: &World) -> [u64; 5] {
    let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    storm(world, seed).await;
    let stats = world.cache.stats();
    assert_eq!((stats.running, world.vendor.in_flight()), (0, 0), "seed {seed}");
    assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), tasks, "seed {seed}");
    audit(world, seed);
    world.cache.clear().await.expect("the store does not fail");
    assert_eq!((world.cache.stats().entries, world.cache.stats().bytes), (0, 0), "seed {seed}");
    assert_eq!((stats.store_errors, stats.dropped_writes, stats.corrupt), (0, 0, 0), "seed {seed}");
    [stats.hits, stats.coalesced, stats.revalidated, stats.detached, stats.verified]
}

/// Switches settings on, by seed.
fn settings(seed: u64, builder: CacheBuilder) -> CacheBuilder {
    match seed % 3 {
        0 => builder.directive_policy(DirectivePolicy::none().allow_sharing()),
        1 => builder.background(Background::new(3).revalidate(MINUTE)).variants(2),
        _ => {
            let audit = Verification::percent(20).seed(seed);
            let background = Background::new(3).revalidate(MINUTE).verify(audit).complete_on_disconnect();
            builder.directive_policy(DirectivePolicy::none().allow_sharing()).background(background)
        }
    }
}

#[tokio::test(start_paused = true)]
async fn chaos_of_cancellations_leaks_nothing() {
    let seeds = if full() { 1_000 } else { 100 };
    let mut totals = [0; 5];
    for seed in 0..seeds {
        let world = world(seed, |builder| settings(seed, builder).build().expect("the settings are right"));
        let counts = survive(seed, &world).await;
        totals.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
    }
    assert!(totals.iter().all(|count| *count > 0), "all of it happened: {totals:?}");
}

#[cfg(feature = "file")]
#[tokio::test(start_paused = true)]
async fn chaos_over_tiered_file_leaks_nothing() {
    let seeds = if full() { 100 } else { 3 };
    let (mut totals, mut far) = ([0; 5], 0);
    for seed in 0..seeds {
        let store = crate::conformance::TestStore::tiered();
        let world = world(seed, |builder| settings(seed, builder).open(store.url()).expect("the settings are right"));
        let counts = survive(seed, &world).await;
        totals.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        far += world.cache.stats().remote_hits;
    }
    assert!(totals.iter().all(|count| *count > 0) && far > 0, "all of it happened: {totals:?}, {far} from the file");
}

/// Many callers request the same response again and again, while it expires repeatedly.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn single_flight_on_hot_key_never_fails() {
    let (callers, calls) = if full() { (50, 20_000) } else { (50, 1_000) };
    for settings in [
        |builder: CacheBuilder| builder,
        |builder: CacheBuilder| builder.background(Background::new(1).complete_on_disconnect()),
    ] {
        let clock = ManualClock::default();
        let cache =
            settings(Cache::builder("hot").ttl(Duration::from_micros(200)).clock(clock.clone())).build().unwrap();
        // The response takes some time, so that other callers can join the call.
        let upstream = Made::of(|_| async {
            for _ in 0..5 {
                tokio::task::yield_now().await;
            }
            Ok(response())
        });
        let layers = ServiceBuilder::new().layer(CacheLayer::new(cache.clone()));
        let provider = into_provider(layers.service(into_service(upstream)));
        let tasks: Vec<_> = (0..callers)
            .map(|n| {
                let (provider, clock) = (Arc::clone(&provider), clock.clone());
                tokio::spawn(async move {
                    for call in 0..calls {
                        clock.advance(Duration::from_micros(1));
                        let hot = || Call::new("acme", ChatRequest::new("m").user("hot"));
                        let said = if (n + call) % 2 == 0 {
                            provider.chat(hot()).await.map(|reply| reply.output.text().into_owned())
                        } else {
                            match provider.chat_stream(hot()).await {
                                Ok(reply) => read(reply.output).await.map(|(text, _)| text),
                                Err(error) => Err(error),
                            }
                        };
                        assert_eq!(said.expect("no call fails"), "x");
                        if call % 16 == 0 {
                            tokio::task::yield_now().await;
                        }
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("no caller panics");
        }
        let stats = cache.stats();
        let served = stats.hits + stats.misses + stats.coalesced;
        assert!(served >= callers * calls, "{stats:?}");
        assert!(stats.misses >= callers * calls / 500, "it expired again and again: {stats:?}");
        assert!(stats.coalesced > 0 && stats.running == 0, "{stats:?}");
    }
}
