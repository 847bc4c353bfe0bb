//! Queue for heavy background work: by priority, with three retries, and with waiting for the next window of a budget.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::future::join_all;
use llm_core::{Error, ErrorKind};
use tokio::{sync::Semaphore, time::sleep};

/// Number of retries of a job that fails.
pub const RETRIES: usize = 3;
/// Waiting time before the first retry. It doubles for each further retry.
pub const BACKOFF: Duration = Duration::from_secs(5);

/// Queue of jobs, a bounded number of which run at the same time. Jobs are kept in memory, so they are lost when the
/// process ends.
///
/// ```
/// use examples::proposal_drafting::background::Queue;
///
/// # tokio_test(async {
/// let queue = Queue::new(2);
/// let jobs = vec![(1, "nightly"), (9, "asked for")];
/// let done = queue.run(jobs, |name| async move { Ok(println!("{name}")) }).await;
/// assert_eq!((done.len(), queue.progress().done), (2, [2, 0, 0, 0]));
/// # });
/// # fn tokio_test(future: impl Future<Output = ()>) { examples::virtual_time::run(future).unwrap() }
/// ```
#[derive(Debug)]
pub struct Queue {
    places: Semaphore,
    progress: Mutex<Progress>,
}

/// Progress of a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Number of jobs so far.
    pub jobs: u64,
    /// Number of jobs that are done: without a retry, after one, after two, after three.
    pub done: [u64; RETRIES + 1],
    /// Number of jobs that failed after all retries.
    pub failed: u64,
    /// Number of times that a job waited for the next window of a budget.
    pub waits: u64,
}

impl Queue {
    /// Creates a queue that runs at most `at_one_time` attempts at one time.
    #[must_use]
    pub fn new(at_one_time: usize) -> Self {
        Self { places: Semaphore::new(at_one_time), progress: Mutex::default() }
    }

    /// Returns the current progress.
    pub fn progress(&self) -> Progress {
        *self.lock()
    }

    /// Runs jobs, those with the highest priority first, and returns the result of each in that order.
    pub async fn run<J, F>(&self, mut jobs: Vec<(u32, J)>, work: impl Fn(J) -> F) -> Vec<Result<(), Error>>
    where
        J: Clone,
        F: Future<Output = Result<(), Error>>,
    {
        jobs.sort_by_key(|(priority, _)| std::cmp::Reverse(*priority));
        self.lock().jobs += jobs.len() as u64;
        join_all(jobs.into_iter().map(|(_, job)| self.job(job, &work))).await
    }

    async fn job<J: Clone, F: Future<Output = Result<(), Error>>>(
        &self,
        job: J,
        work: &impl Fn(J) -> F,
    ) -> Result<(), Error> {
        let (mut retries, mut backoff) = (0, BACKOFF);
        loop {
            // Only a running attempt holds a permit, so a waiting job delays no other.
            let attempt = async {
                let _place = self.places.acquire().await.map_err(|error| Error::invalid(error.to_string()))?;
                work(job.clone()).await
            };
            let Err(error) = attempt.await else {
                self.lock().done[retries] += 1;
                return Ok(());
            };
            match (error.kind(), error.retry_after()) {
                (ErrorKind::OverBudget, Some(next)) => {
                    self.lock().waits += 1;
                    sleep(next).await;
                }
                (kind, _) if retries < RETRIES && (error.is_retryable() || kind == ErrorKind::Unavailable) => {
                    retries += 1;
                    sleep(backoff).await;
                    backoff *= 2;
                }
                _ => {
                    self.lock().failed += 1;
                    return Err(error);
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn queue_runs_by_priority_and_retries() {
        let (order, start) = (RefCell::new(Vec::new()), Instant::now());
        let queue = Queue::new(1);
        let results = queue.run(vec![(1, "later"), (5, "broken"), (3, "first")], |name| {
            order.borrow_mut().push((name, start.elapsed().as_secs()));
            async move { if name == "broken" { Err(Error::new(ErrorKind::Unavailable, "down")) } else { Ok(()) } }
        });
        let results = results.await;
        assert_eq!(results.iter().map(Result::is_ok).collect::<Vec<_>>(), [false, true, true]);
        let expected = [("broken", 0), ("first", 0), ("later", 0), ("broken", 5), ("broken", 15), ("broken", 35)];
        assert_eq!(*order.borrow(), expected);
        let progress = queue.progress();
        assert_eq!((progress.jobs, progress.done, progress.failed), (3, [2, 0, 0, 0], 1));
    }

    #[tokio::test(start_paused = true)]
    async fn queue_counts_jobs_by_retries() {
        let (queue, start) = (Queue::new(2), Instant::now());
        let results = queue.run(vec![(1, 0), (1, 4), (1, 14), (1, 34)], |down: u64| async move {
            if start.elapsed().as_secs() < down { Err(Error::new(ErrorKind::Unavailable, "down")) } else { Ok(()) }
        });
        assert!(results.await.iter().all(Result::is_ok));
        assert_eq!(queue.progress().done, [1, 1, 1, 1]);
        assert_eq!(start.elapsed().as_secs(), 35, "5, 10 and 20 s");
    }
}
