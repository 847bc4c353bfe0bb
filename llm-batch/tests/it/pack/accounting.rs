//! Tests of the usage, cost, list price and savings of packed responses, and of a cache above the layer.

use futures_util::future::join_all;
use llm_batch::pack::{Check, PackShare};
use llm_cache::{Cache, CacheLayer};
use llm_core::{
    Call, Cause, Charge, ChatResponse, Error, ErrorKind, Reply, Usage, Usd,
    layer::{Accounting, oneshot},
    price::PriceTable,
};
use llm_providers::Ledger;
use llm_ratelimit::{Limiter, Plans, RateLimitLayer};
use tower::{Layer, ServiceBuilder};

use crate::pack::vendor::{Prompt, Requests, Said, Service, checked, entries, layer, numbered, right, send, written};

pub(crate) fn prices() -> PriceTable {
    let json = r#"{"as_of": "2026-12-01", "models": {"m": {"rows": [{"input": "0.01", "output": "0.04"}]}}}"#;
    PriceTable::from_json(json).expect("the table is one")
}

fn sums(replies: &[Result<Reply<ChatResponse>, Error>]) -> (Usage, Usd) {
    let accounting = || replies.iter().flatten().map(|reply| reply.receipt.accounting());
    (accounting().filter_map(|a| a.usage).sum(), accounting().filter_map(|a| a.cost).sum())
}

#[tokio::test(start_paused = true)]
async fn shares_of_a_pack_add_up() {
    let requests = Requests::default();
    let pack = layer(7, 1).prices(prices()).layer(requests.kind());
    let texts: Vec<String> = (0..7).map(|n| format!("{n} {}", "x".repeat(n * 13))).collect();
    let replies = send(&pack, &texts).await;
    assert_eq!((right(&texts, &replies), pack.stats().batches.requests), (7, 1));
    let (usage, cost) = sums(&replies);
    assert_eq!(cost.nanos() as u64, 10 * usage.input + 40 * usage.output);
    let shares: Vec<u64> =
        replies.iter().flatten().filter_map(|reply| reply.receipt.usage()).map(|usage| usage.input).collect();
    assert!(shares[6] > 2 * shares[0], "a longer item pays more: {shares:?}");
}

#[tokio::test(start_paused = true)]
async fn packed_receipt_has_saving_and_share() {
    let requests = Requests::default();
    let pack = layer(4, 1).prices(prices()).layer(requests.kind());
    let long = "Answer each question as the manual says. ".repeat(200);
    let call = |n: usize| {
        let request =
            llm_core::ChatRequest::new("m").system(&*long).user(format!("question {n}")).max_output_tokens(50);
        oneshot(pack.clone(), Call::new("acme", request))
    };
    let replies = join_all((0..4).map(call)).await;
    for reply in replies.iter().flatten() {
        let accounting = reply.receipt.accounting();
        let saved = accounting.saved.of(Cause::Packed);
        assert!(accounting.packed && saved > Usd::ZERO);
        assert_eq!(accounting.list, accounting.cost.map(|cost| cost + saved));
        // Alone, the prompt would have needed the whole frame: about 2,000 tokens at 10 nano-dollars.
        let list = accounting.list.expect("it is known").nanos();
        assert!((20_000..24_000).contains(&list), "{list}");
        let share = reply.extensions.get::<PackShare>().expect("it was packed");
        assert_eq!(share.prompts, 4);
        assert!((1_500..1_600).contains(&share.prefix_tokens), "{share:?}");
    }
    assert_eq!(pack.stats().packed, 4);
    let unpriced = layer(4, 1).layer(requests.kind());
    let replies = send(&unpriced, &numbered(4)).await;
    let accounting = replies[0].as_ref().expect("it was answered").receipt.accounting();
    assert!(accounting.packed && accounting.saved.of(Cause::Packed) == Usd::ZERO);
}

#[tokio::test(start_paused = true)]
async fn checked_receipt_pays_both() {
    let requests = Requests::default();
    let pack = checked(4, 1, Check::new(1.0, 0.5)).prices(prices()).layer(requests.kind());
    let replies = send(&pack, &numbered(4)).await;
    let (usage, cost) = sums(&replies);
    // One pack and four lone calls were sent.
    assert_eq!(requests.sizes().len(), 5);
    assert_eq!(cost.nanos() as u64, 10 * usage.input + 40 * usage.output);
    for reply in replies.iter().flatten() {
        let accounting = reply.receipt.accounting();
        assert!(!accounting.packed && accounting.saved.of(Cause::Packed) < Usd::ZERO);
        assert_eq!(accounting.list, accounting.cost.map(|cost| cost + accounting.saved.total()));
    }
}

/// Returns a vendor that answers packs, and fails every lone prompt with this charge.
fn fails_alone(requests: &Requests, charge: Charge) -> Service {
    let fail = move |_: &Prompt| Err(Error::new(ErrorKind::Server, "it broke").with_charge(charge));
    requests.vendor_of_lone(fail, |prompts| Ok(written(&entries(prompts))))
}

#[tokio::test(start_paused = true)]
async fn failed_check_is_on_the_receipt() {
    let used = Usage::new(30, 5);
    for (charge, spent) in
        [(Charge::None, Some(Usage::default())), (Charge::Known(used), Some(used)), (Charge::Unknown, None)]
    {
        let (checks, packs) = (Requests::default(), Requests::default());
        let checked = checked(4, 1, Check::new(1.0, 0.5)).prices(prices()).layer(fails_alone(&checks, charge));
        let unchecked = layer(4, 1).prices(prices()).layer(packs.kind());
        let texts = numbered(4);
        let (replies, without) = (send(&checked, &texts).await, send(&unchecked, &texts).await);
        assert_eq!((right(&texts, &replies), checks.sizes().len()), (4, 5), "a pack and four lone calls: {charge:?}");
        for (reply, without) in replies.iter().flatten().zip(without.iter().flatten()) {
            let (paid, without) = (reply.receipt.accounting(), without.receipt.accounting());
            assert_eq!(paid.usage, spent.zip(without.usage).map(|(spent, usage)| spent + usage));
            let price = |usage: Usage| Usd::from_nanos((10 * usage.input + 40 * usage.output) as i64);
            assert_eq!(paid.cost, spent.zip(without.cost).map(|(spent, cost)| price(spent) + cost), "{charge:?}");
            assert_eq!((paid.list, paid.packed), (without.list, true), "what failed is wasted, and saved nothing");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn failed_pack_charges_its_failed_check() {
    let requests = Requests::default();
    let fail =
        |charge: u64| Error::new(ErrorKind::Server, "it broke").with_charge(Charge::Known(Usage::new(charge, 0)));
    let vendor = requests.vendor_of_lone(move |_| Err(fail(7)), move |_| Err(fail(40)));
    let pack = checked(4, 1, Check::new(1.0, 0.5)).layer(vendor);
    for reply in send(&pack, &numbered(4)).await {
        let error = reply.unwrap_err();
        assert_eq!((error.charge(), error.attempts().count()), (Charge::Known(Usage::new(17, 0)), 2));
    }
}

#[tokio::test(start_paused = true)]
async fn reasoning_is_saved_as_a_rate() {
    // A lone prompt takes 100 tokens of reasoning, a packed one a tenth.
    let requests = Requests::default();
    let inner = requests.kind();
    let thinking = tower::service_fn(move |call: Call<llm_core::ChatRequest>| {
        let (inner, is_packed) = (inner.clone(), call.body.messages.len() == 2 && call.body.response_format.is_some());
        async move {
            let reply = oneshot(inner, call).await?;
            let thought = if is_packed { 40 } else { 100 };
            let think = |usage: Usage| Usage { output: usage.output + thought, reasoning: thought, ..usage };
            reply.receipt.edit(|accounting| accounting.usage = accounting.usage.map(think));
            Ok::<_, Error>(reply)
        }
    });
    let pack = checked(4, 1, Check::new(1.0, 0.5)).layer(thinking);
    send(&pack, &numbered(4)).await;
    assert_eq!(pack.stats().saved_reasoning(), Some(0.9));
}

#[tokio::test(start_paused = true)]
async fn cache_stores_packed_and_can_refuse_it() {
    for refuses in [false, true] {
        let requests = Requests::default();
        let mut builder = Cache::builder("packed");
        if refuses {
            builder = builder.cache_if(|_: &ChatResponse, accounting: &Accounting| !accounting.packed);
        }
        let cached = CacheLayer::new(builder.build().expect("it is valid")).layer(layer(4, 1).layer(requests.kind()));
        let texts = numbered(4);
        send(&cached, &texts).await;
        let again = send(&cached, &texts).await;
        assert_eq!((right(&texts, &again), requests.sizes().len()), (4, if refuses { 2 } else { 1 }));
        assert!(again.iter().flatten().all(|reply| reply.receipt.accounting().packed));
    }
}

/// Drops the first answer of each pack.
fn loses(prompts: &[Prompt]) -> Said {
    let entries: Vec<_> = entries(prompts);
    let first = prompts.iter().position(|prompt| !prompt.is_decoy()).unwrap_or_default();
    Ok(written(&entries.iter().enumerate().filter(|(n, _)| *n != first).map(|(_, e)| e.clone()).collect::<Vec<_>>()))
}

/// Function that creates a vendor which counts its requests.
type Made = fn(&Requests) -> Service;

#[tokio::test(start_paused = true)]
async fn limits_above_packs_equal_the_bill() {
    let vendors: [(f64, Made); 3] = [
        (0.0, |requests| requests.vendor(loses)),
        (0.5, |requests| requests.vendor(loses)),
        (0.5, |requests| fails_alone(requests, Charge::Known(Usage::new(30, 5)))),
    ];
    for (sampled, vendor) in vendors {
        let (requests, check) = (Requests::default(), Check::new(sampled, 0.5));
        let ledger = Ledger::new(prices());
        let plans = Plans::uniform(["10000000 tokens/day", "$10/day"]).expect("they are limits");
        let limiter = Limiter::builder(plans).prices(prices()).build().expect("it is valid");
        let client = ServiceBuilder::new().layer(ledger.attempts()).service(vendor(&requests));
        let pack = checked(8, 3, check).prices(prices()).layer(client);
        let stack = ServiceBuilder::new()
            .layer(ledger.requests())
            .layer(RateLimitLayer::new(limiter.clone()))
            .service(pack.clone());
        let texts = numbered(100);
        let replies = send(&stack, &texts).await;
        assert_eq!(right(&texts, &replies), 100);
        let snapshot = ledger.snapshot();
        let total = snapshot.total();
        assert!(total.balance().is_balanced(), "{total:?}");
        let used: Vec<u64> = limiter.usage("acme").await.iter().map(|status| status.used).collect();
        assert_eq!(used[0], total.usage_paid.total());
        // A limiter prices whole tokens of a failed share, so that each lost answer may be off by the price of one
        // token.
        let off = (total.paid.nanos() - used[1] as i64).unsigned_abs();
        assert!(off <= 50 * pack.stats().repaired, "{off} {total:?}");
        assert!(total.saved.of(Cause::Packed) != Usd::ZERO);
    }
}
