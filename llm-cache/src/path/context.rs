//! Call context, and how a call is sent with it.

use std::sync::Arc;

use llm_core::{
    Call, Error, Operation, Output, Reply,
    layer::{End, LlmService, oneshot},
};

use crate::{
    CacheStatus, Directive, Miss,
    counts::{Counter, Counts},
    inner::Inner,
};

/// Call context: the cache, the service below it, and how this call uses them.
#[derive(Clone)]
pub(crate) struct CallContext<S> {
    pub(crate) cache: Arc<Inner>,
    pub(crate) service: S,
    pub(crate) directive: Directive,
    /// The counter of the calls that are sent for it.
    pub(crate) counter: fn(&Counts) -> &Counter,
}

impl<S> CallContext<S> {
    /// Creates the context of a caller's own call.
    pub(crate) fn new(cache: Arc<Inner>, service: S, directive: Directive) -> Self {
        let counter: fn(&Counts) -> &Counter = match directive.no_cache || directive.no_store {
            true => |counts| &counts.bypassed,
            false => |counts| &counts.misses,
        };
        Self { cache, service, directive, counter }
    }

    /// Sends a call to the service below. Counts it, and counts it again if it fails.
    pub(super) async fn send<T>(self, call: Call<T>) -> Result<Reply<T::Output>, Error>
    where
        T: Operation,
        S: LlmService<T>,
    {
        (self.counter)(&self.cache.counts).one();
        let reply = oneshot(self.service, call).await;
        count_failure(&self.cache.counts, reply)
    }
}

/// Counts a failed call: at once, or when its stream breaks off.
pub(super) fn count_failure<O: Output>(
    counts: &Arc<Counts>,
    reply: Result<Reply<O>, Error>,
) -> Result<Reply<O>, Error> {
    let reply = reply.inspect_err(|_| counts.failed_calls.one())?;
    let counts = Arc::clone(counts);
    Ok(reply.on_end(move |end, _| counts.failed_calls.add(u64::from(matches!(end, End::Failed(..))))))
}

/// Sends a call that the cache neither looks up nor stores.
pub(crate) async fn bypass<T, S>(cx: CallContext<S>, call: Call<T>) -> Result<Reply<T::Output>, Error>
where
    T: Operation,
    S: LlmService<T>,
{
    let mut reply = cx.send(call).await?;
    reply.extensions.insert(CacheStatus::Miss(Miss::NoStore));
    Ok(reply)
}
