use std::{
    fmt,
    hash::{BuildHasher, Hasher, RandomState},
    sync::Arc,
    time::Duration,
};

use tokio::{runtime, sync::Notify};

use crate::{
    Error, ErrorKind, KeySpace, Redis, address::Address, breaker::Rules, connection::Target, event::Teller, keeper,
    shared::Shared, wake::Board,
};

/// Settings of a [`Redis`]. All have defaults that suit a Redis in the same data centre.
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

    /// What all names of keys begin with; `llm` by default. Letters, digits, `-`, `_` and `.`.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = Some(prefix.into());
        self
    }

    /// The secret behind hashed names, the same in the whole fleet. Without one they are hashed with the prefix, which
    /// hides what they are made of from a glance, and not from guesses.
    pub fn hash_secret(mut self, secret: impl Into<Vec<u8>>) -> Self {
        self.hash_secret = Some(secret.into());
        self
    }

    /// The certificates in PEM that a server's certificate must lead to, instead of those of the system.
    pub fn root_certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.roots = Some(pem.into().into());
        self
    }

    /// What this handle is called in events, spans and metrics; `redis` by default.
    pub fn instance(mut self, label: impl Into<Arc<str>>) -> Self {
        self.instance = label.into();
        self
    }

    /// The longest that a call takes, all in all; 50 ms by default. A call that may take another time is made by
    /// [`Redis::run_with_timeout`].
    pub fn call_timeout(mut self, timeout: Duration) -> Self {
        self.call_timeout = timeout;
        self
    }

    /// The longest that opening a connection takes; 1 s by default. No call waits for it longer than its own time-out.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How many commands may be in flight; one more fails at once, or waits for room within the bound of
    /// [`Redis::run_with_timeout`]. 1,024 by default.
    pub fn max_in_flight(mut self, commands: usize) -> Self {
        self.max_in_flight = commands;
        self
    }

    /// How often a command is sent again when the connection breaks under it; once by default.
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// How many calls in a row must fail to open the breaker; 3 by default. A connection that cannot be opened opens it at
    /// once. A call that runs out of time is no such failure: see [`probe_timeout`](Self::probe_timeout).
    pub fn failure_threshold(mut self, failures: u32) -> Self {
        self.failure_threshold = failures;
        self
    }

    /// How long the server must be silent to open the breaker; 1 s by default. After a call that ran out of time, the
    /// connection's keeper asks the server itself, and waits so long for the answer, as it does when it probes. So a server
    /// that answers within this time is never taken to be away, however short the time-outs of calls are.
    pub fn probe_timeout(mut self, silence: Duration) -> Self {
        self.probe_timeout = silence;
        self
    }

    /// The pauses of an open breaker: before the first probe, and the longest between probes. 100 ms and 2 s by default;
    /// they double in between, and are up to a half shorter by chance, so that a fleet does not probe in step.
    pub fn probe_backoff(mut self, first_after: Duration, at_least_every: Duration) -> Self {
        (self.probe_after, self.probe_every) = (first_after, at_least_every);
        self
    }

    /// How many channels may be subscribed; 4,096 by default.
    pub fn max_channels(mut self, channels: usize) -> Self {
        self.max_channels = channels;
        self
    }

    /// How many wake-ups wait for a slow reader of a [`Subscription`](crate::Subscription); 64 by default.
    pub fn channel_capacity(mut self, wakes: usize) -> Self {
        self.channel_capacity = wakes;
        self
    }

    /// Makes the handle and spawns the task that keeps its connection, on the runtime this is called in. It connects when
    /// it is first needed; the task ends with the last clone, or when the handle is closed.
    ///
    /// # Errors
    ///
    /// [`InvalidUrl`](ErrorKind::InvalidUrl) names the part of the URL that is wrong, or the feature that it needs;
    /// [`InvalidSetting`](ErrorKind::InvalidSetting) another setting, or that there is no tokio runtime.
    pub fn spawn(self) -> Result<Redis, Error> {
        let address = Address::parse(&self.url)?;
        self.check(&address)?;
        let runtime = runtime::Handle::try_current()
            .map_err(|_| bad("a Redis handle is made inside a tokio runtime, which its connection lives on"))?;
        let names = KeySpace::new(self.prefix.as_deref(), self.hash_secret.as_deref())?;
        let target = Target {
            address,
            roots: self.roots,
            connect_timeout: self.connect_timeout,
            call_timeout: self.call_timeout,
            silence: self.probe_timeout,
            max_in_flight: self.max_in_flight,
            retries: self.retries,
        };
        let rules = Rules {
            threshold: self.failure_threshold,
            first_pause: self.probe_after,
            most_pause: self.probe_every.max(self.probe_after),
            jitter: RandomState::new().build_hasher().finish().to_le_bytes()[0],
        };
        let work = Arc::new(Notify::new());
        let board = Arc::new(Board::new(self.max_channels, self.channel_capacity, Arc::clone(&work)));
        let shared = Arc::new(Shared::new(target, names, Teller::new(self.instance), (board, work), rules));
        let keeper = runtime.spawn(keeper::keep(Arc::clone(&shared)));
        Ok(Redis::new(shared, keeper.abort_handle()))
    }

    fn check(&self, address: &Address) -> Result<(), Error> {
        let times = [self.call_timeout, self.connect_timeout, self.probe_timeout, self.probe_after];
        if times.iter().any(Duration::is_zero) {
            return Err(bad("time-outs and pauses must be longer than nothing"));
        }
        let most = 1 << 20;
        let sizes = [self.max_in_flight, self.max_channels, self.channel_capacity];
        if sizes.iter().any(|size| *size == 0 || *size > most) {
            return Err(bad("max_in_flight, max_channels and channel_capacity must be from 1 to 1,048,576"));
        }
        if self.failure_threshold == 0 {
            return Err(bad("failure_threshold must be at least 1"));
        }
        if self.roots.is_some() && !address.tls {
            return Err(bad("root certificates need a rediss:// or rediss+cluster:// URL"));
        }
        Ok(())
    }
}

/// Shows no URL and no secret.
impl fmt::Debug for RedisBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBuilder").field("instance", &self.instance).finish_non_exhaustive()
    }
}

fn bad(message: &str) -> Error {
    Error::new(ErrorKind::InvalidSetting, message)
}
