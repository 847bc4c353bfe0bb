use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::{
    FutureExt,
    future::{join, join_all},
};
use llm_core::{
    Call, Cause, Charge, ChatRequest, ChatResponse, Error, ErrorKind, Operation, Reply, Usage, Usd,
    layer::{Accounting, CostShare, FailedAttempt, LlmService, SharedDeadline, call_merged, oneshot},
    price::ServiceTier,
};

use super::{
    form::Form,
    layer::PackLayer,
    packer::{Packer, tokens},
    prompt::{Prompt, Prompts},
    sizes::Sizes,
    stats::PackStats,
    telemetry,
};
use crate::gather::{Deliver, Results};

/// State that clones of a packing service share.
pub(super) struct State {
    pub(super) settings: PackLayer,
    pub(super) sizes: Sizes,
    stats: Mutex<PackStats>,
}

/// Position of a response in its packed request, and the tokens that packing saved, in the
/// [`extensions`](Reply::extensions) of the reply.
///
/// The receipt has the money that packing saved, with the cause [`Packed`](llm_core::Cause::Packed).
///
/// ```
/// use llm_batch::pack::PackShare;
/// use llm_core::{ChatResponse, Reply};
///
/// fn calls_saved(reply: &Reply<ChatResponse>) -> f64 {
///     reply.extensions.get::<PackShare>().map_or(0.0, |share| 1.0 - 1.0 / share.prompts as f64)
/// }
/// assert_eq!(calls_saved(&Reply::default()), 0.0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PackShare {
    /// Number of prompts in the packed request.
    pub prompts: usize,
    /// Position of this prompt in the packed request, counted from 0.
    pub place: usize,
    /// Estimated input tokens of the frame that this response did not pay, because the prompts shared one frame. They
    /// are all tokens of the frame except this response's equal part of them.
    pub prefix_tokens: u64,
}

/// Deliverer of gathered prompts, which sends a single prompt unchanged, and several prompts as one request.
#[derive(Clone)]
pub(super) struct Packs<S> {
    pub(super) inner: S,
    pub(super) packer: Arc<dyn Packer>,
    pub(super) state: Arc<State>,
    /// Number of prompts in a full pack.
    pub(super) size: usize,
    /// True if the prompts are a half of a pack that failed.
    pub(super) is_half: bool,
}

type Replies = Results<Reply<ChatResponse>>;

impl State {
    pub(super) fn new(settings: PackLayer) -> Self {
        let sizes = Sizes::new(settings.start, settings.most, settings.check);
        Self { settings, sizes, stats: Mutex::default() }
    }

    pub(super) fn stats(&self) -> PackStats {
        *self.counts()
    }

    fn counts(&self) -> MutexGuard<'_, PackStats> {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: LlmService<ChatRequest>> Deliver<ChatRequest, Reply<ChatResponse>> for Packs<S> {
    async fn deliver(self, calls: Vec<Call<ChatRequest>>, deadline: SharedDeadline) -> Replies {
        if calls.len() == 1 {
            return call_merged(self.inner, calls, deadline).await;
        }
        let PackLayer { check, random, has_schema, .. } = &self.state.settings;
        let is_full = calls.len() == self.size;
        let sampled: Vec<_> =
            calls.iter().map(|call| (is_full && check.samples(random())).then(|| call.clone())).collect();
        let requests = calls.iter().map(|call| call.body.clone()).collect();
        let form = Arc::new(Form::new(&*self.packer, requests, *has_schema, random));
        let prompt = |(item, call): (usize, Call<ChatRequest>)| {
            let prompt = Prompt { form: Arc::clone(&form), item: Some(item) };
            call.map(|_| prompt)
        };
        let prompts = calls.into_iter().enumerate().map(prompt).collect();
        let lone = sampled.into_iter().enumerate().filter_map(|(item, call)| Some((item, call?)));
        let lone = lone.map(|(item, call)| oneshot(self.inner.clone(), call).map(move |reply| (item, reply)));
        let (packed, lone) = join(call_merged(Prompts(self.inner.clone()), prompts, deadline), join_all(lone)).await;
        let mut replies = self.unpack(&form, packed);
        let refuses = |error: &Error| matches!(error.kind(), ErrorKind::InvalidRequest | ErrorKind::Malformed);
        let is_answered = replies.iter().any(Result::is_ok);
        // A refused half is not counted, because the refusal of the whole pack was counted.
        if is_answered || !self.is_half && replies.iter().flat_map(|reply| reply.as_ref().err()).all(refuses) {
            self.state.sizes.note_form(self.packer.name(), &form.request.model, is_answered);
        }
        for (item, alone) in lone {
            self.check(&form, item, alone, &mut replies[item]);
        }
        let missing = replies.iter().filter(|reply| reply.as_ref().is_err_and(is_missing)).count();
        self.state.counts().repaired += missing as u64;
        replies
    }

    fn halves(self) -> Self {
        Self { is_half: true, ..self }
    }
}

impl<S> Packs<S> {
    /// Turns the replies to the items of a packed request into replies to the items' own requests.
    fn unpack(&self, form: &Form, packed: Results<Reply<Vec<Option<ChatResponse>>>>) -> Replies {
        let own = |reply: &Result<Reply<Vec<Option<ChatResponse>>>, Error>| match reply {
            Ok(reply) => reply.output.iter().flatten().map(|response| response.text().len() as u64).sum(),
            Err(_) => 0,
        };
        let lengths: Vec<u64> = packed.iter().map(own).collect();
        let whole: Usage = packed.iter().flatten().filter_map(|reply| reply.receipt.usage()).sum();
        let shown = Usage::new(0, whole.output.saturating_sub(whole.reasoning)).split(&lengths);
        let estimated = form.request.estimate().input.max(1);
        let unpacked = |(item, (reply, shown)): (usize, (Result<Reply<_>, Error>, Usage))| {
            let reply: Reply<Vec<Option<ChatResponse>>> = reply?;
            let Reply { mut output, receipt, limits, mut extensions, .. } = reply;
            let Some(response) = output.pop().flatten() else { return Err(missing(&receipt.accounting())) };
            let request = &form.items[item];
            // The estimate of the prompt is scaled by the vendor's usage and the estimate of the packed request.
            let input = u128::from(request.estimate().input) * u128::from(whole.input) / u128::from(estimated);
            let alone = Usage::new(u64::try_from(input).unwrap_or(u64::MAX), shown.output);
            if let Some(prices) = &self.state.settings.prices {
                receipt.edit(|share| share.set_packed(prices.list_of(&request.model, share, &alone)));
            } else {
                receipt.edit(|share| share.packed = true);
            }
            let (frame, prompts) = (tokens(request).0, form.items.len());
            let prefix_tokens = frame - frame / prompts as u64;
            extensions.insert(PackShare { prompts, place: form.place(item), prefix_tokens });
            let mut counts = self.state.counts();
            counts.packed += 1;
            counts.prefix_tokens += prefix_tokens;
            let mut reply = Reply::new(response, receipt).with_limits(limits);
            reply.extensions = extensions;
            Ok(reply)
        };
        packed.into_iter().zip(shown).enumerate().map(unpacked).collect()
    }

    /// Compares the packed response to an item with the response to the item's lone request. The caller gets the lone
    /// response, or the packed response if the lone request failed, and pays for both requests.
    fn check(
        &self,
        form: &Form,
        item: usize,
        alone: Result<Reply<ChatResponse>, Error>,
        packed: &mut Result<Reply<ChatResponse>, Error>,
    ) {
        let model = &form.request.model;
        let alone = match (alone, &mut *packed) {
            (Ok(alone), _) => alone,
            (Err(failed), Ok(packed)) => {
                let failed = self.share(model, &Err(failed));
                return packed.receipt.edit(|accounting| add_request(accounting, failed, false));
            }
            (Err(failed), Err(error)) => {
                *error = error.clone().with_earlier_attempts(&failed);
                return;
            }
        };
        let share = self.share(model, packed);
        if let Ok(packed) = packed {
            let (agrees, place) = (self.packer.equivalent(&alone.output, &packed.output), form.place(item));
            telemetry::compared(place, agrees);
            self.state.sizes.compare(self.packer.name(), model, self.size, place, agrees);
            let reasoning = |usage: Option<Usage>| usage.map_or(0, |usage| usage.reasoning);
            let mut counts = self.state.counts();
            counts.lone += 1;
            counts.lone_reasoning += reasoning(alone.receipt.usage());
            counts.packed_reasoning += reasoning(share.usage);
        }
        let has_come = packed.as_ref().err().is_none_or(is_missing);
        alone.receipt.edit(|accounting| add_request(accounting, share, has_come));
        *packed = Ok(alone);
    }

    /// Returns the accounting of the reply to one of the two requests of an item, or of the error if the request
    /// failed.
    fn share(&self, model: &str, reply: &Result<Reply<ChatResponse>, Error>) -> Accounting {
        let error = match reply {
            Ok(reply) => return reply.receipt.accounting(),
            Err(error) => error,
        };
        let cost = |attempt: FailedAttempt| {
            let facts = attempt.accounting.unwrap_or_default();
            match (attempt.charge, &self.state.settings.prices) {
                (Charge::None, _) => Some(Usd::ZERO),
                (Charge::Known(usage), Some(prices)) if facts.cost.is_none() => {
                    prices.cost_of(model, &ServiceTier::Standard, &facts, &usage).ok()
                }
                _ => facts.cost,
            }
        };
        let mut share = error.accounting().cloned().unwrap_or_default();
        share.cost = error.attempts().map(cost).sum();
        share.usage = match error.charge() {
            Charge::None => Some(Usage::default()),
            Charge::Known(usage) => Some(usage),
            Charge::Unknown => None,
        };
        share
    }
}

/// Error code of an item that has no answer in a packed response.
const MISSING: &str = "packed_answer_missing";

/// Returns the error of an item without an answer, which makes the engine request the item again. The error has the
/// charge of the item's share of the packed request.
fn missing(share: &Accounting) -> Error {
    let mut accounting = Accounting::default();
    accounting.copy_response(share);
    // The error holds the cost share, which counts as wasted when the error is dropped.
    accounting.cost_share.clone_from(&share.cost_share);
    Error::new(ErrorKind::Malformed, "the response to a packed request has no usable answer to this prompt")
        .with_static_code(MISSING)
        .with_charge(share.usage.map_or(Charge::Unknown, Charge::Known))
        .with_accounting(accounting)
}

fn is_missing(error: &Error) -> bool {
    error.code() == Some(MISSING)
}

/// Adds the accounting of an item's other request to that of the response that the caller gets, because the caller pays
/// for both requests. Packing then saved less, possibly a negative amount. `has_come` is `true` if the other request
/// got a response.
fn add_request(kept: &mut Accounting, other: Accounting, has_come: bool) {
    let tier = other.saved.of(Cause::Tier);
    kept.usage = kept.usage.zip(other.usage).map(|(kept, other)| kept + other);
    kept.cost = kept.cost.zip(other.cost).map(|(kept, other)| kept + other);
    match other.cost {
        // A request that failed changes no savings, and its cost already counts as wasted.
        _ if !has_come => {}
        Some(cost) => {
            kept.saved.add(Cause::Tier, tier);
            kept.saved.add(Cause::Packed, -(cost + tier));
        }
        None => (kept.list, kept.unpriced) = (None, other.unpriced),
    }
    let shares: Vec<_> = kept.cost_share.take().into_iter().chain(other.cost_share).collect();
    kept.cost_share = (!shares.is_empty()).then(|| CostShare::all(shares));
}
