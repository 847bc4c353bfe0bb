use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// Flag that is set once a call is sent to a vendor, from [`Call::track`](super::Call::track). Clones share it.
#[derive(Clone, Debug)]
pub struct SentFlag(Arc<Node>);

#[derive(Debug)]
struct Node {
    sent: AtomicBool,
    above: Option<SentFlag>,
}

impl SentFlag {
    pub(super) fn below(above: Option<Self>) -> Self {
        Self(Arc::new(Node { sent: AtomicBool::new(false), above }))
    }

    /// Returns `true` if the request was handed to a vendor, which may charge it.
    pub fn is_sent(&self) -> bool {
        self.0.sent.load(Ordering::Acquire)
    }

    pub(super) fn mark_sent(&self) {
        let mut next = Some(self);
        while let Some(flag) = next {
            flag.0.sent.store(true, Ordering::Release);
            next = flag.0.above.as_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::Call;

    #[test]
    fn sent_flag_is_per_attempt_and_reaches_layers_above() {
        let mut call = Call::new("t", ());
        let above = call.track();
        let (mut first, mut second) = (call.clone(), call);
        let (first_attempt, second_attempt) = (first.track(), second.track());
        assert!(!above.is_sent());
        second.mark_sent();
        assert!(above.is_sent() && second_attempt.is_sent() && !first_attempt.is_sent());
    }
}
