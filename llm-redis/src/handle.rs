use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures_util::future::join_all;
use redis::{RedisResult, ServerErrorKind};
use tokio::task::AbortHandle;

use crate::{
    Command, Error, Events, Health, Key, KeySpace, RedisBuilder, Request, Stats, Subscription, Value,
    command::Kind,
    connection::Connection,
    shared::{Job, Shared},
    translate,
};

/// A handle on one Redis: a server, or a Cluster. Clones share its connection, breaker and subscriptions; when the last
/// clone goes, the connection closes.
#[derive(Clone)]
pub struct Redis(Arc<Handle>);

struct Handle {
    shared: Arc<Shared>,
    keeper: AbortHandle,
}

impl Redis {
    /// Begins a handle; nothing is connected, and nothing of the URL is looked at, before [`RedisBuilder::spawn`].
    ///
    /// URLs: `redis://[[user]:password@]host[:port][/db]`, `rediss://…` for TLS, `redis+cluster://…host1:port,host2:port`
    /// and `rediss+cluster://…` for a Cluster. Special characters in user and password are percent-encoded.
    pub fn builder(url: impl Into<String>) -> RedisBuilder {
        RedisBuilder::new(url.into())
    }

    /// Runs a command or a script, within [`RedisBuilder::call_timeout`], the wait for a connection included.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`](crate::ErrorKind). While the breaker is open, it fails at once.
    pub async fn run(&self, request: impl Into<Request>) -> Result<Value, Error> {
        let request = request.into();
        self.0.shared.call(&request, None).await
    }

    /// Runs a command or a script within a bound of its own, instead of [`RedisBuilder::call_timeout`].
    ///
    /// It is for what may take its time: within the bound it also waits for room while
    /// [`RedisBuilder::max_in_flight`] commands are in flight.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run). While the breaker is open, it fails at once.
    pub async fn run_with_timeout(&self, bound: Duration, request: impl Into<Request>) -> Result<Value, Error> {
        let request = request.into();
        self.0.shared.call(&request, Some(bound)).await
    }

    /// Runs commands together, in one round trip to each server, not as a transaction; their replies in their order.
    ///
    /// On a single server the batch counts as one of those in flight, in a Cluster each command does.
    ///
    /// # Errors
    ///
    /// Each command's own; what befalls the batch befalls each.
    pub async fn run_pipeline(&self, commands: Vec<Command>) -> Vec<Result<Value, Error>> {
        if self.0.shared.target.address.cluster {
            return join_all(commands.into_iter().map(|command| self.run(command))).await;
        }
        let batch = Batch::new(commands);
        match self.0.shared.call(&batch, None).await {
            Ok(replies) => replies,
            Err(error) => vec![Err(error); batch.names.len()],
        }
    }

    /// Listens to a channel. It returns at once; the first [`Notification`](crate::Notification) says that messages arrive from now on.
    ///
    /// # Errors
    ///
    /// If too many channels are subscribed already, or the handle was closed.
    pub fn subscribe(&self, channel: &Key) -> Result<Subscription, Error> {
        let shared = &self.0.shared;
        if shared.health().state == crate::ConnectionState::Closed {
            return Err(Error::closed());
        }
        let subscription = shared.board.join(channel)?;
        shared.want();
        Ok(subscription)
    }

    /// The server's time, with the offset of [`Redis::set_clock_offset`].
    ///
    /// # Errors
    ///
    /// As [`Redis::run`].
    pub async fn time(&self) -> Result<SystemTime, Error> {
        let wrong = || Error::unexpected("seconds and microseconds", "something else");
        let reply = self.run(Command::bare("TIME")).await?.into_list()?;
        let [seconds, micros] = <[Value; 2]>::try_from(reply).map_err(|_| wrong())?;
        let micros = seconds.into_int()?.checked_mul(1_000_000).and_then(|s| s.checked_add(micros.into_int().ok()?));
        let micros = micros.and_then(|micros| micros.checked_add(self.offset_micros())).ok_or_else(wrong)?;
        let since = u64::try_from(micros).map_err(|_| wrong())?;
        Ok(UNIX_EPOCH + Duration::from_micros(since))
    }

    /// Shifts the time that scripts and [`Redis::time`] see through this handle and its clones, for tests: by this many
    /// microseconds in all, forward or back. What the server expires by itself, it expires by its own time.
    pub fn set_clock_offset(&self, micros: i64) {
        self.0.shared.offset_micros.store(micros, Ordering::Relaxed);
    }

    /// Makes names of keys and channels.
    pub fn key_space(&self) -> &KeySpace {
        &self.0.shared.names
    }

    /// How the connection is. It asks nobody.
    pub fn health(&self) -> Health {
        self.0.shared.health()
    }

    /// What has happened so far.
    pub fn stats(&self) -> Stats {
        self.0.shared.stats()
    }

    /// What happens from now on. Nothing waits for readers; a slow one misses the oldest.
    pub fn events(&self) -> Events {
        self.0.shared.teller.listen()
    }

    /// Lets no more calls in, waits for those in flight, at most a call's time-out, and ends all subscriptions. For all
    /// clones. Once is enough; twice does no harm.
    pub async fn close(&self) {
        self.0.shared.close();
        self.0.shared.drained().await;
        self.0.keeper.abort();
    }

    pub(crate) fn new(shared: Arc<Shared>, keeper: AbortHandle) -> Self {
        Self(Arc::new(Handle { shared, keeper }))
    }

    pub(crate) fn is_cluster(&self) -> bool {
        self.0.shared.target.address.cluster
    }

    fn offset_micros(&self) -> i64 {
        self.0.shared.offset_micros.load(Ordering::Relaxed)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.close();
        self.keeper.abort();
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shared = &self.0.shared;
        let state = shared.health().state;
        f.debug_struct("Redis").field("address", &shared.target.address.to_string()).field("state", &state).finish()
    }
}

impl Job for Request {
    type Reply = Value;

    fn name(&self) -> &'static str {
        match &self.0 {
            Kind::Command(command) => command.name,
            Kind::Script(_) => "script",
        }
    }

    fn slot(&self) -> Result<Option<u16>, Error> {
        self.slot()
    }

    fn is_repeatable(&self) -> bool {
        self.is_repeatable()
    }

    async fn send(&self, connection: &mut Connection, shared: &Shared) -> Result<Value, Error> {
        let slot = self.slot()?;
        let reply = match &self.0 {
            Kind::Command(command) => plain(connection.send(&command.wire, slot).await),
            Kind::Script(call) => {
                let offset = shared.offset_micros.load(Ordering::Relaxed);
                match plain(connection.send(&call.wire(false, offset), slot).await) {
                    Err(error) if error.kind() == ServerErrorKind::NoScript.into() => {
                        shared.counts.scripts_sent.one_more();
                        plain(connection.send(&call.wire(true, offset), slot).await)
                    }
                    reply => reply,
                }
            }
        };
        shared.read(reply, Job::name(self))
    }
}

/// Commands that go out together.
struct Batch {
    wire: redis::Pipeline,
    names: Vec<&'static str>,
    repeatable: bool,
}

impl Batch {
    fn new(commands: Vec<Command>) -> Self {
        let mut wire = redis::Pipeline::with_capacity(commands.len());
        let names = commands.iter().map(|command| command.name).collect();
        let repeatable = commands.iter().all(|command| command.repeatable);
        for command in commands {
            wire.add_command(command.wire);
        }
        Self { wire, names, repeatable }
    }
}

impl Job for Batch {
    type Reply = Vec<Result<Value, Error>>;

    fn name(&self) -> &'static str {
        "batch"
    }

    fn slot(&self) -> Result<Option<u16>, Error> {
        Ok(None)
    }

    fn is_repeatable(&self) -> bool {
        self.repeatable
    }

    async fn send(&self, connection: &mut Connection, shared: &Shared) -> Result<Self::Reply, Error> {
        if self.names.is_empty() {
            return Ok(Vec::new());
        }
        let replies = connection.send_all(&self.wire).await;
        let replies = replies.map_err(|error| translate::of_answer(&error, self.name(), &shared.target.address))?;
        Ok(replies.into_iter().zip(&self.names).map(|(reply, name)| shared.read(plain(Ok(reply)), name)).collect())
    }
}

impl Shared {
    fn read(&self, reply: RedisResult<redis::Value>, command: &'static str) -> Result<Value, Error> {
        let reply = reply.map_err(|error| translate::of_answer(&error, command, &self.target.address))?;
        Value::of(reply).ok_or_else(|| Error::unexpected("a value", "of an unknown kind"))
    }
}

/// The server's errors come as replies.
fn plain(reply: RedisResult<redis::Value>) -> RedisResult<redis::Value> {
    match reply? {
        redis::Value::ServerError(error) => Err(error.into()),
        reply => Ok(reply),
    }
}
