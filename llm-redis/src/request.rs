//! Requests to the server: commands and calls of scripts.

use crate::{Command, ScriptCall};

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
