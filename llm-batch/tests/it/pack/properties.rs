//! Property tests: whatever is requested, lost and cancelled, each caller gets its own response or error exactly once,
//! and the amounts add up.

use std::sync::{Arc, Mutex};

use futures_util::future::join_all;
use llm_batch::pack::Check;
use llm_core::{
    Call, Charge, ChatRequest, Error, ErrorKind, Usage, Usd,
    layer::{AttemptPermit, oneshot},
};
use proptest::prelude::*;
use std::time::Duration;
use tokio::time::{sleep, timeout};
use tower::{Layer, service_fn};

use crate::pack::{
    accounting::prices,
    vendor::{Prompt, Requests, Said, answer, checked, entries, written},
};

/// Caller: the time at which it comes, its text, and the time at which it leaves, if it does.
type Caller = (u64, String, Option<u64>);

/// Creates a vendor that drops, duplicates or garbles answers, refuses or fails, as the items' texts say.
fn vendor(outages: bool) -> impl Fn(&[Prompt]) -> Said + Clone + Send + Sync + 'static {
    move |prompts| {
        let has = |c: char| prompts.iter().any(|prompt| !prompt.is_decoy() && prompt.text.contains(c));
        if outages && has('9') {
            return Err(Error::new(ErrorKind::Server, "it broke").with_charge(Charge::Known(Usage::new(50, 0))));
        }
        if has('8') {
            return Err(Error::new(ErrorKind::ContentFiltered, "refused").with_charge(Charge::Known(Usage::new(30, 0))));
        }
        let mut entries = entries(prompts);
        if has('7') {
            entries.iter_mut().for_each(|(_, answer)| *answer = "all".into());
        }
        let mut said: Vec<(String, String)> = Vec::new();
        for (entry, prompt) in entries.into_iter().zip(prompts) {
            match prompt.text.chars().next() {
                _ if prompt.is_decoy() => said.push(entry),
                Some('6') => {}
                Some('5') => said.extend([entry.clone(), entry]),
                _ => said.insert(0, entry),
            }
        }
        let text = written(&said);
        Ok(if has('4') { text[..text.len() / 2].to_owned() + "é" } else { text })
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn pack_answers_each_caller_once(
        callers in prop::collection::vec((0u64..200, "[0-9a-z\"{}\\[\\] ]{0,12}", prop::option::weighted(0.2, 0u64..200)), 1..40),
        size in 1usize..10,
        sampled in prop::sample::select(vec![0.0, 0.3, 1.0]),
        outages in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(run(callers, size, sampled, outages, seed))?;
    }
}

fn charged(charge: Charge) -> Usage {
    match charge {
        Charge::Known(usage) => usage,
        Charge::None | Charge::Unknown => Usage::default(),
    }
}

/// Returns the vendor's price of a usage.
fn price(usage: Usage) -> Usd {
    Usd::from_nanos((10 * usage.input + 40 * usage.output) as i64)
}

/// Usage and cost that the vendor charged, and that the callers were charged.
type Books = Arc<Mutex<(u64, Usd, u64, Usd)>>;

async fn run(callers: Vec<Caller>, size: usize, sampled: f64, outages: bool, seed: u64) -> Result<(), TestCaseError> {
    let (requests, books) = (Requests::default(), Books::default());
    let inner = requests.vendor(vendor(outages));
    let billed = Arc::clone(&books);
    let inner = service_fn(move |call: Call<ChatRequest>| {
        let (inner, billed) = (inner.clone(), Arc::clone(&billed));
        async move {
            let result = oneshot(inner, call).await;
            let mut billed = billed.lock().expect("no test panics holding it");
            match &result {
                Ok(reply) => {
                    billed.0 += reply.receipt.usage().map_or(0, |usage| usage.total());
                    billed.1 += reply.receipt.cost().unwrap_or_default();
                }
                Err(error) => {
                    let usage = charged(error.charge());
                    billed.0 += usage.total();
                    billed.1 += price(usage);
                }
            }
            result
        }
    });
    let pack = checked(size, seed, Check::new(sampled, 0.5)).prices(prices()).layer(inner);
    let stay = callers.iter().all(|caller| caller.2.is_none());
    let one = |(at, text, leaves): Caller| {
        let (pack, books) = (pack.clone(), Arc::clone(&books));
        async move {
            sleep(Duration::from_millis(at)).await;
            let mut call = Call::new("acme", crate::pack::vendor::request(&text));
            let counted = Arc::clone(&books);
            // As in a limiter, a failed attempt is counted when the next one is permitted.
            call.extensions.insert(AttemptPermit::new(move |failed: Error| {
                let mut books = counted.lock().expect("no test panics holding it");
                let usage = charged(failed.charge());
                books.2 += usage.total();
                // A share of a response has a cost, even if it has no answer.
                books.3 += failed.accounting().and_then(|accounting| accounting.cost).unwrap_or_else(|| price(usage));
                std::future::ready(Ok(()))
            }));
            let wait = leaves.map_or(Duration::from_secs(60), Duration::from_millis);
            let Ok(result) = timeout(wait, oneshot(pack, call)).await else { return Ok(()) };
            let mut books = books.lock().expect("no test panics holding it");
            match result {
                Ok(reply) => {
                    prop_assert_eq!(reply.output.text(), answer(&text));
                    books.2 += reply.receipt.usage().map_or(0, |usage| usage.total());
                    books.3 += reply.receipt.cost().unwrap_or_default();
                }
                Err(error) => {
                    prop_assert!(outages && error.kind() == ErrorKind::Server, "{:?}", error);
                    let last = error.attempts().last().map_or(Usage::default(), |attempt| charged(attempt.charge));
                    books.2 += last.total();
                    books.3 += price(last);
                }
            }
            Ok(())
        }
    };
    for result in join_all(callers.into_iter().map(one)).await {
        result?;
    }
    pack.close().await;
    let books = books.lock().expect("no test panics holding it");
    if stay {
        prop_assert_eq!((books.2, books.3), (books.0, books.1), "the shares add up to the bill");
    }
    Ok(())
}
