//! Sends several requests as one call: merges the requests, and splits the response and its accounting.

mod members;

use std::sync::Arc;

use self::members::weight;
pub use self::members::{Member, Members};
use crate::{
    Error, ErrorKind, Labels, Operation, Output, Receipt, Reply,
    call::{AttemptPermit, Call, LateEnd, MergedPart, NestedRetry, NoFallback, Pinned, Purpose, SharedDeadline},
    extensions::Extensions,
    llm_service::{LlmService, oneshot},
    operation::Complete,
    receipt::Accounting,
};

/// Sends the calls of several callers as one, and returns the reply to each, in order.
///
/// The merged call has the tenant and the extensions of the first, the labels that all calls share, the sum of their
/// units, the deadline of `deadline`, and the callers as [`Members`]. It has [`NestedRetry`], [`NoFallback`] and
/// [`Pinned`] if one of the calls has it. It is permitted a further attempt only if each caller's [`AttemptPermit`]
/// grants it. Usage, cost and charge are divided by the callers' estimated input tokens; the parts add up exactly, and
/// the last caller gets the remainder.
///
/// A caller that leaves before the merged call ends still pays for its part, because its item is sent. A layer above
/// that has [left](crate::layer::SentFlag::leave) the caller's call gets the caller's share when the merged call ends.
/// Drop this future when the last caller has left.
///
/// ```
/// use llm_core::{
///     Call, EmbedRequest, Embeddings, Error, Receipt, Reply, Usage,
///     layer::{Accounting, CallDeadline, SharedDeadline, call_merged},
/// };
///
/// # tokio_test::block_on(async {
/// let vendor = tower::service_fn(|call: Call<EmbedRequest>| async move {
///     let vectors = call.body.inputs.iter().map(|_| [1.0].into()).collect();
///     let mut accounting = Accounting::default();
///     accounting.usage = Some(Usage::new(10 * call.body.inputs.len() as u64, 0));
///     Ok::<_, Error>(Reply::new(Embeddings::new("m", vectors), Receipt::new(accounting)))
/// });
/// let calls = [&["one text"][..], &["two", "three"]].map(|texts| {
///     Call::new("acme", EmbedRequest::new("m", texts.iter().copied()))
/// });
/// let deadline = SharedDeadline::new();
/// let callers = calls.each_ref().map(|call| deadline.join(CallDeadline::of(call)));
/// let replies = call_merged(vendor, calls.into(), deadline).await;
/// let vectors: Vec<_> = replies.iter().flatten().map(|reply| reply.output.vectors.len()).collect();
/// assert_eq!(vectors, [1, 2]);
/// let tokens: u64 = replies.iter().flatten().filter_map(|reply| reply.receipt.usage()).map(|usage| usage.input).sum();
/// assert_eq!(tokens, 30);
/// # drop(callers);
/// # });
/// ```
///
/// # Errors
///
/// Each caller gets the error of the merged call, with its share of the charge. Before the call is sent,
/// [`ErrorKind::Unsupported`] is returned if the requests cannot be [merged](Operation::merge) or are pinned to
/// different groups.
pub async fn call_merged<T, S>(
    service: S,
    mut calls: Vec<Call<T>>,
    deadline: SharedDeadline,
) -> Vec<Result<Reply<T::Output>, Error>>
where
    T: Operation,
    S: LlmService<T>,
{
    if calls.len() > 1 {
        return Box::pin(call_members(service, calls, deadline)).await;
    }
    let Some(mut only) = calls.pop() else { return Vec::new() };
    let part = only.track().merge();
    let reply = oneshot(service, only).await;
    end(part, &reply);
    vec![reply]
}

/// Sends several items of one caller's request as one call, and returns the reply to each item, in order.
///
/// The items replace the body of `call`. Usage and cost are divided by the items' estimated input tokens; the parts add
/// up exactly, and the last item gets the remainder. The first reply has the extensions of the call's reply. A single
/// item is sent unmerged, so that its reply may be a running stream.
///
/// ```
/// use llm_core::{Call, EmbedRequest, Embeddings, Error, Operation, Receipt, Reply, layer::call_items};
///
/// # tokio_test::block_on(async {
/// let vendor = tower::service_fn(|call: Call<EmbedRequest>| async move {
///     let vectors = call.body.inputs.iter().map(|_| [1.0].into()).collect();
///     Ok::<_, Error>(Reply::new(Embeddings::new("m", vectors), Receipt::default()))
/// });
/// let call = Call::new("acme", EmbedRequest::new("m", ["known already", "one text", "another"]));
/// let items = call.body.items().expect("texts are independent").split_off(1);
/// assert_eq!(call_items(vendor, call, items).await?.len(), 2);
/// # Ok::<_, Error>(()) }).unwrap();
/// ```
///
/// # Errors
///
/// Returns the service's error; [`ErrorKind::Unsupported`] if the items cannot be [merged](Operation::merge); and
/// [`ErrorKind::Malformed`], with the charge of the call, if the response does not have one part for each item.
pub async fn call_items<T, S>(service: S, mut call: Call<T>, mut items: Vec<T>) -> Result<Vec<Reply<T::Output>>, Error>
where
    T: Operation,
    S: LlmService<T>,
{
    if items.len() > 1 {
        let weights: Vec<u64> = items.iter().map(weight).collect();
        let each_one = vec![1; items.len()];
        let (mut replies, extensions) = send(service, call, &items, &each_one, &weights).await?;
        if let Some(first) = replies.first_mut() {
            first.extensions = extensions;
        }
        return Ok(replies);
    }
    let Some(only) = items.pop() else { return Ok(Vec::new()) };
    call.body = only;
    Ok(vec![oneshot(service, call).await?])
}

async fn call_members<T, S>(
    service: S,
    mut calls: Vec<Call<T>>,
    deadline: SharedDeadline,
) -> Vec<Result<Reply<T::Output>, Error>>
where
    T: Operation,
    S: LlmService<T>,
{
    if let Err(error) = check_pins(&calls) {
        return calls.iter().map(|_| Err(error.clone())).collect();
    }
    let callers = Members::of(&mut calls);
    let parts: Vec<MergedPart> = callers.iter().map(|caller| caller.sent.merge()).collect();
    let (envelope, bodies) = envelope(calls, &callers, deadline);
    let sizes: Vec<usize> = bodies.iter().map(T::item_count).collect();
    let weights = callers.weights();
    let replies: Vec<_> = match send(service, envelope, &bodies, &sizes, &weights).await {
        Ok((replies, extensions)) => {
            let with_extensions = |mut reply: Reply<_>| {
                reply.extensions = extensions.clone();
                Ok(reply)
            };
            replies.into_iter().map(with_extensions).collect()
        }
        Err(error) => error.split(&weights).into_iter().map(Err).collect(),
    };
    parts.into_iter().zip(&replies).for_each(|(part, reply)| end(part, reply));
    replies
}

/// Merges the requests `parts`, sends them, and splits response and accounting among them. `sizes` has the number of
/// items of each part, `weights` its share of the accounting. The extensions of the reply are returned separately.
async fn send<T, S>(
    service: S,
    mut call: Call<T>,
    parts: &[T],
    sizes: &[usize],
    weights: &[u64],
) -> Result<(Vec<Reply<T::Output>>, Extensions), Error>
where
    T: Operation,
    S: LlmService<T>,
{
    let merged = T::merge(parts).ok_or_else(|| {
        let message =
            format!("these {} requests {:?} cannot be sent as one: send them one by one", parts.len(), T::NAME);
        Error::new(ErrorKind::Unsupported, message)
    })?;
    call.body = merged.clone();
    let Reply { output, receipt, limits, extensions } = oneshot(service, call).await?;
    let whole = Arc::unwrap_or_clone(output.share().whole().await?);
    let responses = merged.split(whole).and_then(|items| join(parts, sizes, items));
    let accounting = receipt.accounting();
    let responses = responses.map_err(|error| error.with_response(&accounting))?;
    let reply = |(response, accounting): (_, Accounting)| {
        let output = T::Output::replay(Arc::new(response), accounting.usage);
        Reply::new(output, Receipt::new(accounting)).with_limits(limits.clone())
    };
    Ok((responses.into_iter().zip(accounting.split(weights)).map(reply).collect(), extensions))
}

/// Joins the responses to all items into one response for each part.
fn join<T: Operation>(parts: &[T], sizes: &[usize], items: Vec<Complete<T>>) -> Result<Vec<Complete<T>>, Error> {
    let (found, expected) = (items.len(), sizes.iter().sum::<usize>());
    if found != expected {
        return Err(Error::new(ErrorKind::Malformed, format!("{found} responses came for {expected} items")));
    }
    let mut items = items.into_iter();
    let part = |(part, size): (&T, &usize)| {
        // The response to a part's only item is the response to the part.
        if *size == 1
            && let Some(only) = items.next()
        {
            return Ok(only);
        }
        part.join(items.by_ref().take(*size).collect())
    };
    parts.iter().zip(sizes).map(part).collect()
}

/// Returns the merged call with its envelope, and the requests to merge.
fn envelope<T: Operation>(calls: Vec<Call<T>>, callers: &Members, deadline: SharedDeadline) -> (Call<T>, Vec<T>) {
    let first = &calls[0];
    let mut merged = Call::new(first.tenant.clone(), first.body.clone());
    merged.labels = common_labels(&calls);
    merged.units = calls.iter().fold(0, |units, call| units.saturating_add(call.units));
    merged.priority = calls.iter().map(|call| call.priority).max().unwrap_or_default();
    merged.extensions = first.extensions.clone();
    merged.extensions.remove::<AttemptPermit>();
    if callers.iter().any(|caller| caller.permit.is_some()) {
        merged.extensions.insert(permit(callers.clone()));
    }
    if callers.iter().any(|caller| caller.purpose != callers[0].purpose) {
        merged.extensions.remove::<Purpose>();
    }
    if calls.iter().any(|call| call.extensions.get::<NestedRetry>().is_some()) {
        merged.extensions.insert(NestedRetry);
    }
    if calls.iter().any(|call| call.extensions.get::<NoFallback>().is_some()) {
        merged.extensions.insert(NoFallback);
    }
    if let Some(pinned) = pins(&calls).next().cloned() {
        merged.extensions.insert(pinned);
    }
    merged.extensions.insert(deadline);
    merged.extensions.insert(callers.payers(&calls));
    merged.merged_from(callers.iter().map(|caller| caller.sent.clone()).collect());
    (merged, calls.into_iter().map(|call| call.body).collect())
}

fn pins<T>(calls: &[Call<T>]) -> impl Iterator<Item = &Pinned> {
    calls.iter().filter_map(|call| call.extensions.get())
}

/// Returns an error if calls are pinned to different groups.
fn check_pins<T>(calls: &[Call<T>]) -> Result<(), Error> {
    let first = pins(calls).next();
    match pins(calls).find(|pinned| Some(*pinned) != first) {
        None => Ok(()),
        Some(_) => {
            let message = "calls that are pinned to different groups cannot be sent as one: send them one by one";
            Err(Error::new(ErrorKind::Unsupported, message))
        }
    }
}

/// Returns the labels that all calls have, with the same values.
fn common_labels<T>(calls: &[Call<T>]) -> Labels {
    let mut common = Labels::default();
    for (name, value) in calls[0].labels.iter() {
        if calls.iter().all(|call| call.labels.get(name) == Some(value)) {
            // The common labels stay within the bounds, because every call has them.
            let _ = common.insert(name, value);
        }
    }
    common
}

/// Returns a permit that asks the permits of all callers, one after the other, each with its share of the failed
/// attempt's charge. If one caller's permit refuses, the attempt is refused, but earlier callers' permits still count
/// their grants.
fn permit(callers: Members) -> AttemptPermit {
    AttemptPermit::new(move |failed: Error| {
        let callers = callers.clone();
        async move {
            for (caller, share) in callers.iter().zip(failed.split(&callers.weights())) {
                if let Some(permit) = &caller.permit {
                    permit.request(&share).await?;
                }
            }
            Ok(())
        }
    })
}

/// Reports the end of a caller's part of the merged call to the layers that have left the caller's call.
fn end<O>(part: MergedPart, reply: &Result<Reply<O>, Error>) {
    part.end(&match reply {
        Ok(reply) => {
            let mut accounting = reply.receipt.accounting();
            // A part's accounting has no cost share, because only the response as a whole may take it.
            accounting.cost_share = None;
            LateEnd::Complete(Receipt::new(accounting))
        }
        Err(error) => LateEnd::Failed(error.clone()),
    });
}
