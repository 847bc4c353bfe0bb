//! Requests to the server: commands and calls of scripts.

use crate::{Command, Error, ErrorKind, Key, ScriptCall};

/// Argument of [`Redis::run`](crate::Redis::run): a [`Command`] or a [`ScriptCall`].
///
/// # Example
///
/// ```
/// use llm_redis::{Command, Redis, Request, Script};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), llm_redis::Error> {
/// let redis = Redis::builder("redis://127.0.0.1").spawn()?;
/// let key = redis.key_space().tag("orders").key("count");
/// let increment = Script::new("return redis.call('INCR', KEYS[1])");
/// let requests: [Request; 2] = [Command::get(&key).into(), increment.with_keys(&[&key]).into()];
/// # let _ = requests;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Request(pub(crate) Kind);

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Command(Command),
    Script(ScriptCall),
}

impl Request {
    /// Returns the slot that the request belongs to; `None` if any node can execute it.
    pub(crate) fn slot(&self) -> Result<Option<u16>, Error> {
        match &self.0 {
            Kind::Command(command) => Ok(command.slot),
            Kind::Script(call) if call.across_tags => Ok(call.keys.first().map(Key::slot)),
            Kind::Script(call) => common_slot(call.keys.iter().map(Key::slot)),
        }
    }

    /// Returns true if the request may be sent again after its connection broke.
    pub(crate) fn is_repeatable(&self) -> bool {
        match &self.0 {
            Kind::Command(command) => command.repeatable,
            // Scripts must be idempotent, so they may be sent again.
            Kind::Script(_) => true,
        }
    }

    /// Returns the name of the command, for error messages.
    pub(crate) fn name(&self) -> &'static str {
        match &self.0 {
            Kind::Command(command) => command.name,
            Kind::Script(_) => "script",
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

fn common_slot(mut slots: impl Iterator<Item = u16>) -> Result<Option<u16>, Error> {
    let first = slots.next();
    match slots.find(|slot| Some(*slot) != first) {
        None => Ok(first),
        Some(_) => {
            let message = "the keys of the script are in different slots; make them of one hash tag";
            Err(Error::new(ErrorKind::CrossSlot, message))
        }
    }
}
