//! State that a client's clones and its connection manager share, and the steps of a call.

use std::{
    future::Future,
    mem,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, Semaphore, SemaphorePermit, TryAcquireError, watch},
    time::{Instant, timeout_at},
};

use crate::{
    ConnectionState, Error, ErrorKind, Event, Health, KeySpace, Stats,
    builder::{LONGEST, Settings},
    connection::{Connection, Target},
    counts::Counts,
    reporter::EventReporter,
    shards::BreakerShards,
    subscription::SubscriptionRegistry,
    telemetry,
};

/// Shared state of a client.
pub(crate) struct Inner {
    pub(crate) target: Target,
    pub(crate) key_space: KeySpace,
    pub(crate) counts: Counts,
    pub(crate) reporter: EventReporter,
    pub(crate) subscriptions: Arc<SubscriptionRegistry>,
    pub(crate) breakers: BreakerShards,
    pub(crate) clock_offset_micros: AtomicI64,
    /// Wakes the connection manager.
    pub(crate) work: Arc<Notify>,
    /// True after a replica has refused a write, because the primary may have moved to another address.
    pub(crate) is_stale: AtomicBool,
    /// Number of the latest attempt to open a connection, by which a connection is identified.
    pub(crate) epoch: AtomicU64,
    link: watch::Sender<Link>,
    permits: Semaphore,
}

/// State of the connection, with the connection if it is open.
pub(crate) enum Link {
    Idle,
    Connecting,
    Connected { connection: Connection, epoch: u64 },
    Closed,
}

/// Request, or pipeline of several requests, that is sent in one round trip.
pub(crate) trait RoundTrip: Sync {
    /// Response to the whole round trip.
    type Response: Send;

    /// Returns the name of the request for error messages.
    fn name(&self) -> &'static str;

    /// Returns the slot that the request belongs to; `None` if any node can execute it.
    fn slot(&self) -> Result<Option<u16>, Error>;

    /// Returns `true` if the request may be sent again after its connection broke.
    fn is_repeatable(&self) -> bool;

    /// Sends the request and waits for its response, without a timeout.
    fn send(
        &self,
        connection: &mut Connection,
        inner: &Inner,
    ) -> impl Future<Output = Result<Self::Response, Error>> + Send;
}

impl Inner {
    pub(crate) fn new(settings: Settings) -> Self {
        let Settings { target, key_space, breaker, instance, max_channels, channel_capacity } = settings;
        let work = Arc::new(Notify::new());
        let subscriptions = SubscriptionRegistry::new(max_channels, channel_capacity, Arc::clone(&work));
        Self {
            permits: Semaphore::new(target.max_in_flight),
            breakers: BreakerShards::new(target.address.cluster, breaker),
            target,
            key_space,
            counts: Counts::default(),
            reporter: EventReporter::new(instance),
            subscriptions: Arc::new(subscriptions),
            clock_offset_micros: AtomicI64::new(0),
            work,
            is_stale: AtomicBool::new(false),
            epoch: AtomicU64::new(0),
            link: watch::Sender::new(Link::Idle),
        }
    }

    /// Sends a request and waits for its response. If `timeout` is `None`, the client's `call_timeout` applies.
    pub(crate) async fn call<R: RoundTrip>(&self, trip: &R, timeout: Option<Duration>) -> Result<R::Response, Error> {
        let result = self.call_until_timeout(trip, timeout).await;
        self.counts.record_call(&result);
        telemetry::record_call(&self.reporter.instance, telemetry::outcome(&result));
        result
    }

    async fn call_until_timeout<R: RoundTrip>(
        &self,
        trip: &R,
        timeout: Option<Duration>,
    ) -> Result<R::Response, Error> {
        let shard = self.breakers.of_slot(trip.slot()?);
        let deadline = Instant::now() + timeout.unwrap_or(self.target.call_timeout).min(LONGEST);
        let _permit = match timeout {
            None => self.try_acquire_permit()?,
            Some(_) => self.acquire_permit(shard, deadline).await?,
        };
        let mut sent = false;
        let result = match timeout_at(deadline, self.attempts(trip, shard, &mut sent)).await {
            Ok(result) => result,
            Err(_) if sent => Err(Error::sent(ErrorKind::Timeout, format!("{}: no response in time", trip.name()))),
            // This timeout is not recorded in the breaker, because the connection manager determines if the server can
            // be reached.
            Err(_) => Err(Error::new(ErrorKind::Timeout, format!("{}: no connection in time", self.target.address))),
        };
        if sent {
            self.record_outcome(shard, result.as_ref().err());
        }
        result
    }

    /// Sends a request. If the connection breaks, sends a repeatable request again while retries are left. Sets `sent`
    /// before the first attempt is sent.
    async fn attempts<R: RoundTrip>(&self, trip: &R, shard: usize, sent: &mut bool) -> Result<R::Response, Error> {
        let mut last_error = None;
        for _ in 0..=self.target.retries {
            let (mut connection, epoch) = match self.connection(shard).await {
                Ok(connected) => connected,
                Err(error) => return Err(last_error.unwrap_or(error)),
            };
            if last_error.is_some() {
                self.counts.retried.increment();
            }
            *sent = true;
            match trip.send(&mut connection, self).await {
                Err(error) if matches!(error.kind(), ErrorKind::Connection | ErrorKind::Protocol) => {
                    self.connection_lost(epoch);
                    if !trip.is_repeatable() {
                        return Err(error);
                    }
                    last_error = Some(error);
                }
                other => return other,
            }
        }
        Err(last_error.expect("every other way out returns"))
    }

    /// Returns a permit to send, or an error at once if too many calls are in flight.
    fn try_acquire_permit(&self) -> Result<SemaphorePermit<'_>, Error> {
        self.permits.try_acquire().map_err(|error| match error {
            TryAcquireError::Closed => Error::closed(),
            // Closing the client takes all permits, so a client without permits may be closed and not busy.
            TryAcquireError::NoPermits if self.link(|link| matches!(link, Link::Closed)) => Error::closed(),
            TryAcquireError::NoPermits => Error::busy(),
        })
    }

    /// Waits until `deadline` for a permit to send. Returns an error at once if the breaker of the shard is open.
    async fn acquire_permit(&self, shard: usize, deadline: Instant) -> Result<SemaphorePermit<'_>, Error> {
        self.breakers.lock(shard).check(Instant::now())?;
        match timeout_at(deadline, self.permits.acquire()).await {
            Ok(permit) => permit.map_err(|_| Error::closed()),
            Err(_) => Err(Error::busy()),
        }
    }

    /// Returns the connection and its number. Requests a connection and waits if none is open. Returns an error at once
    /// if the breaker of the shard is open.
    async fn connection(&self, shard: usize) -> Result<(Connection, u64), Error> {
        self.breakers.lock(shard).check(Instant::now())?;
        if let Some(connected) = self.link.borrow().connected()? {
            return Ok(connected);
        }
        let mut link = self.link.subscribe();
        self.request_connection();
        loop {
            self.breakers.lock(shard).check(Instant::now())?;
            if let Some(connected) = link.borrow_and_update().connected()? {
                return Ok(connected);
            }
            link.changed().await.map_err(|_| Error::closed())?;
        }
    }

    /// Makes the connection manager open a connection, if it has not opened one yet.
    pub(crate) fn request_connection(&self) {
        self.replace_link(|link| matches!(link, Link::Idle).then_some(Link::Connecting));
        self.work.notify_one();
    }

    /// Makes the connection manager replace the connection with the number `lost`, which broke.
    pub(crate) fn connection_lost(&self, lost: u64) {
        // The `redis` crate repairs the connections of a Cluster by itself.
        let is_current = !self.target.address.cluster
            && self.replace_link(|link| match link {
                Link::Connected { epoch, .. } if *epoch == lost => Some(Link::Connecting),
                _ => None,
            });
        if is_current {
            self.reporter.report(Event::Disconnected);
            self.work.notify_one();
        }
    }

    /// Starts using a new connection, and closes all breakers except those of the `unavailable` shards.
    pub(crate) fn connection_opened(&self, connection: Connection, epoch: u64, unavailable: &[(usize, Error)]) {
        self.subscriptions.reset();
        self.is_stale.store(false, Ordering::Relaxed);
        let mut connection = Some(connection);
        let is_open = self.replace_link(|link| match link {
            Link::Closed => None,
            _ => connection.take().map(|connection| Link::Connected { connection, epoch }),
        });
        if is_open {
            self.counts.connections.increment();
            self.reporter.report(Event::Connected);
            for (shard, error) in unavailable {
                let opened = self.breakers.lock(*shard).trip(Instant::now(), error);
                self.report_opened(usize::from(opened), error);
            }
            let is_available = |shard: &usize| unavailable.iter().all(|(unavailable, _)| unavailable != shard);
            self.close_breakers(self.breakers.all().filter(is_available));
        }
    }

    /// Opens all breakers, because the connection manager could not open a connection.
    pub(crate) fn connection_failed(&self, error: &Error) {
        let opened = self.breakers.trip_all(error);
        self.report_opened(opened, error);
        self.work.notify_one();
        self.replace_link(|link| (!matches!(link, Link::Closed)).then_some(Link::Connecting));
    }

    /// Closes the client, so that no further call is admitted and all subscriptions end.
    pub(crate) fn close(&self) {
        if self.replace_link(|link| (!matches!(link, Link::Closed)).then_some(Link::Closed)) {
            self.subscriptions.close();
            self.reporter.report(Event::Closed);
            self.work.notify_one();
        }
    }

    /// Waits until no call is in flight, for at most `call_timeout`, and then refuses further permits.
    pub(crate) async fn drain(&self) {
        let all = u32::try_from(self.target.max_in_flight).expect("the builder validates it");
        let _ = timeout_at(Instant::now() + self.target.call_timeout, self.permits.acquire_many(all)).await;
        self.permits.close();
    }

    /// Records the outcome of a call, which was sent, in the breaker of the call's shard.
    fn record_outcome(&self, shard: usize, error: Option<&Error>) {
        let Some(error) = error else { return self.breakers.lock(shard).record_success() };
        match error.kind() {
            ErrorKind::Timeout => {
                let is_new = self.breakers.lock(shard).record_timeout();
                if is_new {
                    self.work.notify_one();
                }
            }
            ErrorKind::Connection | ErrorKind::Protocol | ErrorKind::NotReady => {
                let opened = self.breakers.lock(shard).record_failure(Instant::now(), error);
                if opened {
                    self.report_opened(1, error);
                    self.work.notify_one();
                }
            }
            ErrorKind::Unavailable | ErrorKind::Closed => {}
            kind => {
                self.breakers.lock(shard).record_success();
                if kind == ErrorKind::ReadOnly && !self.is_stale.swap(true, Ordering::Relaxed) {
                    self.work.notify_one();
                }
            }
        }
    }

    /// Counts that `opened` breakers opened because of `error`. Reports an outage if no other breaker was open before.
    pub(crate) fn report_opened(&self, opened: usize, error: &Error) {
        if opened > 0 {
            self.counts.breaker_opened.increment();
            if self.breakers.open() == opened {
                self.reporter.report(Event::Unavailable(error.clone()));
            }
        }
    }

    /// Closes the breakers of the shards. Reports the recovery if that closed the last open breaker.
    pub(crate) fn close_breakers(&self, shards: impl Iterator<Item = usize>) {
        if self.breakers.close(shards) > 0 && self.breakers.open() == 0 {
            self.reporter.report(Event::Recovered);
        }
    }

    /// Calls `read` with the link while the link's lock is held, so `read` must not block or change the link.
    pub(crate) fn link<R>(&self, read: impl FnOnce(&Link) -> R) -> R {
        read(&self.link.borrow())
    }

    /// Returns the connection; `None` if no connection is open.
    pub(crate) fn current_connection(&self) -> Option<Connection> {
        self.link(|link| match link {
            Link::Connected { connection, .. } => Some(connection.clone()),
            _ => None,
        })
    }

    /// Replaces the link if `next` returns a new link. Drops the old link outside of the lock. Returns `true` if the
    /// link was replaced.
    fn replace_link(&self, next: impl FnOnce(&Link) -> Option<Link>) -> bool {
        let mut old = None;
        self.link.send_if_modified(|link| match next(link) {
            Some(next) => {
                old = Some(mem::replace(link, next));
                true
            }
            None => false,
        });
        old.is_some()
    }

    /// Returns a snapshot of the connection's state.
    pub(crate) fn health(&self) -> Health {
        let outage = self.breakers.cause();
        let state = self.link(|link| match link {
            Link::Closed => ConnectionState::Closed,
            _ if outage.is_some() => ConnectionState::Unavailable,
            Link::Idle => ConnectionState::Idle,
            Link::Connecting => ConnectionState::Connecting,
            Link::Connected { .. } => ConnectionState::Connected,
        });
        let in_flight = self.target.max_in_flight.saturating_sub(self.permits.available_permits());
        Health { state, outage, in_flight, channels: self.subscriptions.channels() }
    }

    /// Returns the current values of all counters.
    pub(crate) fn stats(&self) -> Stats {
        Stats {
            messages: self.subscriptions.messages.get(),
            notifications_dropped: self.subscriptions.dropped.get(),
            ..self.counts.snapshot()
        }
    }
}

impl Link {
    /// Returns the connection and its number; `None` if there is no connection yet.
    fn connected(&self) -> Result<Option<(Connection, u64)>, Error> {
        match self {
            Self::Connected { connection, epoch } => Ok(Some((connection.clone(), *epoch))),
            Self::Idle | Self::Connecting => Ok(None),
            Self::Closed => Err(Error::closed()),
        }
    }
}
