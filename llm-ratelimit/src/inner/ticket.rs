//! Ticket of a waiting call, which awaits its outcome.

use std::{
    future::{Future, poll_fn},
    ops::ControlFlow,
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

use super::Inner;
use crate::{
    Reason, Refusal, Reservation,
    accounts::Standing,
    queue::{Outcome, Waiter},
};

/// Waiting call, as the task of its caller sees it. Dropping the ticket removes the call from its queue.
pub(super) struct Ticket {
    inner: Arc<Inner>,
    waiter: Arc<Waiter>,
}

impl Ticket {
    pub(super) fn new(inner: Arc<Inner>, waiter: Arc<Waiter>) -> Self {
        Self { inner, waiter }
    }

    /// Waits for the outcome, at most for the longest wait and until the call's deadline, which may move meanwhile.
    ///
    /// The call also asks for a decision itself after 1 s, 2 s, 4 s, …, because the task of the queue's first call may
    /// keep its future without polling it.
    pub(super) async fn wait(self) -> Result<Reservation, Refusal> {
        let mut timeout = Duration::from_secs(1);
        loop {
            let look = Instant::now() + timeout;
            if let Some(outcome) = self.sleep(look).await {
                return self.conclude(outcome).await;
            }
            if self.waiter.is_late() {
                return self.give_up().await;
            }
            if Instant::now() >= look {
                timeout = (timeout * 2).min(Duration::from_secs(60));
            }
            // The time of the alarm has come. Serving the queue sets the next alarm for the call that is then first.
            self.waiter.clear_alarm();
            if let Some(place) = self.waiter.place() {
                self.inner.serve(place.account_ref).await;
            }
        }
    }

    /// Sleeps until there is an outcome. Returns `None` earlier if the call must decide by itself, or at the time of
    /// its alarm, its deadline, its timeout or `look`.
    async fn sleep(&self, look: Instant) -> Option<Outcome> {
        let look = look.min(self.waiter.timeout);
        let mut sleep = pin!(sleep_until(look));
        let mut passed = pin!(self.waiter.demand.deadline.passed(|at| sleep_until(at.into())));
        poll_fn(|cx| {
            let alarm = match self.waiter.listen(cx.waker()) {
                ControlFlow::Break(outcome) => return Poll::Ready(outcome),
                ControlFlow::Continue(alarm) => alarm,
            };
            let at = alarm.map_or(look, |alarm| alarm.min(look));
            if at != sleep.deadline() {
                sleep.as_mut().reset(at);
            }
            match passed.as_mut().poll(cx) {
                Poll::Ready(()) => Poll::Ready(None),
                Poll::Pending => sleep.as_mut().poll(cx).map(|()| None),
            }
        })
        .await
    }

    async fn conclude(&self, outcome: Outcome) -> Result<Reservation, Refusal> {
        match outcome {
            Outcome::Decided(outcome) => *outcome,
            Outcome::TakenOut(reason) => self.last_try(reason).await,
        }
    }

    /// Removes the call from its queue, because its waiting time is over. If the call was served meanwhile, returns
    /// that outcome. Otherwise decides a last time.
    async fn give_up(&self) -> Result<Reservation, Refusal> {
        self.inner.abandon(&self.waiter);
        self.conclude(self.waiter.take_outcome().unwrap_or(Outcome::TakenOut(Reason::TooLate))).await
    }

    async fn last_try(&self, reason: Reason) -> Result<Reservation, Refusal> {
        self.inner.reserve(&self.waiter.demand, Standing::New).await.map_err(|refusal| match refusal.reason() {
            Reason::UsedUp => refusal.because(reason),
            _ => refusal,
        })
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.inner.abandon(&self.waiter);
        // This happens outside of all locks, because dropping a reservation that was granted meanwhile returns its
        // room.
        drop(self.waiter.take_outcome());
    }
}
