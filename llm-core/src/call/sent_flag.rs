use std::{
    fmt,
    iter::successors,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use crate::{Error, Receipt};

/// Flag that is set when a call is sent to a vendor, created by [`Call::track`](super::Call::track). Clones share it.
///
/// A call that was [merged](crate::layer::call_merged) with others continues after its own caller has left. A layer
/// that holds something for the call, such as a reservation, then calls [`leave`](Self::leave) with a function that
/// settles it when the merged call ends.
///
/// ```
/// use std::sync::{Arc, atomic::{AtomicBool, Ordering}};
/// use llm_core::{Call, layer::LateEnd};
///
/// let mut call = Call::new("acme", "a request");
/// let flag = call.track();
/// drop(call);
/// let settled = Arc::new(AtomicBool::new(false));
/// let seen = Arc::clone(&settled);
/// // No merged call continues, so that it ends here.
/// flag.leave(move |end| seen.store(matches!(end, LateEnd::Dropped), Ordering::Release));
/// assert!(settled.load(Ordering::Acquire));
/// ```
#[derive(Clone)]
pub struct SentFlag(Arc<Node>);

/// End of a call, for a layer that [left](SentFlag::leave) it because its caller no longer waits.
///
/// ```
/// use llm_core::layer::LateEnd;
///
/// fn usage(end: &LateEnd) -> Option<u64> {
///     match end {
///         LateEnd::Complete(receipt) => Some(receipt.usage()?.total()),
///         _ => None,
///     }
/// }
/// assert_eq!(usage(&LateEnd::Dropped), None);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum LateEnd {
    /// The response arrived. The receipt holds the call's share of the merged call's usage and cost.
    Complete(Receipt),
    /// The call failed. The error holds the call's share of the merged call's charge.
    Failed(Error),
    /// The merged call was dropped, because all of its callers left.
    Dropped,
}

struct Node {
    /// Number of times that the request was sent.
    sent: AtomicU32,
    vendor: OnceLock<Arc<str>>,
    above: Above,
    /// State of the call as a part of merged calls; empty for most calls, which are not merged.
    merged: OnceLock<Box<Mutex<Merged>>>,
}

enum Above {
    Nothing,
    Layer(SentFlag),
    /// The calls that were merged into this one.
    Members(Vec<SentFlag>),
}

#[derive(Default)]
struct Merged {
    running: usize,
    /// End of the merged call that ended last; `None` if the call has been sent or merged again since.
    ended: Option<LateEnd>,
    left: Vec<Box<dyn FnOnce(LateEnd) + Send>>,
}

/// Part of a merged call. Dropping it without [`end`](Self::end) records that the merged call was dropped.
pub(crate) struct MergedPart(Option<SentFlag>);

impl SentFlag {
    pub(super) fn below(above: Option<Self>) -> Self {
        Self::with(above.map_or(Above::Nothing, Above::Layer))
    }

    /// Creates the flag of a merged call: setting it sets the flags of all members.
    pub(crate) fn below_members(members: Vec<Self>) -> Self {
        Self::with(Above::Members(members))
    }

    fn with(above: Above) -> Self {
        let (sent, vendor, merged) = (AtomicU32::new(0), OnceLock::new(), OnceLock::new());
        Self(Arc::new(Node { sent, vendor, above, merged }))
    }

    /// Returns `true` if the request was sent to a vendor, which may charge it.
    pub fn is_sent(&self) -> bool {
        self.times_sent() > 0
    }

    /// Returns the number of times that the request was sent to a vendor, which is the number of the call's attempts.
    ///
    /// ```
    /// use llm_core::Call;
    ///
    /// let mut call = Call::new("acme", "a request");
    /// let flag = call.track();
    /// (0..2).for_each(|_attempt| call.mark_sent());
    /// assert_eq!(flag.times_sent(), 2);
    /// ```
    pub fn times_sent(&self) -> u32 {
        self.0.sent.load(Ordering::Acquire)
    }

    /// Returns the vendor's name, which the client reports to the layer right above it. `None` in the flags of other
    /// layers, and before the client has reported it.
    pub fn vendor(&self) -> Option<&Arc<str>> {
        self.0.vendor.get()
    }

    pub(super) fn set_vendor(&self, name: &Arc<str>) {
        self.0.vendor.get_or_init(|| Arc::clone(name));
    }

    /// Leaves the call, because its caller no longer waits for it. `settle` is called once with the end of the call:
    /// when the merged call that it is a part of ends, or at once if no such call is running.
    pub fn leave(&self, settle: impl FnOnce(LateEnd) + Send + 'static) {
        let ended = match self.0.merged.get() {
            None => None,
            Some(merged) => {
                let mut merged = lock(merged);
                if merged.running > 0 {
                    merged.left.push(Box::new(settle));
                    return;
                }
                merged.ended.clone()
            }
        };
        settle(ended.unwrap_or(LateEnd::Dropped));
    }

    pub(super) fn mark_sent(&self) {
        for flag in self.upwards() {
            flag.0.sent.fetch_add(1, Ordering::Release);
            if let Some(merged) = flag.0.merged.get() {
                let mut merged = lock(merged);
                // This attempt is not a part of a merged call, so the end of an earlier merged call does not apply to
                // it.
                let outdated = if merged.running == 0 { merged.ended.take() } else { None };
                drop((merged, outdated));
            }
            if let Above::Members(members) = &flag.0.above {
                members.iter().for_each(Self::mark_sent);
            }
        }
    }

    /// Records that the call is a part of a merged call, which continues if the caller leaves.
    pub(crate) fn merge(&self) -> MergedPart {
        for flag in self.upwards() {
            let mut merged = lock(flag.0.merged.get_or_init(Box::default));
            merged.running += 1;
            let outdated = merged.ended.take();
            drop((merged, outdated));
        }
        MergedPart(Some(self.clone()))
    }

    /// Returns this flag and the flags of the layers above, up to the layer that merged calls.
    fn upwards(&self) -> impl Iterator<Item = &Self> {
        successors(Some(self), |flag| match &flag.0.above {
            Above::Layer(above) => Some(above),
            Above::Nothing | Above::Members(_) => None,
        })
    }
}

impl MergedPart {
    /// Ends the call's part of the merged call, and calls the settlement of each layer that has left the call.
    pub(crate) fn end(mut self, end: &LateEnd) {
        self.settle(end);
    }

    fn settle(&mut self, end: &LateEnd) {
        let Some(part) = self.0.take() else { return };
        for flag in part.upwards() {
            let Some(merged) = flag.0.merged.get() else { continue };
            let left = {
                let mut merged = lock(merged);
                merged.running -= 1;
                merged.ended = Some(end.clone());
                if merged.running == 0 { std::mem::take(&mut merged.left) } else { Vec::new() }
            };
            // Settlements run outside of the lock, because a layer's settlement may lock this state.
            left.into_iter().for_each(|settle| settle(end.clone()));
        }
    }
}

impl Drop for MergedPart {
    fn drop(&mut self) {
        self.settle(&LateEnd::Dropped);
    }
}

impl fmt::Debug for SentFlag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SentFlag").field(&self.is_sent()).finish()
    }
}

fn lock(merged: &Mutex<Merged>) -> MutexGuard<'_, Merged> {
    // The state is plain data and consistent after every statement, so a panic elsewhere does not corrupt it.
    merged.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Call;

    #[test]
    fn sent_flag_reaches_layers_above() {
        let mut call = Call::new("t", ());
        let above = call.track();
        let (mut first, mut second) = (call.clone(), call);
        let (first_attempt, second_attempt) = (first.track(), second.track());
        assert!(!above.is_sent());
        second.mark_sent();
        assert!(above.is_sent() && second_attempt.is_sent() && !first_attempt.is_sent());
    }

    #[test]
    fn sent_flag_of_merged_call_reaches_members() {
        let tracked = || {
            let mut call = Call::new("t", ());
            let limiter = call.track();
            (limiter, call.track())
        };
        let (members, others) = ([tracked(), tracked()], tracked());
        let inner = SentFlag::below_members(members.iter().map(|(_, flag)| flag.clone()).collect());
        let outer = SentFlag::below_members(vec![SentFlag::below(Some(inner)), others.1.clone()]);
        SentFlag::below(Some(outer)).mark_sent();
        assert!(members.iter().chain([&others]).all(|(limiter, flag)| limiter.is_sent() && flag.is_sent()));
    }

    /// Leaves the call, and returns the list to which the call's end will be added.
    fn left(flag: &SentFlag) -> Arc<Mutex<Vec<LateEnd>>> {
        let ends = Arc::<Mutex<Vec<LateEnd>>>::default();
        let seen = Arc::clone(&ends);
        flag.leave(move |end| seen.lock().unwrap().push(end));
        ends
    }

    fn count(ends: &Mutex<Vec<LateEnd>>) -> (usize, usize) {
        let ends = ends.lock().unwrap();
        (ends.len(), ends.iter().filter(|end| matches!(end, LateEnd::Complete(_))).count())
    }

    #[test]
    fn leave_waits_for_end_of_merged_call() {
        let mut call = Call::new("t", ());
        let (limiter, own) = (call.track(), call.track());
        assert_eq!(count(&left(&limiter)), (1, 0), "nothing goes on");
        let part = own.merge();
        let early = left(&limiter);
        assert_eq!(count(&early), (0, 0));
        part.end(&LateEnd::Complete(Receipt::default()));
        assert_eq!((count(&early), count(&left(&limiter))), ((1, 1), (1, 1)), "also after the end");
        // The retry is not a part of a merged call, so the earlier end is not its end.
        call.mark_sent();
        assert_eq!(count(&left(&limiter)), (1, 0));
        let part = own.merge();
        let early = left(&limiter);
        drop(part);
        assert_eq!(count(&early), (1, 0));
    }
}
