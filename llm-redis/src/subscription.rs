//! Subscriptions to channels, and their registry.

use std::{
    collections::HashMap,
    fmt, mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use tokio::sync::{Notify, mpsc};

use crate::{Error, ErrorKind, Key, counts::Count};

/// Notification of a [`Subscription`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notification {
    /// Messages arrive from now on, but earlier messages may have been lost, so read the state that messages announce.
    ///
    /// This is the first notification of a subscription. It is repeated after each reconnect and each overflow of the
    /// buffer.
    Recheck,
    /// Message that was published on the channel.
    Message(Bytes),
}

/// Subscription to one channel, returned by [`Redis::subscribe`](crate::Redis::subscribe).
///
/// Messages may be lost. A [`Recheck`](Notification::Recheck) follows lost messages, so that the reader reads the state
/// anew. During an outage no notification arrives, so a caller that waits for a change must also read the state from
/// time to time. Dropping the subscription unsubscribes.
///
/// # Example
///
/// ```
/// # async fn example(redis: &llm_redis::Redis) -> Result<(), llm_redis::Error> {
/// use llm_redis::{Command, Notification};
///
/// let tag = redis.key_space().tag("settings");
/// let mut changes = redis.subscribe(&tag.key("changed"))?;
/// while let Some(notification) = changes.next().await {
///     if let Notification::Message(setting) = notification {
///         println!("{setting:?} changed");
///     }
///     let theme = redis.run(Command::get(&tag.key("theme"))).await?.into_bytes()?;
/// }
/// # Ok(())
/// # }
/// ```
pub struct Subscription {
    buffer: mpsc::Receiver<Notification>,
    missed: Arc<AtomicBool>,
    id: u64,
    channel: Arc<str>,
    registry: Weak<SubscriptionRegistry>,
}

impl Subscription {
    /// Waits for the next notification. Returns `None` after the client was closed.
    ///
    /// ```
    /// use llm_redis::Redis;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), llm_redis::Error> {
    /// let redis = Redis::builder("redis://127.0.0.1:1").spawn()?;
    /// let mut changes = redis.subscribe(&redis.key_space().tag("settings").key("changed"))?;
    /// redis.close().await;
    /// assert_eq!(changes.next().await, None);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn next(&mut self) -> Option<Notification> {
        if self.missed.swap(false, Ordering::AcqRel) {
            return Some(Notification::Recheck);
        }
        let notification = self.buffer.recv().await?;
        // A recheck from the buffer also covers all notifications that were dropped before it.
        if notification == Notification::Recheck {
            self.missed.store(false, Ordering::Release);
        }
        Some(notification)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if let Some(registry) = self.registry.upgrade() {
            registry.unregister(&self.channel, self.id);
        }
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Subscription({})", self.channel)
    }
}

/// Registry of a client's subscriptions, and of the channels to which the client is subscribed at the server.
pub(crate) struct SubscriptionRegistry {
    channels: Mutex<HashMap<Arc<str>, Channel>>,
    max_channels: usize,
    capacity: usize,
    next_id: AtomicU64,
    /// Wakes the connection manager after a change of the subscriptions.
    changed: Arc<Notify>,
    pub(crate) messages: Count,
    pub(crate) dropped: Count,
}

#[derive(Default)]
struct Channel {
    subscribers: Vec<Subscriber>,
    /// True if the subscribe command was sent on the current connection.
    is_sent: bool,
    /// True if the server has confirmed the subscription.
    is_confirmed: bool,
}

/// Sending half of a [`Subscription`].
#[derive(Clone)]
struct Subscriber {
    id: u64,
    buffer: mpsc::Sender<Notification>,
    missed: Arc<AtomicBool>,
}

/// Change of a subscription to send to the server.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Subscribe(Arc<str>),
    Unsubscribe(Arc<str>),
}

impl SubscriptionRegistry {
    pub(crate) fn new(max_channels: usize, capacity: usize, changed: Arc<Notify>) -> Self {
        let (channels, next_id, messages, dropped) = Default::default();
        Self { channels, max_channels, capacity, next_id, changed, messages, dropped }
    }

    /// Adds a subscription to a channel, and wakes the connection manager to send the subscribe command.
    pub(crate) fn register(self: &Arc<Self>, channel: &Key) -> Result<Subscription, Error> {
        let (sender, buffer) = mpsc::channel(self.capacity);
        let missed = Arc::new(AtomicBool::new(false));
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let channel = channel.to_arc();
        {
            let mut channels = self.lock();
            if !channels.contains_key(&channel) && channels.len() >= self.max_channels {
                let message = "too many channels are subscribed; raise max_channels, or share channels";
                return Err(Error::new(ErrorKind::Busy, message));
            }
            let entry = channels.entry(Arc::clone(&channel)).or_default();
            missed.store(entry.is_confirmed, Ordering::Release);
            entry.subscribers.push(Subscriber { id, buffer: sender, missed: Arc::clone(&missed) });
        }
        self.changed.notify_one();
        Ok(Subscription { buffer, missed, id, channel, registry: Arc::downgrade(self) })
    }

    /// Returns the changes that must be sent to the server, marks them as sent, and removes channels without
    /// subscribers.
    pub(crate) fn take_changes(&self) -> Vec<Change> {
        let mut changes = Vec::new();
        self.lock().retain(|name, channel| {
            let is_wanted = !channel.subscribers.is_empty();
            if is_wanted && !mem::replace(&mut channel.is_sent, true) {
                changes.push(Change::Subscribe(Arc::clone(name)));
            }
            if !is_wanted && channel.is_sent {
                changes.push(Change::Unsubscribe(Arc::clone(name)));
            }
            is_wanted
        });
        changes
    }

    /// Marks a channel as not sent, because the subscribe command failed.
    pub(crate) fn subscribe_failed(&self, channel: &str) {
        if let Some(channel) = self.lock().get_mut(channel) {
            (channel.is_sent, channel.is_confirmed) = (false, false);
        }
    }

    /// Marks all channels as not sent, because the connection was replaced.
    pub(crate) fn reset(&self) {
        for channel in self.lock().values_mut() {
            (channel.is_sent, channel.is_confirmed) = (false, false);
        }
    }

    /// Notifies a channel's subscribers that the server has confirmed the subscription, so that messages arrive from
    /// now on.
    pub(crate) fn subscribed(&self, channel: &[u8]) {
        for subscriber in self.subscribers(channel, true) {
            self.send(&subscriber, Notification::Recheck);
        }
    }

    /// Delivers a message to a channel's subscribers.
    pub(crate) fn deliver(&self, channel: &[u8], message: Bytes) {
        self.messages.increment();
        for subscriber in self.subscribers(channel, false) {
            self.send(&subscriber, Notification::Message(message.clone()));
        }
    }

    /// Ends all subscriptions by dropping their sending halves.
    pub(crate) fn close(&self) {
        let _dropped_unlocked = mem::take(&mut *self.lock());
    }

    /// Returns the number of channels with a subscription.
    pub(crate) fn channels(&self) -> usize {
        self.lock().len()
    }

    fn unregister(&self, channel: &str, id: u64) {
        let _dropped_unlocked = {
            let mut channels = self.lock();
            let Some(entry) = channels.get_mut(channel) else { return };
            let at = entry.subscribers.iter().position(|subscriber| subscriber.id == id);
            at.map(|at| entry.subscribers.swap_remove(at))
        };
        self.changed.notify_one();
    }

    /// Returns a channel's subscribers, and marks the channel as confirmed if `confirm` is true. The subscribers are
    /// cloned, because sending to them wakes readers and must not happen inside the lock.
    fn subscribers(&self, channel: &[u8], confirm: bool) -> Vec<Subscriber> {
        let mut channels = self.lock();
        let channel = std::str::from_utf8(channel).ok().and_then(|name| channels.get_mut(name));
        let Some(channel) = channel else { return Vec::new() };
        channel.is_confirmed |= confirm;
        channel.subscribers.clone()
    }

    fn send(&self, subscriber: &Subscriber, notification: Notification) {
        if subscriber.buffer.try_send(notification).is_err() {
            subscriber.missed.store(true, Ordering::Release);
            self.dropped.increment();
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Channel>> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
