//! Sending of events to a chat: a bounded queue, and one task that sends as fast as the chat permits.

use std::{
    fmt,
    future::Future,
    num::NonZeroU32,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use governor::{Quota, RateLimiter, clock};
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use crate::{Event, NoRuntime, Sink, runtime::timers};

/// Sink that posts [`Event`]s as JSON to a chat, one after the other and no faster than the chat permits, by the
/// application's own HTTP client.
pub struct Webhook {
    form: Form,
    queue: Mutex<Option<mpsc::Sender<String>>>,
    task: Mutex<Option<JoinHandle<()>>>,
    lost: Arc<AtomicU64>,
}

/// Format of the JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Form {
    /// `{"text": …}`, the format of Slack's incoming webhooks.
    Slack,
    /// `{"chat_id": …, "text": …}`, the format of Telegram's `sendMessage`.
    Telegram {
        /// Id of the chat.
        chat: Arc<str>,
    },
}

/// Clock for governor that follows tokio's timers.
struct Timers(Instant);

impl Webhook {
    /// Largest number of waiting events. Further events are lost, and counted.
    pub const QUEUE: usize = 256;
    /// Longest time for sending one event.
    pub const TIMEOUT: Duration = Duration::from_secs(30);

    /// Creates a webhook, and **spawns a task** on the current runtime that sends events by `post`. `post` gets the
    /// JSON and returns `true` if it arrived. The task sends at most one event a second to Slack, and one in three
    /// seconds to Telegram, whose groups accept 20 a minute. It ends when the webhook is closed or dropped.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::sync::Arc;
    ///
    /// use llm_ratelimit::{Form, Limiter, Plans, Webhook};
    ///
    /// let webhook = Webhook::spawn(Form::Slack, |json: String| async move { !json.is_empty() })?;
    /// let limiter = Limiter::builder(Plans::uniform(["10k tokens/day"])?).sink(Arc::clone(&webhook)).build()?;
    /// // … calls …
    /// limiter.close().await?;
    /// webhook.close().await;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`NoRuntime`] outside of a tokio runtime with timers.
    #[expect(clippy::disallowed_methods, reason = "the name and the docs say that it spawns")]
    pub fn spawn<F, A>(form: Form, mut post: F) -> Result<Arc<Self>, NoRuntime>
    where
        F: FnMut(String) -> A + Send + 'static,
        A: Future<Output = bool> + Send,
    {
        timers()?;
        let (queue, mut events) = mpsc::channel::<String>(Self::QUEUE);
        let lost = Arc::new(AtomicU64::new(0));
        let pace = RateLimiter::direct_with_clock(form.quota(), Timers(Instant::now()));
        let task = tokio::spawn({
            let lost = Arc::clone(&lost);
            async move {
                while let Some(event) = events.recv().await {
                    while let Err(later) = pace.check() {
                        sleep(later.wait_time_from(clock::Clock::now(pace.clock()))).await;
                    }
                    if !timeout(Self::TIMEOUT, post(event)).await.unwrap_or(false) {
                        lost.fetch_add(1, Relaxed);
                    }
                }
            }
        });
        Ok(Arc::new(Self { form, queue: Mutex::new(Some(queue)), task: Mutex::new(Some(task)), lost }))
    }

    /// Returns the number of events that did not arrive.
    pub fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }

    /// Waits until all waiting events are sent, each for at most [`TIMEOUT`](Self::TIMEOUT). Events that are emitted
    /// later are lost.
    pub async fn close(&self) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task {
            // A panic of the application's client ends the task, so there is nothing left to wait for.
            let _ = task.await;
        }
    }

    fn json(&self, event: &Event) -> String {
        match &self.form {
            Form::Slack => serde_json::json!({"text": escaped(&event.text())}),
            Form::Telegram { chat } => serde_json::json!({"chat_id": &**chat, "text": event.text()}),
        }
        .to_string()
    }
}

impl Form {
    fn quota(&self) -> Quota {
        let a_minute = match self {
            Self::Slack => 60,
            Self::Telegram { .. } => 20,
        };
        Quota::per_minute(NonZeroU32::new(a_minute).expect("not zero")).allow_burst(NonZeroU32::MIN)
    }
}

impl clock::Clock for Timers {
    type Instant = Duration;

    fn now(&self) -> Duration {
        // For governor, a time of zero means that no cell was taken yet.
        self.0.elapsed() + Duration::from_nanos(1)
    }
}

/// Escapes characters of a tenant's name, because Slack reads text in angle brackets as a command.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

impl Sink for Webhook {
    fn emit(&self, event: &Event) {
        let json = self.json(event);
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if queue.is_none_or(|queue| queue.try_send(json).is_err()) {
            self.lost.fetch_add(1, Relaxed);
        }
    }
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").field("form", &self.form).field("lost", &self.lost()).finish_non_exhaustive()
    }
}

impl<S: Sink + ?Sized> Sink for Arc<S> {
    fn emit(&self, event: &Event) {
        (**self).emit(event);
    }
}
