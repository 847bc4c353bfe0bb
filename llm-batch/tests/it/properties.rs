//! Property tests: whatever calls come, fail and leave, each caller gets its own response or error exactly once, and
//! the amounts add up.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::future::join_all;
use llm_batch::BatchLayer;
use llm_core::{
    Call, Charge, EmbedRequest, Error, ErrorKind, Usage, Usd,
    layer::{AttemptPermit, BatchLimits, CostShare, LateEnd, oneshot},
};
use proptest::prelude::*;
use tokio::time::{sleep, timeout};
use tower::{Layer, service_fn};

use crate::support::{MS, embeddings, texts, vector};

/// Caller: the time at which it comes, its texts, its group, and the time at which it leaves, if it does.
type Caller = (u64, Vec<u8>, u8, Option<u64>);

/// Tokens that the vendor charged and that the callers settled.
#[derive(Default)]
struct Books {
    charged: u64,
    settled: Vec<Option<u64>>,
    /// Cost of responses that no caller took, and cost that callers took.
    wasted: Usd,
    taken: Usd,
    paid: Usd,
}

type Shared = Arc<Mutex<Books>>;

/// Settles a call by all of its attempts. Attempts before the last one were charged when the next one was permitted.
fn settle(books: &Shared, end: &LateEnd, is_sent: bool, before: &Mutex<u64>) {
    let tokens = match end {
        LateEnd::Complete(receipt) => {
            receipt.usage().map(|usage| usage.input + *before.lock().expect("no test panics holding it"))
        }
        LateEnd::Failed(error) => match error.charge() {
            Charge::Known(usage) => Some(usage.input),
            Charge::None => Some(0),
            Charge::Unknown => None,
        },
        _ if is_sent => None,
        _ => Some(0),
    };
    books.lock().expect("no test panics holding it").settled.push(tokens);
}

/// Guard that settles a caller's call when it ends, as a limiter does.
struct Held(Shared, llm_core::layer::SentFlag, Arc<Mutex<u64>>);

impl Drop for Held {
    fn drop(&mut self) {
        let (books, flag, before) = (Arc::clone(&self.0), self.1.clone(), Arc::clone(&self.2));
        self.1.leave(move |end| settle(&books, &end, flag.is_sent(), &before));
    }
}

async fn vendor(
    books: Shared,
    outages: bool,
    call: Call<EmbedRequest>,
) -> Result<llm_core::Reply<llm_core::Embeddings>, Error> {
    call.mark_sent();
    let texts = texts(&call.body);
    let tokens = texts.iter().map(String::len).sum::<usize>() as u64;
    sleep(30 * MS).await;
    let fails = |kind, charged: bool| {
        let charge = if charged { Charge::Known(Usage::new(tokens, 0)) } else { Charge::None };
        books.lock().expect("no test panics holding it").charged += if charged { tokens } else { 0 };
        Err(Error::new(kind, "it failed").with_charge(charge))
    };
    if outages && texts.iter().any(|text| text.ends_with('4')) {
        return fails(ErrorKind::Server, true);
    }
    if texts.iter().any(|text| text.ends_with('7')) {
        return fails(ErrorKind::InvalidRequest, false);
    }
    if texts.iter().any(|text| text.ends_with('9')) {
        return fails(ErrorKind::ContentFiltered, true);
    }
    let reply = embeddings(&texts);
    let cost = reply.receipt.cost().expect("it has one");
    let mut open = books.lock().expect("no test panics holding it");
    open.charged += tokens;
    open.paid += cost;
    drop(open);
    let wasted = move |lost| books.lock().expect("no test panics holding it").wasted += lost;
    reply.receipt.edit(|accounting| accounting.cost_share = Some(CostShare::new(cost, wasted)));
    Ok(reply)
}

async fn caller(
    batch: impl llm_core::layer::LlmService<EmbedRequest>,
    books: Shared,
    outages: bool,
    caller: Caller,
) -> Result<(), TestCaseError> {
    let (at, numbers, group, leaves) = caller;
    sleep(MS * at as u32).await;
    let texts: Vec<String> = numbers.iter().map(|number| format!("group {group} text {number}")).collect();
    let tenant = if group == 0 { "acme" } else { "other" };
    let mut call = Call::new(tenant, EmbedRequest::new("m", texts.iter().map(String::as_str)));
    let before = Arc::new(Mutex::new(0));
    let held = Held(Arc::clone(&books), call.track(), Arc::clone(&before));
    call.extensions.insert(AttemptPermit::new(move |failed: Error| {
        if let Charge::Known(usage) = failed.charge() {
            *before.lock().expect("no test panics holding it") += usage.input;
        }
        std::future::ready(Ok(()))
    }));
    let stay = leaves.map_or(Duration::from_secs(60), Duration::from_millis);
    let Ok(result) = timeout(stay, oneshot(batch, call)).await else { return Ok(()) };
    let fits = |ends: &[char]| texts.iter().any(|text| text.ends_with(ends));
    let end = match result {
        Ok(reply) => {
            let expected: Vec<f32> = texts.iter().map(|text| vector(text)).collect();
            prop_assert_eq!(reply.output.vectors.iter().map(|vector| vector[0]).collect::<Vec<_>>(), expected);
            prop_assert!(!fits(&['7', '9']));
            let share = reply.receipt.accounting().cost_share;
            // Taking the share settles it in the books, too.
            let taken = share.and_then(|share| share.take()).unwrap_or_default();
            books.lock().expect("no test panics holding it").taken += taken;
            LateEnd::Complete(reply.receipt)
        }
        Err(error) => {
            let is_own =
                matches!(error.kind(), ErrorKind::InvalidRequest | ErrorKind::ContentFiltered) && fits(&['7', '9']);
            prop_assert!(is_own || outages && error.kind() == ErrorKind::Server, "{:?}", error);
            LateEnd::Failed(error)
        }
    };
    settle(&books, &end, held.1.is_sent(), &held.2);
    std::mem::forget(held);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn batch_answers_each_caller_once(
        callers in prop::collection::vec(
            (0u64..120, prop::collection::vec(0u8..30, 1..4), 0u8..2, prop::option::weighted(0.2, 0u64..90)),
            1..40,
        ),
        items in 1usize..12,
        outages in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let books = Shared::default();
            let inner = { let books = Arc::clone(&books); service_fn(move |call| vendor(Arc::clone(&books), outages, call)) };
            let batch = BatchLayer::new(BatchLimits::of_items(items).with_tokens(200)).layer(inner);
            let count = callers.len();
            let stay = callers.iter().all(|caller| caller.3.is_none());
            let all = callers.into_iter().map(|one| caller(batch.clone(), Arc::clone(&books), outages, one));
            for result in join_all(all).await {
                result?;
            }
            batch.close().await;
            let books = books.lock().expect("no test panics holding it");
            prop_assert_eq!(books.settled.len(), count, "each call settles exactly once");
            prop_assert_eq!(books.taken + books.wasted, books.paid);
            if stay {
                let settled: Option<u64> = books.settled.iter().copied().sum();
                prop_assert_eq!(settled, Some(books.charged), "without losses the shares add up to the bill");
            }
            Ok(())
        })?;
    }
}
