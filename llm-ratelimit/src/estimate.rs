//! Estimates of the tokens that a call reserves before it is sent.
//!
//! If estimates are too high, fewer calls run at the same time. If they are too low, they cause debt. [`UpperBound`] is
//! never too low, [`Learned`] is close to the real usage.

use std::{
    any::Any,
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use foldhash::fast::RandomState;
use llm_core::{Call, ChatRequest, EmbedRequest, Estimate, Operation, Tenant, Usage, layer::Streamed};

/// Estimator of the tokens that a call reserves. It may learn from the usage of calls.
pub trait Estimator: Send + Sync + 'static {
    /// Returns the input and output tokens to reserve.
    fn estimate(&self, question: &EstimateInput<'_>) -> (u64, u64);

    /// Learns from the usage of a call that has ended. The default implementation does nothing.
    fn learn(&self, tenant: &Tenant, model: &str, estimate: &Estimate, usage: &Usage) {
        let _ = (tenant, model, estimate, usage);
    }
}

/// Call whose tokens an [`Estimator`] estimates.
pub struct EstimateInput<'a> {
    /// Tenant of the call.
    pub tenant: &'a Tenant,
    /// Requested model.
    pub model: &'a str,
    /// Estimate that the operation itself derives from the request.
    pub estimate: Estimate,
    body: &'a dyn Any,
}

/// Estimator that reserves the most that a call can take, so that a budget is never exceeded.
///
/// A request does not bound the tokens of images, audio, files and a vendor's own tools. Limits on tokens and money
/// therefore refuse such calls at once ([`Reason::Unbounded`](crate::Reason)), unless
/// [`unbounded_input`](Self::unbounded_input) sets a bound. The price of searches, which vendors charge in addition to
/// tokens, has no bound either. If it exceeds the reservation, the excess is debt.
///
/// ```
/// use llm_ratelimit::{Limiter, Plans, RateLimitLayer, UpperBound};
///
/// let limiter = Limiter::builder(Plans::uniform(["100k tokens/day"])?).build()?;
/// // The model writes at most 16,384 tokens and reads at most 128,000.
/// let layer = RateLimitLayer::new(limiter).estimator(UpperBound::new(16_384).unbounded_input(128_000));
/// # let _ = layer;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct UpperBound {
    unbounded_input: u64,
    unbounded_output: u64,
}

/// Estimator that reserves the tokens that similar calls used. The input is the operation's own estimate, multiplied by
/// the model's earlier ratio of used to estimated tokens. The output is the request's own bound; without such a bound
/// it is the 95th percentile of the model's responses to the tenant.
///
/// It learns from every call that settles, separately for the first 256 models and for the first 1,000 tenants of each
/// model. Other tenants share their model's statistics. Recent calls have a greater weight than old ones.
///
/// ```
/// use std::sync::Arc;
///
/// use llm_ratelimit::{Learned, Limiter, Plans, RateLimitLayer};
///
/// let limiter = Limiter::builder(Plans::uniform(["100k tokens/day"])?).build()?;
/// let learned = Arc::new(Learned::new());
/// let layer = RateLimitLayer::new(limiter).estimator(Arc::clone(&learned));
/// learned.forget("acme");
/// # let _ = layer;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Default)]
pub struct Learned(Mutex<Models>);

type Models = HashMap<Arc<str>, Model, RandomState>;

struct Model {
    guessed: u64,
    taken: u64,
    all: Histogram,
    tenants: HashMap<Tenant, Histogram, RandomState>,
}

/// Histogram of output tokens. The upper edge of each class is √2 times that of the previous class.
#[derive(Clone, Copy, Debug)]
struct Histogram {
    counts: [u16; Self::CLASSES],
    total: u32,
}

impl<'a> EstimateInput<'a> {
    pub(crate) fn of<T: Operation>(call: &'a Call<T>, estimate: Estimate) -> Self {
        Self { tenant: &call.tenant, model: call.body.model(), estimate, body: &call.body }
    }

    /// Returns the request if it is a chat request, for estimators that count its tokens exactly.
    pub fn chat(&self) -> Option<&ChatRequest> {
        let streamed = || self.body.downcast_ref::<Streamed<ChatRequest>>().map(|streamed| &streamed.0);
        self.body.downcast_ref::<ChatRequest>().or_else(streamed)
    }

    /// Returns the request if it is an embeddings request, for estimators that count its tokens exactly.
    pub fn embed(&self) -> Option<&EmbedRequest> {
        self.body.downcast_ref()
    }
}

impl UpperBound {
    /// Creates an estimator that reserves `unbounded_output` output tokens for each choice whose length the request
    /// does not bound. Use the largest number that the model can write.
    pub fn new(unbounded_output: u64) -> Self {
        Self { unbounded_input: u64::MAX, unbounded_output }
    }

    /// Sets the input tokens for requests whose input has no bound. Use the largest number that the model can read. By
    /// default such requests are refused.
    pub fn unbounded_input(mut self, tokens: u64) -> Self {
        self.unbounded_input = tokens;
        self
    }
}

impl Estimator for UpperBound {
    fn estimate(&self, question: &EstimateInput<'_>) -> (u64, u64) {
        let Estimate { input_bound, output_bound, choices, .. } = question.estimate;
        let unbounded = self.unbounded_output.saturating_mul(choices.into());
        (input_bound.unwrap_or(self.unbounded_input), output_bound.unwrap_or(unbounded))
    }
}

impl Learned {
    const MODELS: usize = 256;
    const TENANTS: usize = 1_000;
    /// Weight of the uncorrected estimate in the learned ratio, in tokens.
    const PRIOR: u64 = 1_000;

    /// Creates an estimator that has learned nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Removes the statistics of a tenant. The statistics of all tenants together remain. To call this for the
    /// estimator of a layer, pass the estimator to the layer as an `Arc`.
    pub fn forget(&self, tenant: &str) {
        for model in self.lock().values_mut() {
            model.tenants.remove(tenant);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Models> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<E: Estimator + ?Sized> Estimator for Arc<E> {
    fn estimate(&self, question: &EstimateInput<'_>) -> (u64, u64) {
        (**self).estimate(question)
    }

    fn learn(&self, tenant: &Tenant, model: &str, estimate: &Estimate, usage: &Usage) {
        (**self).learn(tenant, model, estimate, usage);
    }
}

impl Estimator for Learned {
    fn estimate(&self, question: &EstimateInput<'_>) -> (u64, u64) {
        let Estimate { input, input_bound, output, output_bound, choices } = question.estimate;
        let models = self.lock();
        let Some(model) = models.get(question.model) else { return (input, output_bound.unwrap_or(output)) };
        let corrected = u128::from(input) * u128::from(model.taken) / u128::from(model.guessed.max(1));
        let corrected = u64::try_from(corrected).unwrap_or(u64::MAX).min(input_bound.unwrap_or(u64::MAX));
        let learned = || {
            let tenant = model.tenants.get(question.tenant).filter(|histogram| histogram.total >= Histogram::ENOUGH);
            let quantile = tenant.unwrap_or(&model.all).quantile()?;
            Some(quantile.saturating_mul(choices.into()))
        };
        (corrected, output_bound.unwrap_or_else(|| learned().unwrap_or(output)))
    }

    fn learn(&self, tenant: &Tenant, model: &str, estimate: &Estimate, usage: &Usage) {
        let mut models = self.lock();
        let is_full = models.len() >= Self::MODELS;
        let known = match models.get_mut(model) {
            Some(known) => known,
            None if is_full => return,
            None => models.entry(model.into()).or_default(),
        };
        if estimate.input > 0 {
            known.guessed = known.guessed.saturating_add(estimate.input);
            known.taken = known.taken.saturating_add(usage.input);
            if known.guessed > 100_000 * Self::PRIOR {
                (known.guessed, known.taken) = (known.guessed / 2, known.taken / 2);
            }
        }
        let each = usage.output.div_ceil(u64::from(estimate.choices.max(1)));
        known.all.add(each);
        let is_full = known.tenants.len() >= Self::TENANTS;
        match known.tenants.get_mut(tenant) {
            Some(histogram) => histogram.add(each),
            None if is_full => {}
            None => known.tenants.entry(tenant.clone()).or_default().add(each),
        }
    }
}

impl Default for Model {
    fn default() -> Self {
        let (all, tenants) = Default::default();
        Self { guessed: Learned::PRIOR, taken: Learned::PRIOR, all, tenants }
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: [0; Self::CLASSES], total: 0 }
    }
}

impl Histogram {
    const CLASSES: usize = 48;
    /// Number of responses from which a histogram is used.
    const ENOUGH: u32 = 20;
    const MEMORY: u32 = 1_024;

    fn add(&mut self, tokens: u64) {
        // The edge of an even class is a power of two, so the search starts right below that class.
        let octave = tokens.max(1).ilog2() as usize;
        let first = (2 * octave).min(Self::CLASSES - 1);
        let class = (first..Self::CLASSES - 1).find(|class| tokens <= Self::edge(*class)).unwrap_or(Self::CLASSES - 1);
        self.counts[class] += 1;
        self.total += 1;
        if self.total >= Self::MEMORY {
            self.counts.iter_mut().for_each(|count| *count /= 2);
            self.total = self.counts.iter().map(|count| u32::from(*count)).sum();
        }
    }

    /// Returns the 95th percentile; `None` while too few responses are known.
    fn quantile(&self) -> Option<u64> {
        if self.total < Self::ENOUGH {
            return None;
        }
        let rank = (self.total * 95).div_ceil(100);
        let mut below = 0;
        let class = self.counts.iter().position(|count| {
            below += u32::from(*count);
            below >= rank
        });
        class.map(Self::edge)
    }

    /// Returns the upper edge of a class: 1, 1, 2, 3, 4, 6, 8, 11, 16, …
    fn edge(class: usize) -> u64 {
        let octave = 1u64 << (class / 2);
        if class.is_multiple_of(2) { octave } else { octave * 1_414 / 1_000 }
    }
}

impl fmt::Debug for EstimateInput<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tenant, model, estimate, body: _ } = self;
        let mut out = f.debug_struct("EstimateInput");
        out.field("tenant", tenant).field("model", model).field("estimate", estimate).finish_non_exhaustive()
    }
}

impl fmt::Debug for Learned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Learned").field("models", &self.lock().len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(learned: &Learned, tenant: &str, request: ChatRequest) -> (u64, u64) {
        let call = Call::new(tenant, request);
        learned.estimate(&EstimateInput::of(&call, call.body.estimate()))
    }

    fn request() -> ChatRequest {
        ChatRequest::new("m").user("x".repeat(4_000))
    }

    #[test]
    fn learned_estimates_by_model_and_tenant() {
        let learned = Learned::new();
        let estimate = request().estimate();
        assert_eq!(ask(&learned, "a", request()), (estimate.input, estimate.output));
        for n in 0..200 {
            learned.learn(&"a".into(), "m", &estimate, &Usage::new(estimate.input * 3 / 2, 100 + n % 10));
        }
        let (input, output) = ask(&learned, "a", request());
        assert!(input.abs_diff(estimate.input * 3 / 2) < 20, "{input} of {}", estimate.input);
        assert!((109..=128).contains(&output), "{output}");
        assert_eq!(ask(&learned, "new here", request()).1, output, "a new tenant gets the model's");
        assert_eq!(ask(&learned, "a", request().max_output_tokens(7)).1, 7, "the request's own bound goes first");
        for _ in 0..400 {
            learned.learn(&"long".into(), "m", &estimate, &Usage::new(1, 3_000));
        }
        assert!(ask(&learned, "long", request()).1 >= 3_000 && ask(&learned, "a", request()).1 <= 128);
        let together = ask(&learned, "new here", request()).1;
        learned.forget("a");
        assert_eq!(ask(&learned, "a", request()).1, together, "it is as unknown as any other");
    }

    #[test]
    fn learned_memory_is_bounded() {
        let learned = Learned::new();
        let usage = Usage::new(u64::MAX, u64::MAX);
        for n in 0..5_000 {
            learned.learn(&n.to_string().into(), "m", &Estimate::default(), &usage);
            learned.learn(&"t".into(), &n.to_string(), &Estimate { input: u64::MAX, ..Estimate::default() }, &usage);
        }
        let models = learned.lock();
        assert!(models.len() <= Learned::MODELS && models["m"].tenants.len() <= Learned::TENANTS);
    }
}
