use std::{fmt, time::Duration};

use bytes::Bytes;

use crate::{Error, ErrorKind, Key, script::ScriptCall};

/// One command. Values are bytes, whatever they mean.
///
/// A command whose connection breaks is sent once more, so it may run twice; see [`Command::no_retry`].
#[derive(Clone)]
pub struct Command {
    pub(crate) name: &'static str,
    pub(crate) wire: redis::Cmd,
    pub(crate) slot: Option<u16>,
    pub(crate) repeatable: bool,
}

impl Command {
    /// The value of a key.
    pub fn get(key: &Key) -> Self {
        Self::new("GET", key)
    }

    /// Sets a key. A value without an expiry stays until it is deleted or evicted.
    pub fn set(key: &Key, value: impl AsRef<[u8]>) -> Self {
        Self::new("SET", key).arg(value)
    }

    /// Deletes a key; the reply is how many there were.
    pub fn del(key: &Key) -> Self {
        Self::new("DEL", key)
    }

    /// Sends a message to all who listen to a channel just now; nobody else will ever get it.
    pub fn publish(channel: &Key, message: impl AsRef<[u8]>) -> Self {
        Self::new("PUBLISH", channel).arg(message)
    }

    /// Any other command on a key.
    pub fn new(name: &'static str, key: &Key) -> Self {
        Self { slot: Some(key.slot()), ..Self::bare(name) }.arg(key.as_str())
    }

    /// One more argument.
    pub fn arg(mut self, arg: impl AsRef<[u8]>) -> Self {
        self.wire.arg(arg.as_ref());
        self
    }

    /// Of a `SET`: only if there is no such key yet. The reply is nothing if there is one.
    pub fn if_absent(self) -> Self {
        self.arg("NX")
    }

    /// Of a `SET`: gone after this time, in whole milliseconds, at least one.
    pub fn expires_in(self, ttl: Duration) -> Self {
        let millis = ttl.as_millis().clamp(1, i64::MAX as u128);
        self.arg("PX").arg(millis.to_string())
    }

    /// Must not run twice: it is never sent again by itself.
    pub fn no_retry(mut self) -> Self {
        self.repeatable = false;
        self
    }

    pub(crate) fn bare(name: &'static str) -> Self {
        Self { name, wire: redis::cmd(name), slot: None, repeatable: true }
    }
}

/// What [`Redis::run`](crate::Redis::run) takes: a [`Command`], or a call of a [`Script`](crate::Script).
#[derive(Clone, Debug)]
pub struct Request(pub(crate) Kind);

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Command(Command),
    Script(ScriptCall),
}

impl Request {
    /// The slot that it must go to, if any.
    pub(crate) fn slot(&self) -> Result<Option<u16>, Error> {
        match &self.0 {
            Kind::Command(command) => Ok(command.slot),
            Kind::Script(call) => same_slot(call.keys.iter().map(Key::slot)),
        }
    }

    pub(crate) fn is_repeatable(&self) -> bool {
        match &self.0 {
            Kind::Command(command) => command.repeatable,
            // By contract.
            Kind::Script(_) => true,
        }
    }
}

impl From<Command> for Request {
    fn from(command: Command) -> Self {
        Self(Kind::Command(command))
    }
}

impl From<ScriptCall> for Request {
    fn from(call: ScriptCall) -> Self {
        Self(Kind::Script(call))
    }
}

/// Without its arguments, which may be anybody's data.
impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Command({})", self.name)
    }
}

fn same_slot(mut slots: impl Iterator<Item = u16>) -> Result<Option<u16>, Error> {
    let first = slots.next();
    match slots.find(|slot| Some(*slot) != first) {
        None => Ok(first),
        Some(_) => {
            Err(Error::new(ErrorKind::CrossSlot, "a script's keys live in different slots; make them of one place"))
        }
    }
}

/// An argument of a script: bytes as they are, numbers in decimal.
#[derive(Clone)]
pub struct ScriptArg(pub(crate) Bytes);

macro_rules! decimal {
    ($($number:ty),*) => {$(
        impl From<$number> for ScriptArg {
            fn from(number: $number) -> Self {
                Self(number.to_string().into())
            }
        }
    )*};
}

decimal!(i64, u64, u32, usize);

impl From<Bytes> for ScriptArg {
    fn from(bytes: Bytes) -> Self {
        Self(bytes)
    }
}

impl From<Vec<u8>> for ScriptArg {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl From<&[u8]> for ScriptArg {
    fn from(bytes: &[u8]) -> Self {
        Self(Bytes::copy_from_slice(bytes))
    }
}

impl From<&str> for ScriptArg {
    fn from(text: &str) -> Self {
        text.as_bytes().into()
    }
}

impl From<String> for ScriptArg {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}
