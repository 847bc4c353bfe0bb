//! Settings of a client, and the validation of these settings.

use std::{
    fmt,
    hash::{BuildHasher, Hasher, RandomState},
    sync::Arc,
    time::Duration,
};

use crate::{Error, ErrorKind, KeySpace, address::Address, breaker::BreakerConfig, connection::Target};

/// Builder of a [`Redis`](crate::Redis), returned by [`Redis::builder`](crate::Redis::builder).
///
/// Every setting has a default that suits a Redis in the same data centre. Nothing is validated before
/// [`spawn`](Self::spawn).
///
/// # Example
///
/// ```
/// use std::time::Duration;
///
/// use llm_redis::Redis;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), llm_redis::Error> {
/// let redis = Redis::builder("redis://127.0.0.1:6379")
///     .prefix("shop")
///     .call_timeout(Duration::from_millis(100))
///     .max_in_flight(256)
///     .spawn()?;
/// assert_eq!(redis.key_space().prefix(), "shop");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RedisBuilder {
    url: String,
    prefix: Option<String>,
    hash_secret: Option<Vec<u8>>,
    roots: Option<Arc<[u8]>>,
    instance: Arc<str>,
    call_timeout: Duration,
    connect_timeout: Duration,
    max_in_flight: usize,
    retries: u32,
    failure_threshold: u32,
    probe_timeout: Duration,
    probe_after: Duration,
    probe_every: Duration,
    max_channels: usize,
    channel_capacity: usize,
}

/// Settings of a [`RedisBuilder`] after validation.
pub(crate) struct Settings {
    pub(crate) target: Target,
    pub(crate) key_space: KeySpace,
    pub(crate) breaker: BreakerConfig,
    pub(crate) instance: Arc<str>,
    pub(crate) max_channels: usize,
    pub(crate) channel_capacity: usize,
}

impl RedisBuilder {
    pub(crate) fn new(url: String) -> Self {
        Self {
            url,
            prefix: None,
            hash_secret: None,
            roots: None,
            instance: "redis".into(),
            call_timeout: Duration::from_millis(50),
            connect_timeout: Duration::from_secs(1),
            max_in_flight: 1024,
            retries: 1,
            failure_threshold: 3,
            probe_timeout: Duration::from_secs(1),
            probe_after: Duration::from_millis(100),
            probe_every: Duration::from_secs(2),
            max_channels: 4096,
            channel_capacity: 64,
        }
    }

    /// Sets the first part of every key; `llm` by default.
    ///
    /// It may hold letters, digits, `-`, `_` and `.`. All processes of a fleet need the same prefix, and two fleets that
    /// share a server need different ones.
    ///
    /// ```
    /// use llm_redis::{ErrorKind, Redis};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let error = Redis::builder("redis://127.0.0.1").prefix("a:b").spawn().unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::InvalidSetting);
    /// # }
    /// ```
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = Some(prefix.into());
        self
    }

    /// Sets the secret that keys the hashes in key names.
    ///
    /// All processes of a fleet need the same secret. Without a secret, the prefix keys the hashes. Names then do not
    /// show the hashed text, but an attacker who knows the prefix can still confirm a guess of the text.
    pub fn hash_secret(mut self, secret: impl Into<Vec<u8>>) -> Self {
        self.hash_secret = Some(secret.into());
        self
    }

    /// Sets the trusted root certificates of TLS connections, in PEM. By default the system's certificates are trusted.
    pub fn root_certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.roots = Some(pem.into().into());
        self
    }

    /// Sets the label of this client in events, spans and metrics; `redis` by default.
    pub fn instance(mut self, label: impl Into<Arc<str>>) -> Self {
        self.instance = label.into();
        self
    }

    /// Sets the longest duration of a call; 50 ms by default.
    ///
    /// The duration includes the wait for a connection, the command, its response and its retries.
    /// [`Redis::run_with_timeout`](crate::Redis::run_with_timeout) sets another timeout for one call.
    pub fn call_timeout(mut self, timeout: Duration) -> Self {
        self.call_timeout = timeout;
        self
    }

    /// Sets the longest duration of opening a connection; 1 s by default.
    ///
    /// Connections are opened in the background, so a call never waits longer than its own timeout.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Sets the largest number of calls in flight; 1,024 by default.
    ///
    /// Above this number, [`Redis::run`](crate::Redis::run) fails at once with [`Busy`](ErrorKind::Busy), and
    /// [`Redis::run_with_timeout`](crate::Redis::run_with_timeout) waits for another call to complete.
    pub fn max_in_flight(mut self, calls: usize) -> Self {
        self.max_in_flight = calls;
        self
    }

    /// Sets the number of times that a command is sent again after its connection broke; 1 by default.
    ///
    /// Commands with [`no_retry`](crate::Command::no_retry) are never sent again. After a timeout, no command is sent
    /// again.
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// Sets the number of consecutive failed calls that open the breaker; 3 by default.
    ///
    /// Timeouts do not count; see [`probe_timeout`](Self::probe_timeout). If a connection cannot be opened, the breaker
    /// opens at once.
    pub fn failure_threshold(mut self, failures: u32) -> Self {
        self.failure_threshold = failures;
        self
    }

    /// Sets the timeout of a probe; 1 s by default.
    ///
    /// After a call timed out, the connection manager probes the server, and opens the breaker if no reply arrives in
    /// this time. A server that replies in time is therefore never treated as unavailable, however short the timeouts
    /// of calls are. Probes of an open breaker have the same timeout.
    pub fn probe_timeout(mut self, timeout: Duration) -> Self {
        self.probe_timeout = timeout;
        self
    }

    /// Sets the pause before the first probe of an open breaker, and the longest pause; 100 ms and 2 s by default.
    ///
    /// The pauses double from the first to the longest. Each process shortens its pauses by up to a half at random, so
    /// that the processes of a fleet do not probe at the same time.
    pub fn probe_backoff(mut self, first: Duration, longest: Duration) -> Self {
        (self.probe_after, self.probe_every) = (first, longest);
        self
    }

    /// Sets the largest number of channels with a [`Subscription`](crate::Subscription); 4,096 by default.
    pub fn max_channels(mut self, channels: usize) -> Self {
        self.max_channels = channels;
        self
    }

    /// Sets the number of notifications that a [`Subscription`](crate::Subscription) buffers; 64 by default.
    /// Notifications that do not fit are dropped and replaced by one [`Recheck`](crate::Notification::Recheck).
    pub fn channel_capacity(mut self, notifications: usize) -> Self {
        self.channel_capacity = notifications;
        self
    }

    /// Validates the settings.
    pub(crate) fn validate(self) -> Result<Settings, Error> {
        let address = Address::parse(&self.url)?;
        self.check(&address)?;
        let key_space = KeySpace::new(self.prefix.as_deref(), self.hash_secret.as_deref())?;
        let target = Target {
            address,
            roots: self.roots,
            connect_timeout: self.connect_timeout.min(LONGEST),
            call_timeout: self.call_timeout.min(LONGEST),
            probe_timeout: self.probe_timeout.min(LONGEST),
            max_in_flight: self.max_in_flight,
            retries: self.retries,
        };
        let breaker = BreakerConfig {
            failure_threshold: self.failure_threshold,
            first_pause: self.probe_after.min(LONGEST),
            max_pause: self.probe_every.max(self.probe_after).min(LONGEST),
            jitter: RandomState::new().build_hasher().finish().to_le_bytes()[0],
        };
        let Self { instance, max_channels, channel_capacity, .. } = self;
        Ok(Settings { target, key_space, breaker, instance, max_channels, channel_capacity })
    }

    fn check(&self, address: &Address) -> Result<(), Error> {
        let times = [self.call_timeout, self.connect_timeout, self.probe_timeout, self.probe_after];
        if times.iter().any(Duration::is_zero) {
            return Err(invalid("timeouts and pauses must be longer than zero"));
        }
        let max = 1 << 20;
        let sizes = [self.max_in_flight, self.max_channels, self.channel_capacity];
        if sizes.iter().any(|size| *size == 0 || *size > max) {
            return Err(invalid("max_in_flight, max_channels and channel_capacity must be from 1 to 1,048,576"));
        }
        if self.failure_threshold == 0 {
            return Err(invalid("failure_threshold must be at least 1"));
        }
        if self.roots.is_some() && !address.tls {
            return Err(invalid("root certificates need a rediss:// or rediss+cluster:// URL"));
        }
        Ok(())
    }
}

/// Shows only the label of the client, because the URL and the hash secret are confidential.
impl fmt::Debug for RedisBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBuilder").field("instance", &self.instance).finish_non_exhaustive()
    }
}

/// Longest timeout or pause. A longer value is reduced to this one, because the sum of an instant and a very long
/// duration overflows.
pub(crate) const LONGEST: Duration = Duration::from_secs(365 * 86_400);

fn invalid(message: &str) -> Error {
    Error::new(ErrorKind::InvalidSetting, message)
}
