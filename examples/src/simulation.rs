//! The recommended stack, in front of a simulated vendor that is asked over real HTTP.

use std::{collections::BTreeSet, ops::RangeInclusive, sync::Arc, time::Duration};

use llm_core::{BoxError, Call, ChatRequest, Clock, Error, Origin, Provider, price::PriceTable};
use llm_providers::{Ledger, OpenAi, ledger::Snapshot, prices};
use llm_testkit::{Distribution, Latency, Server, Vendor, openai};
use serde_json::{Value, json};

pub use crate::stack::{Keeping, Savers};
use crate::{
    packers::simulated::responder,
    stack,
    workload::{INSTRUCTION, Request},
};

/// The model that is asked, and whose prices count.
pub const MODEL: &str = "gpt-4o-mini";
/// The assumed length of an answer, in tokens: some ten test cases.
pub const ANSWER_TOKENS: RangeInclusive<u64> = 300..=600;
/// The bound on an answer that requests state. Without one, prompts are not packed.
const MOST_TOKENS: u64 = 800;
/// The vendor's latency is divided by this, so that a run takes seconds.
pub const LATENCY_DIVISOR: u32 = 100;

const KEY: &str = "no-real-key";
const SEED: u64 = 2026;

/// A stack, the vendor below it, and the books of both.
pub struct Simulation {
    savers: Savers,
    unpriced: Vec<Arc<str>>,
    provider: Arc<dyn Provider>,
    ledger: Ledger,
    vendor: Vendor,
    _server: Server,
}

impl Simulation {
    /// Starts a vendor on loopback and a stack in front of it. **Spawns tasks**: the vendor's, which end with this.
    ///
    /// `models` are those that requests name besides [`MODEL`]. One that has no known price is billed as that is.
    ///
    /// # Errors
    ///
    /// A capacity or a time that keeps nothing.
    pub async fn start(
        clock: impl Clock,
        latency: Latency,
        savers: impl Into<Savers>,
        models: &BTreeSet<Arc<str>>,
    ) -> Result<Self, BoxError> {
        let (prices, unpriced) = prices(models)?;
        let vendor = vendor(latency, &prices, models)?;
        let server = vendor.serve().await;

        let (ledger, savers) = (Ledger::new(prices.clone()), savers.into());
        let client = OpenAi::new(KEY)?.base_url(&server.base_url())?;
        let provider = stack::build(client, &ledger, prices, clock, savers)?;
        Ok(Self { savers, unpriced, provider, ledger, vendor, _server: server })
    }

    /// Asks for the test cases of one request; tells who answered.
    ///
    /// # Errors
    ///
    /// The stack's.
    pub async fn ask(provider: Arc<dyn Provider>, request: Request) -> Result<Origin, Error> {
        let mut question = ChatRequest::new(request.model.unwrap_or_else(|| MODEL.into()));
        if request.instructed {
            question = question.system(INSTRUCTION);
        }
        let question = question.user(request.text).temperature(0.0).max_output_tokens(MOST_TOKENS);
        let call = Call::new(request.organisation, question).with_label("feature", "test-generation")?;
        Ok(provider.chat(call).await?.receipt.origin())
    }

    /// The stack, as an application holds it.
    pub fn provider(&self) -> Arc<dyn Provider> {
        Arc::clone(&self.provider)
    }

    /// The stack's books.
    pub fn books(&self) -> Snapshot {
        self.ledger.snapshot()
    }

    /// What the vendor billed, by its own books, in nano-dollars; and for how many calls.
    pub fn bill(&self) -> (u64, usize) {
        (self.vendor.total_billed(), self.vendor.bills().len())
    }

    /// Text for a reader of the figures: what is simulated, and how answers were kept.
    pub fn disclosure(&self, latency: &str) -> String {
        let kept = self.savers.cache.map_or("nothing".to_owned(), |Keeping { ttl, max_bytes }| {
            let time = ttl.map_or("for ever".to_owned(), |ttl| format!("for {} s", ttl.as_secs()));
            format!("{time}, in {} MiB", max_bytes.div_ceil(1 << 20))
        });
        let unpriced = match &self.unpriced[..] {
            [] => String::new(),
            models => format!(" (no price is known of {}: at {MODEL}'s)", models.join(", ")),
        };
        format!(
            "simulated: the vendor, its answers ({} to {} tokens each, assumed) and its latency ({latency}); \
             money at the list prices of {}{unpriced}. Kept: {kept}. Counted: calls, hits, coalesced.",
            ANSWER_TOKENS.start(),
            ANSWER_TOKENS.end(),
            self.books().prices_as_of(),
        )
    }
}

/// The latency of a mid-sized chat model, scaled down: half a second to the first token, 12 ms a token after it.
pub fn latency() -> Latency {
    let first = Distribution::LogNormal { median: Duration::from_millis(500), sigma_permille: 400 };
    Latency::new(first, Distribution::Fixed(Duration::from_millis(12))).scaled(1.0 / f64::from(LATENCY_DIVISOR))
}

/// The prices of [`MODEL`] and `models`, and those of `models` that are billed as [`MODEL`] is.
fn prices(models: &BTreeSet<Arc<str>>) -> Result<(PriceTable, Vec<Arc<str>>), BoxError> {
    let mut table = if models.is_empty() { prices::openai() } else { prices::all() };
    let price = table.model(MODEL).ok_or("the price table lacks the example's model")?.clone();
    let mut unpriced = Vec::new();
    for model in models {
        if table.model(model).and_then(|model| model.at(1)).is_none() {
            table = table.with(&**model, price.clone())?;
            unpriced.push(Arc::clone(model));
        }
    }
    Ok((table, unpriced))
}

/// A vendor that bills at these prices for short prompts, by its own arithmetic.
fn vendor(latency: Latency, prices: &PriceTable, models: &BTreeSet<Arc<str>>) -> Result<Vendor, BoxError> {
    let mut builder = Vendor::builder().seed(SEED).keys([KEY]).respond_with(responder(test_cases)).latency(latency);
    for model in [MODEL].into_iter().chain(models.iter().map(|model| &**model)) {
        let price = prices.model(model).and_then(|model| model.at(1)).ok_or("a model has no price")?;
        let cached = price.cache_read.unwrap_or(price.input);
        builder = builder.price(model, price.input.nanos(), cached.nanos(), price.output.nanos());
    }
    Ok(builder.build())
}

/// Returns the answer to one text, of [`ANSWER_TOKENS`] by the text's hash. It is the same alone and in a pack.
fn test_cases(text: &str) -> Value {
    let body = json!({"messages": [{"role": "user", "content": text}]});
    let (low, high) = (ANSWER_TOKENS.start(), ANSWER_TOKENS.end());
    let tokens = low + openai::response_hash(&body) % (high - low + 1);
    Value::String(openai::response_text(&body, 0, tokens))
}
