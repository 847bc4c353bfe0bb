//! The recommended stack, in front of a simulated vendor that is asked over real HTTP.

use std::{ops::RangeInclusive, sync::Arc, time::Duration};

use llm_cache::{Cache, CacheLayer};
use llm_core::{BoxError, Call, ChatRequest, Clock, Error, Origin, Provider, into_provider};
use llm_providers::{Ledger, OpenAi, ledger::Snapshot, prices};
use llm_testkit::{Dist, Latency, Server, Vendor};

use crate::workload::{INSTRUCTION, Request};

/// The model that is asked, and whose prices count.
pub const MODEL: &str = "gpt-4o-mini";
/// The assumed length of an answer, in tokens: some ten test cases.
pub const ANSWER_TOKENS: RangeInclusive<u64> = 300..=600;
/// The vendor's latency is divided by this, so that a run takes seconds.
pub const LATENCY_DIVISOR: u32 = 100;

const KEY: &str = "no-real-key";
const SEED: u64 = 2026;

/// A stack, the vendor below it, and the books of both.
pub struct Simulation {
    provider: Arc<dyn Provider>,
    ledger: Ledger,
    vendor: Vendor,
    _server: Server,
}

impl Simulation {
    /// Starts a vendor on loopback and a stack in front of it. **Spawns tasks**: the vendor's, which end with this.
    ///
    /// Answers are kept for ever: what a run shows is how often questions repeat.
    ///
    /// # Errors
    ///
    /// None in practice: the settings are fixed.
    pub async fn start(clock: impl Clock, latency: Latency) -> Result<Self, BoxError> {
        let prices = prices::openai();
        let vendor = vendor(latency)?;
        let server = vendor.serve().await;

        let ledger = Ledger::new(prices);
        let cache = Cache::builder("test-generation").no_expiry().max_bytes(4 << 30).clock(clock).build()?;
        let stack = tower::ServiceBuilder::new()
            .layer(ledger.answers())
            .layer(CacheLayer::new(cache))
            .timeout(Duration::from_secs(60))
            .load_shed()
            .layer(ledger.purchases())
            .service(OpenAi::new(KEY)?.base_url(&server.base_url())?);
        Ok(Self { provider: into_provider(stack), ledger, vendor, _server: server })
    }

    /// Asks for the test cases of one request; tells who answered.
    ///
    /// # Errors
    ///
    /// The stack's.
    pub async fn ask(provider: Arc<dyn Provider>, request: Request) -> Result<Origin, Error> {
        let question = ChatRequest::new(MODEL).system(INSTRUCTION).user(request.text).temperature(0.0);
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
        (self.vendor.total_billed(), self.vendor.books().len())
    }

    /// What is simulated, for whoever reads the figures.
    pub fn disclosure(&self, latency: &str) -> String {
        format!(
            "simulated: the vendor, its answers ({} to {} tokens each, assumed) and its latency ({latency}); \
             money at {MODEL}'s list prices of {}. Counted: calls, hits, coalesced.",
            ANSWER_TOKENS.start(),
            ANSWER_TOKENS.end(),
            self.books().prices_as_of(),
        )
    }
}

/// The latency of a mid-sized chat model, scaled down: half a second to the first token, 12 ms a token after it.
pub fn latency() -> Latency {
    let first = Dist::LogNormal { median: Duration::from_millis(500), sigma_permille: 400 };
    Latency::new(first, Dist::Fixed(Duration::from_millis(12))).scaled(1.0 / f64::from(LATENCY_DIVISOR))
}

/// A vendor that bills at the price table's prices, by its own arithmetic.
fn vendor(latency: Latency) -> Result<Vendor, BoxError> {
    let table = prices::openai();
    let price = table.model(MODEL).and_then(|model| model.at(1)).ok_or("the price table lacks the example's model")?;
    let cached = price.cache_read.unwrap_or(price.input);
    let builder = Vendor::builder().seed(SEED).keys([KEY]).answer_tokens(ANSWER_TOKENS).latency(latency);
    Ok(builder.price(MODEL, price.input.nanos(), cached.nanos(), price.output.nanos()).build())
}
