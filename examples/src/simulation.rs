//! Recommended stack in front of a simulated vendor, which is called over real HTTP.

use std::{collections::BTreeSet, ops::RangeInclusive, sync::Arc, time::Duration};

use llm_core::{BoxError, Call, ChatRequest, Clock, Error, Origin, Provider, price::PriceTable};
use llm_providers::{Ledger, OpenAi, ledger::Snapshot, prices};
use llm_testkit::{Distribution, Latency, Server, Vendor, openai};
use serde_json::{Value, json};

pub use crate::stack::{CacheSettings, SavingLayers};
use crate::{
    packers::simulated::responder,
    stack,
    workload::{INSTRUCTION, Request},
};

/// Requested model, whose prices apply.
pub const MODEL: &str = "gpt-4o-mini";
/// Assumed length of a response, in tokens: some ten test cases.
pub const RESPONSE_TOKENS: RangeInclusive<u64> = 300..=600;
/// Largest number of output tokens that requests state. Without it, prompts are not packed.
const MAX_OUTPUT_TOKENS: u64 = 800;
/// Divisor of the vendor's latency, so that a run takes seconds.
pub const LATENCY_DIVISOR: u32 = 100;

const KEY: &str = "no-real-key";
const SEED: u64 = 2026;

/// Stack with its ledger, and the vendor below it with its bills.
pub struct Simulation {
    saving_layers: SavingLayers,
    unpriced: Vec<Arc<str>>,
    provider: Arc<dyn Provider>,
    ledger: Ledger,
    vendor: Vendor,
    _server: Server,
}

impl Simulation {
    /// Starts a vendor on loopback and a stack in front of it. **Spawns tasks** of the vendor, which end when this is
    /// dropped.
    ///
    /// `models` are those that requests name besides [`MODEL`]. A model without a known price is billed like [`MODEL`].
    ///
    /// # Errors
    ///
    /// A capacity or a time to live with which nothing would be stored.
    pub async fn start(
        clock: impl Clock,
        latency: Latency,
        saving_layers: impl Into<SavingLayers>,
        models: &BTreeSet<Arc<str>>,
    ) -> Result<Self, BoxError> {
        let (prices, unpriced) = prices(models)?;
        let vendor = vendor(latency, &prices, models)?;
        let server = vendor.serve().await;

        let (ledger, saving_layers) = (Ledger::new(prices.clone()), saving_layers.into());
        let client = OpenAi::new(KEY)?.base_url(&server.base_url())?;
        let provider = stack::build(client, &ledger, prices, clock, saving_layers)?;
        Ok(Self { saving_layers, unpriced, provider, ledger, vendor, _server: server })
    }

    /// Requests the test cases of one request. Returns the origin of the response.
    ///
    /// # Errors
    ///
    /// The error of the stack.
    pub async fn send(provider: Arc<dyn Provider>, request: Request) -> Result<Origin, Error> {
        let mut body = ChatRequest::new(request.model.unwrap_or_else(|| MODEL.into()));
        if request.instructed {
            body = body.system(INSTRUCTION);
        }
        let body = body.user(request.text).temperature(0.0).max_output_tokens(MAX_OUTPUT_TOKENS);
        let call = Call::new(request.organisation, body).with_label("feature", "test-generation")?;
        Ok(provider.chat(call).await?.receipt.origin())
    }

    /// Returns the stack in the form that an application holds.
    pub fn provider(&self) -> Arc<dyn Provider> {
        Arc::clone(&self.provider)
    }

    /// Returns the snapshot of the stack's ledger.
    pub fn books(&self) -> Snapshot {
        self.ledger.snapshot()
    }

    /// Returns the amount that the vendor billed, in nano-dollars, and the number of billed calls.
    pub fn bill(&self) -> (u64, usize) {
        (self.vendor.total_billed(), self.vendor.bills().len())
    }

    /// Returns a text for readers of the figures: what is simulated, and how long responses were stored.
    pub fn disclosure(&self, latency: &str) -> String {
        let kept = self.saving_layers.cache.map_or("nothing".to_owned(), |CacheSettings { ttl, max_bytes }| {
            let time = ttl.map_or("for ever".to_owned(), |ttl| format!("for {} s", ttl.as_secs()));
            format!("{time}, in {} MiB", max_bytes.div_ceil(1 << 20))
        });
        let unpriced = match &self.unpriced[..] {
            [] => String::new(),
            models => format!(" (no price is known of {}: at {MODEL}'s)", models.join(", ")),
        };
        format!(
            "simulated: the vendor, its responses ({} to {} tokens each, assumed) and its latency ({latency}); \
             money at the list prices of {}{unpriced}. Kept: {kept}. Counted: calls, hits, coalesced.",
            RESPONSE_TOKENS.start(),
            RESPONSE_TOKENS.end(),
            self.books().prices_as_of(),
        )
    }
}

/// Returns the latency of a mid-sized chat model, scaled down: half a second to the first token, 12 ms for each further
/// token.
pub fn latency() -> Latency {
    let first = Distribution::LogNormal { median: Duration::from_millis(500), sigma_permille: 400 };
    Latency::new(first, Distribution::Fixed(Duration::from_millis(12))).scaled(1.0 / f64::from(LATENCY_DIVISOR))
}

/// Returns the prices of [`MODEL`] and `models`, and those of `models` that are billed like [`MODEL`].
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

/// Creates a vendor that bills at these prices for short prompts, by its own arithmetic.
fn vendor(latency: Latency, prices: &PriceTable, models: &BTreeSet<Arc<str>>) -> Result<Vendor, BoxError> {
    let mut builder = Vendor::builder().seed(SEED).keys([KEY]).respond_with(responder(test_cases)).latency(latency);
    for model in [MODEL].into_iter().chain(models.iter().map(|model| &**model)) {
        let price = prices.model(model).and_then(|model| model.at(1)).ok_or("a model has no price")?;
        let cached = price.cache_read.unwrap_or(price.input);
        builder = builder.price(model, price.input.nanos(), cached.nanos(), price.output.nanos());
    }
    Ok(builder.build())
}

/// Returns the response to one text, whose length within [`RESPONSE_TOKENS`] follows from the text's hash. It is the
/// same alone and in a pack.
fn test_cases(text: &str) -> Value {
    let body = json!({"messages": [{"role": "user", "content": text}]});
    let (low, high) = (RESPONSE_TOKENS.start(), RESPONSE_TOKENS.end());
    let tokens = low + openai::response_hash(&body) % (high - low + 1);
    Value::String(openai::response_text(&body, 0, tokens))
}
