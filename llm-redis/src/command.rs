//! Commands on keys.

use std::{fmt, time::Duration};

use crate::Key;

/// Number of arguments, including the name, for which a command's buffer is allocated in advance.
const USUAL_ARGS: usize = 4;
/// Number of bytes of arguments for which a command's buffer is allocated in advance.
const USUAL_BYTES: usize = 128;

/// Command on a key, to be sent by [`Redis::run`](crate::Redis::run).
///
/// Arguments are bytes, which the client neither reads nor encodes. A command whose connection breaks is sent again, so
/// the server may execute it twice; see [`no_retry`](Self::no_retry).
///
/// # Example
///
/// ```
/// use std::time::Duration;
///
/// use llm_redis::{Command, Redis};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), llm_redis::Error> {
/// let redis = Redis::builder("redis://127.0.0.1").spawn()?;
/// let key = redis.key_space().tag("leases").key("holder");
///
/// let acquire = Command::set(&key, "process 7").if_absent().expires_in(Duration::from_secs(10));
/// let remaining = Command::new("PTTL", &key);
/// // `Debug` shows no argument, because arguments may be confidential.
/// assert_eq!(format!("{acquire:?} {remaining:?}"), "Command(SET) Command(PTTL)");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Command {
    pub(crate) name: &'static str,
    pub(crate) encoded: redis::Cmd,
    pub(crate) slot: Option<u16>,
    pub(crate) repeatable: bool,
}

impl Command {
    /// Creates a `GET`; the response is the value of the key, or [`Nil`](crate::Value::Nil).
    pub fn get(key: &Key) -> Self {
        Self::new("GET", key)
    }

    /// Creates a `SET`. Without [`expires_in`](Self::expires_in) the server keeps the value until it is deleted or
    /// evicted.
    pub fn set(key: &Key, value: impl AsRef<[u8]>) -> Self {
        Self::new("SET", key).arg(value)
    }

    /// Creates a `DEL`; the response is the number of deleted keys, 0 or 1.
    pub fn del(key: &Key) -> Self {
        Self::new("DEL", key)
    }

    /// Creates a `PUBLISH`; the response is the number of receivers.
    ///
    /// The server delivers the message to current subscribers only. It stores nothing for later subscribers.
    ///
    /// ```
    /// # async fn example(redis: &llm_redis::Redis) -> Result<(), llm_redis::Error> {
    /// use llm_redis::Command;
    ///
    /// let channel = redis.key_space().tag("orders").key("changed");
    /// let receivers = redis.run(Command::publish(&channel, "order 7")).await?.into_int()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn publish(channel: &Key, message: impl AsRef<[u8]>) -> Self {
        Self::new("PUBLISH", channel).arg(message)
    }

    /// Creates a command of any other name, with the key as its first argument.
    pub fn new(name: &'static str, key: &Key) -> Self {
        Self { slot: Some(key.slot()), ..Self::without_key(name) }.arg(key.as_str())
    }

    /// Appends an argument, whose bytes are sent unchanged.
    pub fn arg(mut self, arg: impl AsRef<[u8]>) -> Self {
        self.encoded.arg(arg.as_ref());
        self
    }

    /// Makes a `SET` conditional on the absence of the key (`NX`).
    ///
    /// The response is [`Nil`](crate::Value::Nil) if the key exists.
    pub fn if_absent(self) -> Self {
        self.arg("NX")
    }

    /// Sets the time to live of a `SET` (`PX`), in whole milliseconds and at least one.
    pub fn expires_in(self, ttl: Duration) -> Self {
        let millis = ttl.as_millis().clamp(1, i64::MAX as u128);
        self.arg("PX").arg(millis.to_string())
    }

    /// Prevents the client from sending the command again when its connection breaks.
    ///
    /// Use it for commands that must not be executed twice, such as an `INCRBY` outside of a script. The caller then
    /// decides whether to send the command again, based on [`Error::may_have_run`](crate::Error::may_have_run).
    pub fn no_retry(mut self) -> Self {
        self.repeatable = false;
        self
    }

    /// Creates a command without a key, which any node can execute.
    pub(crate) fn without_key(name: &'static str) -> Self {
        let mut encoded = redis::Cmd::with_capacity(USUAL_ARGS, USUAL_BYTES);
        encoded.arg(name);
        Self { name, encoded, slot: None, repeatable: true }
    }
}

/// Shows the command's name but not its arguments, which may be confidential.
impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Command({})", self.name)
    }
}
