//! Tests of responses whose cost differs from their list price: service classes, packed requests, and stored and shared
//! responses of both.

use futures_util::FutureExt;
use llm_core::{
    Call, Cause, Charge, ChatRequest, Error, ErrorKind, Origin, Receipt, Reply, Usage, Usd, into_service,
    layer::{Accounting, oneshot},
    price::PriceTable,
};
use llm_providers::{Ledger, ledger::Row};
use proptest::prelude::*;
use std::{sync::Arc, time::Duration};
use tower::Layer;

use super::{
    requests::answered,
    tiers::table,
    vendor::{COST, Head, Plan, Vendor, call, response, stack},
};

/// Nano-dollars for a token of input and of output, by the service classes in [`table`].
const RATES: [(Option<&str>, i64, i64); 5] = [
    (None, 1_000, 2_000),
    (Some("default"), 1_000, 2_000),
    (Some("flex"), 500, 1_000),
    (Some("batch"), 500, 1_000),
    (Some("priority"), 2_000, 4_000),
];

fn nanos(amount: i64) -> Usd {
    Usd::from_nanos(amount)
}

fn book(ledger: &Ledger, request: ChatRequest, plan: Plan) -> (Receipt, Row) {
    let reply = stack(ledger, [plan]).chat(Call::new("acme", request)).now_or_never();
    let books = ledger.snapshot();
    assert!(books.balance().is_balanced(), "{books}");
    (reply.expect("it is ready").expect("it answers").receipt, books.total().clone())
}

#[test]
fn tier_saves_difference_to_standard() {
    let plain = || ChatRequest::new("m").user("?");
    let cost = COST.nanos();
    for (named, asked, surcharges, paid, list) in [
        (None, None, &[][..], cost, cost),
        (Some("default"), None, &[], cost, cost),
        (Some("flex"), None, &[], cost / 2, cost),
        (Some("batch"), None, &[], cost / 2, cost),
        (Some("priority"), None, &[], cost * 2, cost),
        (None, Some("flex"), &[], cost / 2, cost),
        (None, Some("priority"), &[], cost * 2, cost),
        (Some("default"), Some("priority"), &[], cost, cost),
        (Some("flex"), None, &["us"], cost * 11 / 20, cost * 11 / 10),
    ] {
        let request = asked.map_or_else(plain, |tier| plain().extra("service_tier", tier));
        let (receipt, row) = book(&Ledger::new(table()), request, Plan { tier: named, surcharges, ..Plan::default() });
        let (paid, list) = (nanos(paid), nanos(list));
        assert_eq!((receipt.cost(), receipt.list()), (Some(paid), Some(list)), "{named:?} {asked:?}");
        assert_eq!((row.paid, row.useful, row.list), (paid, paid, list), "{named:?} {asked:?}");
        assert_eq!(row.saved.of(Cause::Tier), list - paid, "{named:?} {asked:?}");
        assert_eq!((row.saved.total(), receipt.saved()), (list - paid, list - paid), "{named:?} {asked:?}");
        assert_eq!((row.unlisted_responses, row.unlisted), (0, Usd::ZERO), "{named:?} {asked:?}");
    }
}

#[test]
fn dearer_tier_prints_negative_saving() {
    let ledger = Ledger::new(table());
    book(&ledger, ChatRequest::new("m").user("?"), Plan { tier: Some("priority"), ..Plan::default() });
    let (books, mut csv) = (ledger.snapshot(), Vec::new());
    assert!(books.to_string().contains("saved: tier -$0.00002\n"), "{books}");
    assert!(books.to_string().contains("  -$0.000020  "), "{books}");
    books.write_csv(&mut csv).unwrap();
    let csv = String::from_utf8(csv).unwrap();
    let mut lines = csv.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let (names, total) = (lines.next().unwrap(), lines.next_back().unwrap());
    let at = names.iter().position(|name| *name == "saved_tier_nano_usd").unwrap();
    assert_eq!(total[at], "-20000");
}

/// Images of this model have a price only in the batch class.
#[test]
fn unknown_list_price_is_named_not_zero() {
    let json = r#"{"as_of": "2026-01-02", "models": {"m": {
        "rows": [{"input": "1", "output": "2"}],
        "tiers": {"batch": [{"input": "0.5", "output": "1", "image_output": "1"}]}}}}"#;
    let ledger = Ledger::new(PriceTable::from_json(json).unwrap());
    let usage = Usage { image_output: 1, ..Usage::new(10, 5) };
    let batch = || Plan { tier: Some("batch"), usage: Some(usage), ..Plan::default() };
    let (receipt, row) = book(&ledger, ChatRequest::new("m").user("?"), batch());
    let half = nanos(COST.nanos() / 2);
    assert_eq!((receipt.cost(), receipt.list(), receipt.paid().exact()), (Some(half), None, Some(half)));
    assert_eq!((row.paid, row.useful, row.list, row.unlisted), (half, half, Usd::ZERO, half));
    assert_eq!((row.unpriced_responses, row.unlisted_responses, row.saved.total()), (0, 1, Usd::ZERO));
    let table = ledger.snapshot().to_string();
    let total = table.lines().find(|line| line.starts_with("in all")).unwrap();
    assert_eq!(total.matches("unknown").count(), 2, "list and saved: {total}");
    assert!(table.contains("\nwithout list price: responses 1, useful and saved $0.00001\n"), "{table}");
    assert!(table.contains("responses 1: the price table lists no price of the model \"m\""), "{table}");
    // The vendor's stated cost counts, and the list price is unknown.
    let stated = Ledger::new(PriceTable::new("2026-01-02"));
    let receipt = Receipt::default();
    receipt.edit(|accounting| (accounting.cost, accounting.service_tier) = (Some(half), Some("flex".into())));
    let reply = Reply::new(response(), receipt);
    let bottom = stated.attempts().layer(tower::service_fn(move |_: Call<ChatRequest>| {
        let reply = Reply::new(reply.output.clone(), reply.receipt.clone());
        async move { Ok::<_, llm_core::Error>(reply) }
    }));
    let accounting = oneshot(bottom, call("acme")).now_or_never().unwrap().unwrap().receipt.accounting();
    assert_eq!((accounting.cost, accounting.list), (Some(half), None));
    assert!(accounting.unpriced.is_some());
}

/// Reader of a response.
#[derive(Clone, Copy, Debug)]
enum Reader {
    /// Reader that may claim the cost: the call's own caller, or a caller that joined it.
    Bought,
    /// Reader that gets the response from a store.
    Stored,
    /// Reader whose call was cancelled.
    Gone,
}

/// Attempt, its responses, and their readers.
#[derive(Clone, Debug)]
struct Step {
    rates: usize,
    usage: (u64, u64),
    failed: bool,
    /// Of a packed request, each response's own item and output, and whether its price alone is known.
    packed: Vec<(u64, u64, bool)>,
    readers: Vec<Reader>,
}

impl Step {
    fn price(&self, input: i64, output: i64) -> i64 {
        self.usage.0 as i64 * input + self.usage.1 as i64 * output
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let reader = prop_oneof![3 => Just(Reader::Bought), 1 => Just(Reader::Stored), 1 => Just(Reader::Gone)];
    let item = (0u64..300, 0u64..90, prop::bool::weighted(0.9));
    let step = (
        0..RATES.len(),
        (1u64..5_000, 0u64..500),
        prop::bool::weighted(0.1),
        prop::collection::vec(item, 0..5),
        prop::collection::vec(reader, 0..5),
    );
    let step = step.prop_map(|(rates, usage, failed, packed, readers)| Step { rates, usage, failed, packed, readers });
    prop::collection::vec(step, 1..12)
}

/// Expected totals, computed only from the steps and [`RATES`].
#[derive(Debug, Default)]
struct Expected {
    paid: i64,
    wasted: i64,
    useful: i64,
    list: i64,
    unlisted: i64,
    saved: [i64; Cause::ALL.len()],
}

/// A response and its amounts: cost, list price of its share, list price alone if that is known.
type Response = (Accounting, i64, i64, Option<i64>);

/// Makes the attempt of a step; `None` if it fails.
async fn buy(ledger: &Ledger, step: &Step) -> Option<Accounting> {
    let (tier, ..) = RATES[step.rates];
    let usage = Usage::new(step.usage.0, step.usage.1);
    let mut plan = Plan { tier, usage: Some(usage), ..Plan::default() };
    if step.failed {
        let mut accounting = Accounting::default();
        accounting.service_tier = tier.map(Into::into);
        let error = Error::new(ErrorKind::Malformed, "odd").with_charge(Charge::Known(usage));
        plan.head = Head::Fails(error.with_accounting(accounting));
    }
    let vendor = Vendor::default();
    vendor.0.lock().unwrap().push_back(plan);
    let bottom = ledger.attempts().layer(into_service(Arc::new(vendor)));
    let reply = oneshot(bottom, call("acme")).await.ok()?;
    Some(reply.receipt.edit(std::mem::take))
}

/// Splits a packed response as a packer does.
fn unpack(mut whole: Accounting, step: &Step) -> Vec<Response> {
    let (_, input, output) = RATES[step.rates];
    let (cost, list) = (step.price(input, output), step.price(1_000, 2_000));
    if step.packed.is_empty() {
        return vec![(whole, cost, list, Some(list))];
    }
    let weights: Vec<u64> = step.packed.iter().map(|(item, ..)| item + 1).collect();
    let claims = whole.cost_share.take().and_then(|claim| claim.split(&weights)).expect("nobody took it");
    let (costs, lists) = (nanos(cost).split(&weights), nanos(list).split(&weights));
    let prefix = 400;
    let shares = step.packed.iter().zip(claims).zip(costs.into_iter().zip(lists));
    shares
        .map(|(((item, said, known), claim), (cost, list))| {
            let mut share = Accounting::default();
            share.copy_response(&whole);
            share.set_prices(Ok(cost), Ok(list));
            (share.cost_share, share.paid) = (Some(claim), Some(cost.into()));
            let alone = Usage::new(prefix + item, *said);
            let model = if *known { "m" } else { "unheard-of" };
            share.set_packed(table().list_of(model, &share, &alone));
            let alone = known.then_some((prefix + item) as i64 * 1_000 + *said as i64 * 2_000);
            (share, cost.nanos(), list.nanos(), alone)
        })
        .collect()
}

async fn read(
    ledger: &Ledger,
    (accounting, cost, share, alone): Response,
    readers: &[Reader],
    expected: &mut Expected,
) {
    let mut is_taken = false;
    for (at, reader) in readers.iter().enumerate() {
        let mut own = Accounting::default();
        own.copy_response(&accounting);
        if at == 0 {
            own.paid = accounting.paid.clone();
        } else {
            own.origin = Origin::Coalesced;
        }
        own.cost_share = accounting.cost_share.clone();
        if let Reader::Stored = reader {
            // A store contains only the accounting that belongs to the response.
            own = serde_json::from_str(&serde_json::to_string(&accounting).unwrap()).unwrap();
            own.origin = Origin::Cache { tier: "memory", age: Duration::ZERO };
            own.saved.add(Cause::CacheHit, own.cost.expect("it was bought"));
        }
        let reply = Reply::new(response(), Receipt::new(own));
        let cause = match reader {
            Reader::Gone => continue,
            Reader::Stored => Some(Cause::CacheHit),
            Reader::Bought if is_taken => Some(Cause::Coalesced),
            Reader::Bought => None,
        };
        let receipt = answered(ledger, call("acme"), reply).await;
        is_taken |= cause.is_none();
        match cause {
            Some(cause) => expected.saved[cause as usize] += cost,
            None => expected.useful += cost,
        }
        expected.saved[Cause::Tier as usize] += share - cost;
        match alone {
            Some(alone) => {
                expected.saved[Cause::Packed as usize] += alone - share;
                expected.list += alone;
            }
            None => expected.unlisted += share,
        }
        let paid = receipt.paid().exact().expect("all is known");
        assert_eq!(receipt.list().map(Usd::nanos), alone);
        assert!(alone.is_none_or(|list| paid + receipt.saved() == nanos(list)), "the receipt agrees alone, too");
    }
    expected.wasted += if is_taken { 0 } else { cost };
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn balance_holds_with_packed_and_tiered_responses(steps in steps()) {
        let ledger = Ledger::new(table());
        let mut expected = Expected::default();
        let run = async {
            for step in &steps {
                let (_, input, output) = RATES[step.rates];
                expected.paid += step.price(input, output);
                let Some(whole) = buy(&ledger, step).await else {
                    expected.wasted += step.price(input, output);
                    continue;
                };
                for response in unpack(whole, step) {
                    read(&ledger, response, &step.readers, &mut expected).await;
                }
            }
        };
        run.now_or_never().expect("nothing waits");
        let books = ledger.snapshot();
        prop_assert!(books.balance().is_balanced(), "{}", books);
        let row = books.total();
        let Expected { paid, wasted, useful, list, unlisted, saved } = expected;
        prop_assert_eq!((row.paid, row.wasted.total(), row.useful), (nanos(paid), nanos(wasted), nanos(useful)));
        prop_assert_eq!((row.list, row.unlisted), (nanos(list), nanos(unlisted)));
        prop_assert_eq!(Cause::ALL.map(|cause| row.saved.of(cause).nanos()), saved);
    }
}
