//! Client of a Redis server or Cluster.

use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures_util::future::join_all;
use tokio::{runtime, task::AbortHandle};

use crate::{
    Command, ConnectionState, Error, Events, Health, Key, KeySpace, RedisBuilder, Request, Stats, Subscription, Value,
    connection_manager, inner::Inner, round_trip::Pipeline,
};

/// Client of a single Redis server or of a Redis Cluster.
///
/// Clones are cheap. They share the connection, the breaker and the subscriptions. Dropping the last clone closes the
/// connection.
///
/// # Example
///
/// ```no_run
/// use llm_redis::{Command, Redis};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), llm_redis::Error> {
/// let redis = Redis::builder("redis://127.0.0.1:6379").prefix("shop").spawn()?;
/// let key = redis.key_space().tag("settings").key("theme");
/// redis.run(Command::set(&key, "dark")).await?;
/// assert_eq!(redis.run(Command::get(&key)).await?.into_bytes()?.unwrap(), "dark");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Redis(Arc<Handle>);

struct Handle {
    inner: Arc<Inner>,
    manager: AbortHandle,
}

impl RedisBuilder {
    /// Validates the settings, creates the client and spawns its connection manager on the current runtime.
    ///
    /// The client connects when a call or a subscription first needs a connection. The connection manager ends when the
    /// last clone is dropped or the client is closed.
    ///
    /// # Errors
    ///
    /// - [`InvalidUrl`](crate::ErrorKind::InvalidUrl) names the part of the URL that is wrong, or the feature that it
    ///   needs.
    /// - [`InvalidSetting`](crate::ErrorKind::InvalidSetting) names another setting that is invalid, or says that there
    ///   is no tokio runtime.
    ///
    /// ```
    /// use llm_redis::{ErrorKind, Redis};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let error = Redis::builder("redis://localhost:seven").spawn().unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::InvalidUrl);
    /// # }
    /// ```
    pub fn spawn(self) -> Result<Redis, Error> {
        let settings = self.validate()?;
        let runtime = runtime::Handle::try_current().map_err(|_| {
            Error::setting("there is no tokio runtime for the connection; spawn the client inside of a runtime")
        })?;
        let inner = Arc::new(Inner::new(settings));
        let manager = runtime.spawn(connection_manager::run(Arc::clone(&inner))).abort_handle();
        Ok(Redis(Arc::new(Handle { inner, manager })))
    }
}

impl Redis {
    /// Creates a builder for a URL.
    ///
    /// The forms are `redis://[[user]:password@]host[:port][/db]`, `rediss://…` for TLS, and
    /// `redis+cluster://…host1:port,host2:port` and `rediss+cluster://…` for a Cluster. Special characters in user and
    /// password are percent-encoded. [`RedisBuilder::spawn`] validates the URL.
    pub fn builder(url: impl Into<String>) -> RedisBuilder {
        RedisBuilder::new(url.into())
    }

    /// Sends a command or a script call, and returns its response.
    ///
    /// The call takes at most [`RedisBuilder::call_timeout`], including the wait for a connection.
    ///
    /// # Errors
    ///
    /// [`ErrorKind`](crate::ErrorKind) lists the errors. While the breaker is open, the call fails at once with
    /// [`Unavailable`](crate::ErrorKind::Unavailable).
    ///
    /// ```
    /// use llm_redis::{Command, Redis};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), llm_redis::Error> {
    /// // No server listens on this port.
    /// let redis = Redis::builder("redis://127.0.0.1:1").spawn()?;
    /// let key = redis.key_space().tag("settings").key("theme");
    /// let theme = match redis.run(Command::get(&key)).await {
    ///     Ok(value) => value.into_bytes()?,
    ///     Err(error) if error.is_outage() => None,
    ///     Err(error) => return Err(error),
    /// };
    /// assert_eq!(theme, None);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn run(&self, request: impl Into<Request>) -> Result<Value, Error> {
        let request = request.into();
        self.0.inner.call(&request, None).await
    }

    /// Sends a command or a script call with a timeout of its own, instead of [`RedisBuilder::call_timeout`].
    ///
    /// Use it for calls that may take longer. If [`RedisBuilder::max_in_flight`] calls are in flight, the call waits
    /// within its timeout instead of failing at once.
    ///
    /// # Errors
    ///
    /// The errors of [`run`](Self::run). While the breaker is open, the call fails at once.
    ///
    /// ```
    /// # async fn example(redis: &llm_redis::Redis) -> Result<(), llm_redis::Error> {
    /// use std::time::Duration;
    ///
    /// use llm_redis::Command;
    ///
    /// let key = redis.key_space().tag("orders").key("journal");
    /// let append = Command::new("RPUSH", &key).arg("order 7").no_retry();
    /// let length = redis.run_with_timeout(Duration::from_secs(2), append).await?.into_int()?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn run_with_timeout(&self, timeout: Duration, request: impl Into<Request>) -> Result<Value, Error> {
        let request = request.into();
        self.0.inner.call(&request, Some(timeout)).await
    }

    /// Sends commands in one round trip to each server, and returns the responses in the order of the commands.
    ///
    /// A pipeline is not a transaction. On a single server, it counts as one call in flight. In a Cluster, each command
    /// counts as a call.
    ///
    /// # Errors
    ///
    /// Each command has its own result. If a round trip fails, the result of each command in it is the error of the
    /// round trip.
    ///
    /// ```
    /// # async fn example(redis: &llm_redis::Redis) -> Result<(), llm_redis::Error> {
    /// use llm_redis::Command;
    ///
    /// let tag = redis.key_space().tag("settings");
    /// let keys = [tag.key("theme"), tag.key("language")];
    /// for response in redis.run_pipeline(keys.iter().map(Command::get).collect()).await {
    ///     println!("{:?}", response?.into_bytes()?);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn run_pipeline(&self, commands: Vec<Command>) -> Vec<Result<Value, Error>> {
        if self.is_cluster() {
            return join_all(commands.into_iter().map(|command| self.run(command))).await;
        }
        let pipeline = Pipeline::new(commands);
        match self.0.inner.call(&pipeline, None).await {
            Ok(responses) => responses,
            Err(error) => vec![Err(error); pipeline.len()],
        }
    }

    /// Subscribes to a channel, without waiting for the server.
    ///
    /// The first [`Notification`](crate::Notification) confirms the subscription. Messages that are published
    /// afterwards arrive.
    ///
    /// # Errors
    ///
    /// [`Busy`](crate::ErrorKind::Busy) if [`RedisBuilder::max_channels`] other channels are subscribed already, and
    /// [`Closed`](crate::ErrorKind::Closed) if the client was closed.
    pub fn subscribe(&self, channel: &Key) -> Result<Subscription, Error> {
        let inner = &self.0.inner;
        if inner.health().state == ConnectionState::Closed {
            return Err(Error::closed());
        }
        let subscription = inner.subscriptions.register(channel)?;
        inner.request_connection();
        Ok(subscription)
    }

    /// Returns the server's time, plus the offset of [`set_clock_offset`](Self::set_clock_offset).
    ///
    /// # Errors
    ///
    /// The errors of [`run`](Self::run).
    pub async fn time(&self) -> Result<SystemTime, Error> {
        let unexpected = || Error::unexpected("seconds and microseconds", "something else");
        let reply = self.run(Command::without_key("TIME")).await?.into_list()?;
        let [seconds, micros] = <[Value; 2]>::try_from(reply).map_err(|_| unexpected())?;
        let micros = seconds.into_int()?.checked_mul(1_000_000).and_then(|s| s.checked_add(micros.into_int().ok()?));
        let offset = self.0.inner.clock_offset_micros.load(Ordering::Relaxed);
        let micros = micros.and_then(|micros| micros.checked_add(offset)).ok_or_else(unexpected)?;
        let since_epoch = u64::try_from(micros).map_err(|_| unexpected())?;
        Ok(UNIX_EPOCH + Duration::from_micros(since_epoch))
    }

    /// Sets the offset, in microseconds, that scripts and [`time`](Self::time) add to the server's time, for tests.
    ///
    /// The offset replaces an earlier one and applies to all clones. The server still expires keys by its own clock.
    pub fn set_clock_offset(&self, micros: i64) {
        self.0.inner.clock_offset_micros.store(micros, Ordering::Relaxed);
    }

    /// Returns the key space, which creates the names of keys and channels.
    pub fn key_space(&self) -> &KeySpace {
        &self.0.inner.key_space
    }

    /// Returns a snapshot of the connection's state, without a request to the server.
    pub fn health(&self) -> Health {
        self.0.inner.health()
    }

    /// Returns the counters of this client and its clones.
    pub fn stats(&self) -> Stats {
        self.0.inner.stats()
    }

    /// Returns a receiver of all further events of the connection.
    ///
    /// The client does not wait for readers, so a slow reader misses the oldest events.
    pub fn events(&self) -> Events {
        self.0.inner.reporter.subscribe()
    }

    /// Closes the client and all of its clones.
    ///
    /// Refuses further calls, ends all subscriptions, and waits for calls in flight for at most
    /// [`RedisBuilder::call_timeout`]. Closing twice has no effect.
    ///
    /// ```
    /// use llm_redis::{ErrorKind, Redis};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), llm_redis::Error> {
    /// let redis = Redis::builder("redis://127.0.0.1").spawn()?;
    /// redis.close().await;
    /// assert_eq!(redis.time().await.unwrap_err().kind(), ErrorKind::Closed);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn close(&self) {
        self.0.inner.close();
        self.0.inner.drain().await;
        self.0.manager.abort();
    }

    /// Returns `true` if the URL names a Cluster.
    pub fn is_cluster(&self) -> bool {
        self.0.inner.target.address.cluster
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.inner.close();
        self.manager.abort();
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &self.0.inner;
        let state = inner.health().state;
        f.debug_struct("Redis").field("address", &inner.target.address.to_string()).field("state", &state).finish()
    }
}
