use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use llm_core::{layer::BatchLimits, price::PriceTable};

use super::{
    form::Random,
    packer::{ChatPacker, Packer},
    sizes::Check,
};
use crate::BatchLayer;

/// Layer that packs several prompts with the same frame into one request.
///
/// Use the layer only if all prompts of a tenant have one owner, because a model may obey an instruction in one item
/// about another item. Put [`Tasks`](llm_core::Tasks) above it, so that an application's own operations are packed too.
///
/// ```
/// use llm_batch::pack::{Check, PackLayer};
/// use llm_core::{Provider, Tasks, into_service};
/// use llm_providers::prices;
/// use tower::ServiceBuilder;
///
/// # fn example(client: std::sync::Arc<dyn Provider>) {
/// // One item in fifty is asked alone, too, and one in twenty may disagree.
/// let pack = PackLayer::new(Check::new(0.02, 0.05)).prices(prices::openai());
/// let service = ServiceBuilder::new().layer_fn(Tasks::new).layer(pack).service(into_service(client));
/// # drop(service);
/// # }
/// ```
#[derive(Clone)]
#[must_use]
pub struct PackLayer {
    pub(super) gather: BatchLayer,
    pub(super) check: Check,
    pub(super) start: usize,
    pub(super) most: usize,
    pub(super) tokens: u64,
    pub(super) output: u64,
    pub(super) packers: Vec<Arc<dyn Packer>>,
    pub(super) prices: Option<Arc<PriceTable>>,
    pub(super) has_schema: bool,
    pub(super) random: Random,
}

impl PackLayer {
    /// Creates a layer that packs up to four prompts into a request at first, for each packer and model.
    ///
    /// ```
    /// use llm_batch::pack::{Check, PackLayer};
    ///
    /// // One item in fifty is asked alone, too, and one in twenty may disagree.
    /// let pack = PackLayer::new(Check::new(0.02, 0.05));
    /// # drop(pack);
    /// ```
    pub fn new(check: Check) -> Self {
        let (hasher, count) = (RandomState::new(), AtomicU64::new(0));
        let mut gather = BatchLayer::new(BatchLimits::of_items(usize::MAX)).max_wait(Duration::from_millis(50));
        gather.sends_idle = false;
        Self {
            gather,
            check,
            start: 4,
            most: 64,
            tokens: 100_000,
            output: 16_384,
            packers: vec![Arc::new(ChatPacker)],
            prices: None,
            has_schema: true,
            // The numbers are keyed hashes of a counter, which the author of an item cannot guess, unlike the time.
            random: Arc::new(move || hasher.hash_one(count.fetch_add(1, Relaxed))),
        }
    }

    /// Adds a packer, which takes precedence over those added earlier. The first packer that accepts a request packs
    /// it.
    ///
    /// ```
    /// use llm_batch::pack::{Check, PackLayer, Packer};
    /// use llm_core::ChatRequest;
    ///
    /// /// Positions of tenders, for models that follow a schema.
    /// struct Positions;
    ///
    /// impl Packer for Positions {
    ///     fn name(&self) -> &'static str {
    ///         "positions"
    ///     }
    ///
    ///     fn accepts(&self, request: &ChatRequest) -> bool {
    ///         request.model.starts_with("gpt-")
    ///     }
    /// }
    ///
    /// let pack = PackLayer::new(Check::new(0.02, 0.05)).packer(Positions);
    /// # drop(pack);
    /// ```
    pub fn packer(mut self, packer: impl Packer) -> Self {
        self.packers.insert(0, Arc::new(packer));
        self
    }

    /// Sets the largest number of prompts in a request until a larger size has been judged as good: 4 by default. 1
    /// turns packing off.
    ///
    /// ```
    /// use llm_batch::pack::{Check, PackLayer};
    ///
    /// // Nothing is sampled, so that the size stays ten.
    /// let pack = PackLayer::new(Check::new(0.0, 0.05)).start_size(10);
    /// # drop(pack);
    /// ```
    pub fn start_size(mut self, prompts: usize) -> Self {
        self.start = prompts;
        self
    }

    /// Sets the upper bound to which the number of prompts in a request may grow: 64 by default.
    ///
    /// ```
    /// use llm_batch::pack::{Check, PackLayer};
    ///
    /// let pack = PackLayer::new(Check::new(0.02, 0.05)).max_size(10);
    /// # drop(pack);
    /// ```
    pub fn max_size(mut self, prompts: usize) -> Self {
        self.most = prompts;
        self
    }

    /// Sets the largest number of estimated input tokens of a packed request: 100,000 by default.
    ///
    /// ```
    /// use llm_batch::pack::{Check, PackLayer};
    ///
    /// // A model with a context of 32,768 tokens, of which the response needs a part.
    /// let pack = PackLayer::new(Check::new(0.02, 0.05)).max_tokens(20_000);
    /// # drop(pack);
    /// ```
    pub fn max_tokens(mut self, tokens: u64) -> Self {
        self.tokens = tokens;
        self
    }

    /// Sets the largest value of a packed request's bound on output tokens: 16,384 by default. Vendors refuse a request
    /// whose bound is above the model's own, and the bound of a packed request is the sum of its prompts' bounds.
    ///
    /// ```
    /// use llm_batch::pack::{Check, PackLayer};
    ///
    /// // A model that writes at most 8,192 tokens.
    /// let pack = PackLayer::new(Check::new(0.02, 0.05)).max_output_tokens(8_192);
    /// # drop(pack);
    /// ```
    pub fn max_output_tokens(mut self, tokens: u64) -> Self {
        self.output = tokens;
        self
    }

    /// Sets the longest time that a call waits for others: 50 ms by default. In contrast to
    /// [`BatchLayer`](crate::BatchLayer), a call also waits if no other call of its group is in flight, because a lone
    /// prompt saves nothing.
    ///
    /// ```
    /// use std::time::Duration;
    /// use llm_batch::pack::{Check, PackLayer};
    ///
    /// let hurried = PackLayer::new(Check::new(0.02, 0.05)).max_wait(Duration::from_millis(5));
    /// # drop(hurried);
    /// ```
    pub fn max_wait(mut self, wait: Duration) -> Self {
        self.gather = self.gather.max_wait(wait);
        self
    }

    /// Sets the largest number of calls, and of their items' estimated input tokens, that wait or are in flight: 10,000
    /// and 10,000,000 by default.
    ///
    /// ```
    /// use llm_batch::pack::{Check, PackLayer};
    ///
    /// let small = PackLayer::new(Check::new(0.02, 0.05)).max_pending(1_000, 1_000_000);
    /// # drop(small);
    /// ```
    pub fn max_pending(mut self, calls: usize, tokens: u64) -> Self {
        self.gather = self.gather.max_pending(calls, tokens);
        self
    }

    /// Sets the prices from which the list price of a packed response, and so the saving by packing, is estimated.
    /// Without prices the list price and the saving are unknown.
    ///
    /// ```
    /// use llm_batch::pack::{Check, PackLayer};
    /// use llm_providers::prices;
    ///
    /// let pack = PackLayer::new(Check::new(0.02, 0.05)).prices(prices::anthropic());
    /// # drop(pack);
    /// ```
    pub fn prices(mut self, prices: impl Into<Arc<PriceTable>>) -> Self {
        self.prices = Some(prices.into());
        self
    }

    /// Describes the form of the response only in the text of the prompt, for vendors that do not enforce JSON schemas.
    ///
    /// ```
    /// use llm_batch::pack::{Check, PackLayer};
    ///
    /// let own_server = PackLayer::new(Check::new(0.02, 0.05)).json_in_text();
    /// # drop(own_server);
    /// ```
    pub fn json_in_text(mut self) -> Self {
        self.has_schema = false;
        self
    }

    /// Sets the source of random numbers, for tests. If the ids can be guessed, an item can forge another item's
    /// answer.
    pub fn random(mut self, random: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        self.random = Arc::new(random);
        self
    }

    /// Switches to shadow mode, in which each call is sent at once and unchanged, and the requests that packing would
    /// need are only counted.
    ///
    /// ```
    /// use llm_batch::pack::{Check, PackLayer};
    ///
    /// let pack = PackLayer::new(Check::new(0.02, 0.05)).shadow();
    /// # drop(pack);
    /// ```
    pub fn shadow(mut self) -> Self {
        self.gather = self.gather.shadow();
        self
    }
}
