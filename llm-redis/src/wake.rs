//! Messages from other processes.

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

use crate::{Error, ErrorKind, Key};

/// What a [`Subscription`] tells.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notification {
    /// From here on messages arrive, and some before may be lost: look yourself now. It comes first, and again after
    /// each reconnect and each overflow.
    Recheck,
    /// A message.
    Message(Bytes),
}

/// Messages of one channel, lossy by contract: at most as many wait as the queue holds. Dropped, it unsubscribes.
///
/// While Redis is away, nothing comes. Whoever waits for something must look himself now and then.
pub struct Subscription {
    queue: mpsc::Receiver<Notification>,
    missed: Arc<AtomicBool>,
    id: u64,
    channel: Arc<str>,
    board: Weak<Board>,
}

impl Subscription {
    /// The next wake-up; `None` after the handle was closed.
    pub async fn next(&mut self) -> Option<Notification> {
        if self.missed.swap(false, Ordering::AcqRel) {
            return Some(Notification::Recheck);
        }
        let wake = self.queue.recv().await?;
        // It says the same.
        if wake == Notification::Recheck {
            self.missed.store(false, Ordering::Release);
        }
        Some(wake)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if let Some(board) = self.board.upgrade() {
            board.leave(&self.channel, self.id);
        }
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Subscription({})", self.channel)
    }
}

/// Who listens to which channel, and what the server knows of that.
pub(crate) struct Board {
    channels: Mutex<HashMap<Arc<str>, Channel>>,
    max_channels: usize,
    queue: usize,
    next_id: AtomicU64,
    /// Told when the server must learn of a change.
    changed: Arc<Notify>,
    pub(crate) messages: AtomicU64,
    pub(crate) dropped: AtomicU64,
}

#[derive(Default)]
struct Channel {
    listeners: Vec<Listener>,
    /// Whether the server was asked, on this connection.
    asked: bool,
    /// Whether it has confirmed it since.
    live: bool,
}

#[derive(Clone)]
struct Listener {
    id: u64,
    queue: mpsc::Sender<Notification>,
    missed: Arc<AtomicBool>,
}

/// What the server must be told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Subscribe(Arc<str>),
    Unsubscribe(Arc<str>),
}

impl Board {
    pub(crate) fn new(max_channels: usize, queue: usize, changed: Arc<Notify>) -> Self {
        let (channels, next_id, messages, dropped) = Default::default();
        Self { channels, max_channels, queue, next_id, changed, messages, dropped }
    }

    pub(crate) fn join(self: &Arc<Self>, channel: &Key) -> Result<Subscription, Error> {
        let (sender, queue) = mpsc::channel(self.queue);
        let missed = Arc::new(AtomicBool::new(false));
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let channel = channel.shared();
        {
            let mut channels = self.lock();
            if !channels.contains_key(&channel) && channels.len() >= self.max_channels {
                let message = "too many channels are subscribed; raise max_channels, or share channels";
                return Err(Error::new(ErrorKind::Busy, message));
            }
            let entry = channels.entry(Arc::clone(&channel)).or_default();
            missed.store(entry.live, Ordering::Release);
            entry.listeners.push(Listener { id, queue: sender, missed: Arc::clone(&missed) });
        }
        self.changed.notify_one();
        Ok(Subscription { queue, missed, id, channel, board: Arc::downgrade(self) })
    }

    /// What the server does not know yet; taken as told.
    pub(crate) fn changes(&self) -> Vec<Change> {
        let mut changes = Vec::new();
        self.lock().retain(|name, channel| {
            let wanted = !channel.listeners.is_empty();
            if wanted && !mem::replace(&mut channel.asked, true) {
                changes.push(Change::Subscribe(Arc::clone(name)));
            }
            if !wanted && channel.asked {
                changes.push(Change::Unsubscribe(Arc::clone(name)));
            }
            wanted
        });
        changes
    }

    /// The server could not be told.
    pub(crate) fn untold(&self, channel: &str) {
        if let Some(channel) = self.lock().get_mut(channel) {
            (channel.asked, channel.live) = (false, false);
        }
    }

    /// Another connection: the server knows nothing.
    pub(crate) fn forget(&self) {
        for channel in self.lock().values_mut() {
            (channel.asked, channel.live) = (false, false);
        }
    }

    /// The server has confirmed a channel: from here on its messages arrive.
    pub(crate) fn confirmed(&self, channel: &[u8]) {
        for listener in self.listeners(channel, true) {
            self.hand(&listener, Notification::Recheck);
        }
    }

    pub(crate) fn message(&self, channel: &[u8], message: Bytes) {
        self.messages.fetch_add(1, Ordering::Relaxed);
        for listener in self.listeners(channel, false) {
            self.hand(&listener, Notification::Message(message.clone()));
        }
    }

    /// Ends all subscriptions.
    pub(crate) fn close(&self) {
        let _gone = mem::take(&mut *self.lock());
    }

    pub(crate) fn channels(&self) -> usize {
        self.lock().len()
    }

    fn leave(&self, channel: &str, id: u64) {
        let _gone = {
            let mut channels = self.lock();
            let Some(entry) = channels.get_mut(channel) else { return };
            let at = entry.listeners.iter().position(|listener| listener.id == id);
            at.map(|at| entry.listeners.swap_remove(at))
        };
        self.changed.notify_one();
    }

    /// Whoever listens, taken out of the lock, since a queue wakes its reader.
    fn listeners(&self, channel: &[u8], confirmed: bool) -> Vec<Listener> {
        let mut channels = self.lock();
        let channel = std::str::from_utf8(channel).ok().and_then(|name| channels.get_mut(name));
        let Some(channel) = channel else { return Vec::new() };
        channel.live |= confirmed;
        channel.listeners.clone()
    }

    fn hand(&self, listener: &Listener, wake: Notification) {
        if listener.queue.try_send(wake).is_err() {
            listener.missed.store(true, Ordering::Release);
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Channel>> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
