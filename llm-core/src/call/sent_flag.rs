use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// Whether a call was sent to a vendor. Given out by [`Call::track`](super::Call::track); clones tell the same.
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

    /// Whether the request was handed to a vendor, and so may be charged.
    pub fn is_sent(&self) -> bool {
        self.0.sent.load(Ordering::Acquire)
    }

    pub(super) fn mark_sent(&self) {
        let mut next = Some(self);
        while let Some(dispatch) = next {
            dispatch.0.sent.store(true, Ordering::Release);
            next = dispatch.0.above.as_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::Call;

    #[test]
    fn each_attempt_is_told_apart_and_the_layers_above_hear_of_both() {
        let mut call = Call::new("t", ());
        let above = call.track();
        let (mut first, mut second) = (call.clone(), call);
        let (first_attempt, second_attempt) = (first.track(), second.track());
        assert!(!above.is_sent());
        second.mark_sent();
        assert!(above.is_sent() && second_attempt.is_sent() && !first_attempt.is_sent());
    }
}
