//! Tests of the cache in front of a real client and a simulated vendor: errors leave no entry, and the ledger agrees
//! with the bills.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::StreamExt;
use llm_cache::{Cache, CacheLayer};
use llm_core::{
    Call, ChatRequest, Error, ErrorKind, ManualClock, Provider, Tool, Usd,
    chat::{Sampling, ToolChoice},
    into_provider,
};
use llm_providers::{
    Ledger, OpenAi,
    ledger::{Attempt, Charged, Outcome},
};
use llm_testkit::{Distribution, Fault, Latency, Rule, Transport, Vendor};
use proptest::{
    prelude::Rng,
    test_runner::{RngAlgorithm, TestRng},
};
use tower::ServiceBuilder;

use crate::upstream::{cache, prices, read};

const MODEL: &str = "gpt-4o-mini";

fn client(vendor: &Vendor) -> OpenAi<Transport> {
    OpenAi::with_transport("no-real-key", vendor.transport()).expect("the key is a header value")
}

fn stack(vendor: &Vendor, cache: &Cache) -> Arc<dyn Provider> {
    into_provider(ServiceBuilder::new().layer(CacheLayer::new(cache.clone())).service(client(vendor)))
}

fn ask(text: &str) -> Call<ChatRequest> {
    Call::new("acme", ChatRequest::new(MODEL).user(text))
}

async fn outcome(provider: &dyn Provider, call: Call<ChatRequest>, streamed: bool) -> Result<String, Error> {
    if streamed {
        return Ok(read(provider.chat_stream(call).await?.output).await?.0);
    }
    Ok(provider.chat(call).await?.output.text().into_owned())
}

#[tokio::test(start_paused = true)]
async fn vendor_error_leaves_no_entry() {
    let nan = Sampling { temperature: Some(f64::NAN), ..Sampling::default() };
    let negative = Sampling { top_p: Some(-0.5), ..Sampling::default() };
    let question = || ChatRequest::new(MODEL).user("hello");
    let cases: Vec<(&str, Option<Fault>, ChatRequest, bool, ErrorKind)> = vec![
        ("no messages", None, ChatRequest::new(MODEL), false, ErrorKind::InvalidRequest),
        ("NaN", None, question().sampling(nan), false, ErrorKind::InvalidRequest),
        ("negative", None, question().sampling(negative), true, ErrorKind::InvalidRequest),
        ("HTML in a 200", Some(Fault::Html), question(), false, ErrorKind::Malformed),
        ("HTML in a streamed 200", Some(Fault::Html), question(), true, ErrorKind::Malformed),
        ("a line of 10 MB", Some(Fault::HugeEvent(10 << 20)), question(), true, ErrorKind::Malformed),
        ("invalid UTF-8", Some(Fault::InvalidUtf8), question(), true, ErrorKind::Malformed),
        ("invalid UTF-8 in one piece", Some(Fault::InvalidUtf8), question(), false, ErrorKind::Malformed),
        ("half a JSON", Some(Fault::TruncatedJson), question(), false, ErrorKind::Malformed),
    ];
    for (name, fault, request, streamed, kind) in cases {
        let (vendor, cache) = (Vendor::new(), cache(&ManualClock::default()));
        if let Some(fault) = fault {
            vendor.script(Rule::new(fault));
        }
        let error = outcome(&*stack(&vendor, &cache), Call::new("acme", request), streamed).await.expect_err(name);
        assert_eq!(error.kind(), kind, "{name}: {error}");
        assert_eq!((cache.stats().entries, cache.stats().running), (0, 0), "{name}");
        vendor.clear_script();
        let good = outcome(&*stack(&vendor, &cache), ask("hello"), streamed).await.expect(name);
        assert!(!good.is_empty(), "{name}: the next call is not harmed");
    }
}

#[tokio::test(start_paused = true)]
async fn vendor_broken_stream_leaves_no_entry() {
    for fault in [Fault::CutAfter(3), Fault::ErrorEvent { after: 2 }] {
        let (vendor, cache) = (Vendor::new(), cache(&ManualClock::default()));
        vendor.script(Rule::new(fault.clone()));
        let error = outcome(&*stack(&vendor, &cache), ask("hello"), true).await.expect_err("it was broken off");
        assert!(error.is_retryable(), "{fault:?}: {error}");
        assert_eq!((cache.stats().entries, cache.stats().running), (0, 0), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn is_cacheable_false_for_broken_tool_arguments() {
    let (vendor, cache) = (Vendor::new(), cache(&ManualClock::default()));
    vendor.script(Rule::new(Fault::InvalidToolJson).times(2));
    let provider = stack(&vendor, &cache);
    let tool = Tool::function(
        "search",
        "searches",
        serde_json::json!({"type": "object", "properties": {"q": {"type": "string"}}}),
    );
    let request = ChatRequest::new(MODEL).user("find it").tool(tool).tool_choice(ToolChoice::Required);
    let call = || Call::new("acme", request.clone());

    let unary = provider.chat(call()).await.unwrap().output;
    let spoiled = unary.tool_calls().next().expect("a tool was required");
    assert_eq!(spoiled.parse::<serde_json::Value>().unwrap_err().kind(), ErrorKind::Malformed);
    read(provider.chat_stream(call()).await.unwrap().output).await.unwrap();
    assert_eq!(cache.stats().entries, 0);

    let mended = provider.chat(call()).await.unwrap().output;
    assert!(mended.tool_calls().next().expect("a tool was required").parse::<serde_json::Value>().is_ok());
    assert_eq!((cache.stats().entries, vendor.calls()), (1, 3));
}

#[tokio::test(start_paused = true)]
async fn vendor_client_disconnect_leaves_no_entry() {
    let (vendor, cache) = (Vendor::new(), cache(&ManualClock::default()));
    vendor.set_latency(Latency::fixed(Duration::from_millis(100), Duration::from_millis(10)));
    let provider = stack(&vendor, &cache);
    let unary = tokio::time::timeout(Duration::from_millis(50), provider.chat(ask("one"))).await;
    assert!(unary.is_err());
    let mut stream = provider.chat_stream(ask("two")).await.unwrap().output;
    stream.next().await.unwrap().unwrap();
    drop(stream);
    assert_eq!((vendor.in_flight(), cache.stats().entries, cache.stats().running), (0, 0, 0));
    assert!(vendor.bills().iter().all(|bill| bill.cancelled));
}

/// Random calls, unary and streamed, equal and not, some cut off at random moments, some attempts failing.
///
/// The ledger's paid amount equals the vendor's bill attempt by attempt, to the nano-dollar. Its unconfirmed amount covers
/// bills that the vendor never reported.
#[tokio::test(start_paused = true)]
async fn ledger_agrees_with_vendor_despite_cancellations() {
    let mut sums = (0, Usd::ZERO, Usd::ZERO);
    for seed in 0..20u8 {
        let mut random = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
        let price = *prices().model(MODEL).and_then(|model| model.at(1)).expect("a model of the table");
        let cached = price.cache_read.unwrap_or(price.input);
        let latency = Latency::new(
            Distribution::Uniform(Duration::from_millis(10), Duration::from_millis(90)),
            Distribution::Fixed(Duration::from_millis(2)),
        );
        let vendor = Vendor::builder()
            .seed(u64::from(seed))
            .response_tokens(5..=40)
            .cached_percent(30)
            .latency(latency)
            .price(MODEL, price.input.nanos(), cached.nanos(), price.output.nanos())
            .build();
        vendor.script(Rule::new(Fault::CutAfter(4)).prompt_contains("cut").times(3));
        vendor.script(Rule::new(Fault::insufficient_quota()).prompt_contains("refused").times(3));

        let purchases = Arc::new(Mutex::new(Vec::<Attempt>::new()));
        let ledger = Ledger::new(prices()).on_attempt({
            let purchases = Arc::clone(&purchases);
            move |purchase| purchases.lock().expect("no test panics holding it").push(purchase.clone())
        });
        let cache = cache(&ManualClock::default());
        let provider = into_provider(
            ServiceBuilder::new()
                .layer(ledger.requests())
                .layer(CacheLayer::new(cache.clone()))
                .layer(ledger.attempts())
                .service(client(&vendor)),
        );
        let tasks: Vec<_> = (0..120)
            .map(|_| {
                let kind = ["plain", "cut", "refused"][(random.next_u32() % 3) as usize];
                let call = ask(&format!("{kind} question {}", random.next_u32() % 12))
                    .with_label("kind", kind)
                    .expect("short");
                let (streamed, cut) = (random.next_u32().is_multiple_of(2), random.next_u32().is_multiple_of(3));
                let (start, stay) = (u64::from(random.next_u32() % 200), u64::from(random.next_u32() % 150));
                let provider = Arc::clone(&provider);
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(start)).await;
                    let stay = if cut { Duration::from_millis(stay) } else { Duration::from_secs(60) };
                    let _ = tokio::time::timeout(stay, outcome(&*provider, call, streamed)).await;
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }

        let purchases = std::mem::take(&mut *purchases.lock().expect("no test panics holding it"));
        let (gap, unconfirmed) = compare(&vendor, &purchases);
        let books = ledger.snapshot();
        assert!(books.balance().is_balanced(), "seed {seed}\n{books}");
        assert_eq!(books.total().unconfirmed.amount, unconfirmed);
        assert_eq!((cache.stats().running, vendor.in_flight()), (0, 0));
        sums = (sums.0 + purchases.len(), sums.1 + gap, sums.2 + unconfirmed);
    }
    println!("{} attempts; unconfirmed {} covers {} billed and never reported", sums.0, sums.2, sums.1);
}

/// Returns the vendor's bill for attempts whose usage never arrived, and the ledger's upper bound for them.
fn compare(vendor: &Vendor, purchases: &[Attempt]) -> (Usd, Usd) {
    let billed = |nanos: u64| Usd::from_nanos(i64::try_from(nanos).expect("a small bill"));
    let mut bills: HashMap<String, Usd> =
        vendor.bills().into_iter().map(|bill| (bill.request_id.clone(), billed(bill.nano_usd))).collect();
    let mut unconfirmed = Usd::ZERO;
    for purchase in purchases {
        match purchase.charged.clone() {
            Charged::Paid(amount) => {
                let id = purchase.request_id.as_deref().expect("whoever tells usage tells an id");
                assert_eq!(bills.remove(id), Some(amount), "{purchase:?}");
            }
            Charged::Unconfirmed(bound) => {
                assert_ne!(purchase.outcome, Outcome::Complete);
                let bound = bound.expect("the model has a price");
                if let Some(bill) = purchase.request_id.as_deref().and_then(|id| bills.get(id)) {
                    assert!(bound >= *bill, "{purchase:?}");
                }
                unconfirmed += bound;
            }
            Charged::Nothing => {}
            other => panic!("nothing here is without a price: {other:?}"),
        }
    }
    let gap: Usd = bills.into_values().sum();
    assert!(unconfirmed >= gap, "{gap} were billed and {unconfirmed} expected");
    (gap, unconfirmed)
}
