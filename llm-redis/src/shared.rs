//! What all clones of a handle and its keeper share, and the way of a call through it.

use std::{
    future::Future,
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
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
    breaker::{Breaker, Rules},
    connection::{Connection, Target},
    counts::Counts,
    event::Teller,
    meter,
    wake::Board,
};

/// A Cluster has a breaker for each of so many equal ranges of slots: one node may be away alone.
pub(crate) const CLUSTER_LANES: u16 = 16;
/// Slots of a Cluster, for each of its lanes.
pub(crate) const SLOTS_PER_LANE: u16 = 16_384 / CLUSTER_LANES;

pub(crate) struct Shared {
    pub(crate) target: Target,
    pub(crate) names: KeySpace,
    pub(crate) counts: Counts,
    pub(crate) teller: Teller,
    pub(crate) board: Arc<Board>,
    pub(crate) offset_micros: AtomicI64,
    /// Wakes the keeper.
    pub(crate) work: Arc<Notify>,
    /// A replica answered a write: the primary is somewhere else by now.
    pub(crate) stale: AtomicBool,
    /// The number of the newest connection.
    pub(crate) epoch: AtomicU64,
    link: watch::Sender<Link>,
    lanes: Box<[Mutex<Breaker>]>,
    permits: Semaphore,
}

/// The connection as it is now.
pub(crate) enum Link {
    Idle,
    Connecting,
    Up { connection: Connection, epoch: u64 },
    Closed,
}

/// Something to send: a request, or a batch.
pub(crate) trait Job: Sync {
    type Reply: Send;

    fn name(&self) -> &'static str;
    fn slot(&self) -> Result<Option<u16>, Error>;
    fn is_repeatable(&self) -> bool;
    fn send(
        &self,
        connection: &mut Connection,
        shared: &Shared,
    ) -> impl Future<Output = Result<Self::Reply, Error>> + Send;
}

impl Shared {
    pub(crate) fn new(
        target: Target,
        names: KeySpace,
        teller: Teller,
        board: (Arc<Board>, Arc<Notify>),
        rules: Rules,
    ) -> Self {
        let lanes = if target.address.cluster { CLUSTER_LANES } else { 1 };
        Self {
            permits: Semaphore::new(target.max_in_flight),
            target,
            names,
            counts: Counts::default(),
            teller,
            board: board.0,
            offset_micros: AtomicI64::new(0),
            work: board.1,
            stale: AtomicBool::new(false),
            epoch: AtomicU64::new(0),
            link: watch::Sender::new(Link::Idle),
            lanes: (0..lanes).map(|_| Mutex::new(Breaker::new(rules))).collect(),
        }
    }

    /// Sends a job and waits for its reply, never longer than the call's time-out, or than a bound that it has of its own.
    pub(crate) async fn call<J: Job>(&self, job: &J, bound: Option<Duration>) -> Result<J::Reply, Error> {
        let result = self.bounded(job, bound).await;
        self.counts.call(&result);
        meter::call(&self.teller.instance, meter::outcome(&result));
        result
    }

    async fn bounded<J: Job>(&self, job: &J, bound: Option<Duration>) -> Result<J::Reply, Error> {
        let lane = job.slot()?.map_or(0, |slot| usize::from(slot / SLOTS_PER_LANE) % self.lanes.len());
        let deadline = Instant::now() + bound.unwrap_or(self.target.call_timeout);
        let _permit = match bound {
            None => self.enter()?,
            Some(_) => self.wait_for_room(lane, deadline).await?,
        };
        let mut sent = false;
        let result = match timeout_at(deadline, self.attempts(job, lane, &mut sent)).await {
            Ok(result) => result,
            Err(_) if sent => Err(Error::sent(ErrorKind::Timeout, format!("{}: no answer in time", job.name()))),
            // The server may be there: whether it can be reached is the keeper's to find out.
            Err(_) => Err(Error::new(ErrorKind::Timeout, format!("{}: no connection in time", self.target.address))),
        };
        if sent {
            self.judge(lane, result.as_ref().err());
        }
        result
    }

    async fn attempts<J: Job>(&self, job: &J, lane: usize, sent: &mut bool) -> Result<J::Reply, Error> {
        let mut broke = None;
        for _ in 0..=self.target.retries {
            let (mut connection, epoch) = match self.connection(lane).await {
                Ok(up) => up,
                Err(error) => return Err(broke.unwrap_or(error)),
            };
            if broke.is_some() {
                self.counts.repeated.one_more();
            }
            *sent = true;
            match job.send(&mut connection, self).await {
                Err(error) if matches!(error.kind(), ErrorKind::Connection | ErrorKind::Protocol) => {
                    self.lost(epoch);
                    if !job.is_repeatable() {
                        return Err(error);
                    }
                    broke = Some(error);
                }
                other => return other,
            }
        }
        Err(broke.expect("every other way out returns"))
    }

    fn enter(&self) -> Result<SemaphorePermit<'_>, Error> {
        self.permits.try_acquire().map_err(|error| match error {
            TryAcquireError::Closed => Error::closed(),
            // Whoever closes takes all that are left.
            TryAcquireError::NoPermits if self.link(|link| matches!(link, Link::Closed)) => Error::closed(),
            TryAcquireError::NoPermits => Error::busy(),
        })
    }

    /// As [`enter`](Self::enter), but waits while too many commands are in flight.
    async fn wait_for_room(&self, lane: usize, deadline: Instant) -> Result<SemaphorePermit<'_>, Error> {
        self.lane(lane).check(Instant::now())?;
        match timeout_at(deadline, self.permits.acquire()).await {
            Ok(permit) => permit.map_err(|_| Error::closed()),
            Err(_) => Err(Error::busy()),
        }
    }

    /// The connection, waiting for it while it is being opened.
    async fn connection(&self, lane: usize) -> Result<(Connection, u64), Error> {
        self.lane(lane).check(Instant::now())?;
        if let Some(up) = self.link.borrow().up()? {
            return Ok(up);
        }
        let mut link = self.link.subscribe();
        self.want();
        loop {
            self.lane(lane).check(Instant::now())?;
            if let Some(up) = link.borrow_and_update().up()? {
                return Ok(up);
            }
            link.changed().await.map_err(|_| Error::closed())?;
        }
    }

    /// Somebody needs a connection.
    pub(crate) fn want(&self) {
        self.relink(|link| matches!(link, Link::Idle).then_some(Link::Connecting));
        self.work.notify_one();
    }

    /// A connection broke.
    pub(crate) fn lost(&self, lost: u64) {
        // A Cluster's connection mends itself.
        let broke = !self.target.address.cluster
            && self.relink(|link| match link {
                Link::Up { epoch, .. } if *epoch == lost => Some(Link::Connecting),
                _ => None,
            });
        if broke {
            self.teller.tell(Event::Disconnected);
            self.work.notify_one();
        }
    }

    /// A connection was opened: it is the one to use, and nothing stands against it.
    pub(crate) fn up(&self, connection: Connection, epoch: u64) {
        self.board.forget();
        self.stale.store(false, Ordering::Relaxed);
        let mut connection = Some(connection);
        let is_up = self.relink(|link| match link {
            Link::Closed => None,
            _ => connection.take().map(|connection| Link::Up { connection, epoch }),
        });
        if is_up {
            self.counts.connected.one_more();
            self.teller.tell(Event::Connected);
            self.back(0..self.lanes.len());
        }
    }

    /// No connection could be opened.
    pub(crate) fn away(&self, error: &Error) {
        self.trip(error);
        self.relink(|link| (!matches!(link, Link::Closed)).then_some(Link::Connecting));
    }

    pub(crate) fn close(&self) -> bool {
        let closed = self.relink(|link| (!matches!(link, Link::Closed)).then_some(Link::Closed));
        if closed {
            self.board.close();
            self.teller.tell(Event::Closed);
            self.work.notify_one();
        }
        closed
    }

    /// Waits until no command is in flight, and lets no other in. None takes longer than the call's time-out.
    pub(crate) async fn drained(&self) {
        let all = u32::try_from(self.target.max_in_flight).expect("checked by the builder");
        let _ = timeout_at(Instant::now() + self.target.call_timeout, self.permits.acquire_many(all)).await;
        self.permits.close();
    }

    /// The server is away as a whole.
    fn trip(&self, error: &Error) {
        let now = Instant::now();
        let lanes = 0..self.lanes.len();
        let opened = lanes.filter(|lane| self.lane(*lane).trip(now, error)).count();
        self.opened(opened, error);
        self.work.notify_one();
    }

    /// What a call's end says about the server.
    pub(crate) fn judge(&self, lane: usize, error: Option<&Error>) {
        let Some(error) = error else { return self.lane(lane).succeeded() };
        match error.kind() {
            ErrorKind::Timeout => {
                let is_new = self.lane(lane).timed_out();
                if is_new {
                    self.work.notify_one();
                }
            }
            ErrorKind::Connection | ErrorKind::Protocol | ErrorKind::NotReady => {
                let opened = self.lane(lane).failed(Instant::now(), error);
                if opened {
                    self.opened(1, error);
                    self.work.notify_one();
                }
            }
            ErrorKind::Unavailable | ErrorKind::Closed => {}
            kind => {
                self.lane(lane).succeeded();
                if kind == ErrorKind::ReadOnly && !self.stale.swap(true, Ordering::Relaxed) {
                    self.work.notify_one();
                }
            }
        }
    }

    /// Tells of breakers that opened, the first time only while any is.
    pub(crate) fn opened(&self, lanes: usize, error: &Error) {
        if lanes > 0 {
            self.counts.opened.one_more();
            if self.open_lanes() == lanes {
                self.teller.tell(Event::Unavailable(error.clone()));
            }
        }
    }

    /// Closes breakers, and tells so when none is open any more.
    pub(crate) fn back(&self, lanes: impl Iterator<Item = usize>) {
        let closed = lanes.filter(|lane| self.lane(*lane).close()).count();
        if closed > 0 && self.open_lanes() == 0 {
            self.teller.tell(Event::Recovered);
        }
    }

    pub(crate) fn lanes(&self) -> usize {
        self.lanes.len()
    }

    pub(crate) fn lane(&self, lane: usize) -> MutexGuard<'_, Breaker> {
        self.lanes[lane].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open_lanes(&self) -> usize {
        (0..self.lanes.len()).filter(|lane| self.lane(*lane).cause().is_some()).count()
    }

    /// The link, looked at under its lock: nothing else may run there.
    pub(crate) fn link<R>(&self, look: impl FnOnce(&Link) -> R) -> R {
        look(&self.link.borrow())
    }

    /// Replaces the link, if there is something to replace it by; the old one is dropped outside the lock.
    fn relink(&self, next: impl FnOnce(&Link) -> Option<Link>) -> bool {
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

    pub(crate) fn health(&self) -> Health {
        let outage = (0..self.lanes.len()).find_map(|lane| self.lane(lane).cause().cloned());
        let state = self.link(|link| match link {
            Link::Closed => ConnectionState::Closed,
            _ if outage.is_some() => ConnectionState::Unavailable,
            Link::Idle => ConnectionState::Idle,
            Link::Connecting => ConnectionState::Connecting,
            Link::Up { .. } => ConnectionState::Connected,
        });
        let in_flight = self.target.max_in_flight.saturating_sub(self.permits.available_permits());
        Health { state, outage, in_flight, channels: self.board.channels() }
    }

    pub(crate) fn stats(&self) -> Stats {
        Stats {
            messages: self.board.messages.load(Ordering::Relaxed),
            notifications_dropped: self.board.dropped.load(Ordering::Relaxed),
            ..self.counts.read()
        }
    }
}

impl Link {
    /// The connection to use, if there is one yet.
    fn up(&self) -> Result<Option<(Connection, u64)>, Error> {
        match self {
            Self::Up { connection, epoch } => Ok(Some((connection.clone(), *epoch))),
            Self::Idle | Self::Connecting => Ok(None),
            Self::Closed => Err(Error::closed()),
        }
    }
}
