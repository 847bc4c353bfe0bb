use std::sync::atomic::{AtomicU8, Ordering};

/// Fault in the order of a stack's layers, which a ledger notices while it books calls.
///
/// ```
/// use llm_providers::{Ledger, ledger::StackFault, prices};
///
/// let ledger = Ledger::new(prices::openai());
/// let snapshot = ledger.snapshot();
/// assert!(!snapshot.stack_faults().any(|fault| fault == StackFault::NoAttemptsLayer));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
#[repr(u8)]
pub enum StackFault {
    /// Responses came from a vendor, and no attempt was booked.
    #[error("no attempt is booked: put `ledger.attempts()` right above the client, or nothing has a cost")]
    NoAttemptsLayer = 1,
    /// A hundred attempts ended, and no response was booked.
    #[error("no response is booked: put `ledger.requests()` on top of the stack, or nothing counts as useful or saved")]
    NoRequestsLayer = 2,
    /// An attempt was booked twice.
    #[error("attempts are booked twice: keep the one `ledger.attempts()` that is right above the client")]
    TwoAttemptsLayers = 4,
    /// A client responded without having marked the call as sent.
    #[error(
        "the client does not call `Call::mark_sent`, so calls that are dropped count as not sent: call it before sending"
    )]
    UnmarkedCalls = 8,
    /// A call had an option, such as a cache's directive, that no layer above the client read.
    #[error(
        "calls have options that no layer reads: put the layer above the client, as a `CacheLayer` for a `Directive`"
    )]
    UnreadOption = 16,
}

/// Number of attempts without any booked response after which the ledger reports that the stack has no requests layer.
pub(super) const ATTEMPTS_WITHOUT_REQUESTS: u64 = 100;

/// Faults that the ledger has noticed, as bits. Each fault is logged once.
#[derive(Debug, Default)]
pub(super) struct StackFaults(AtomicU8);

impl StackFaults {
    pub(super) fn note(&self, fault: StackFault) {
        if self.0.load(Ordering::Relaxed) & fault as u8 == 0
            && self.0.fetch_or(fault as u8, Ordering::Relaxed) & fault as u8 == 0
        {
            tracing::warn!(%fault, "the ledger's stack has a fault");
        }
    }

    pub(super) fn all(&self) -> Vec<StackFault> {
        use StackFault::{NoAttemptsLayer, NoRequestsLayer, TwoAttemptsLayers, UnmarkedCalls, UnreadOption};
        let noted = self.0.load(Ordering::Relaxed);
        let all = [NoAttemptsLayer, NoRequestsLayer, TwoAttemptsLayers, UnmarkedCalls, UnreadOption];
        all.into_iter().filter(|fault| noted & *fault as u8 != 0).collect()
    }
}
