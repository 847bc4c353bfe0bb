//! Lua scripts, of which the client sends only the hash if the server has the script.

use std::{fmt, sync::Arc};

use bytes::Bytes;

use crate::{Error, ErrorKind, Key};

/// Definition of `now()`, which precedes every script. The last argument is the clock offset. The definition removes it
/// from `ARGV`.
const PRELUDE: &str = "local clock_offset = table.remove(ARGV)\n\
local function now()\n\
local t = redis.call('TIME')\n\
return t[1] * 1000000 + t[2] + clock_offset\n\
end\n";

/// Lua script that the server executes atomically.
///
/// The client first sends only the hash of the script. If the server does not have the script, the client sends its
/// text.
///
/// In the script, `now()` is the server's time in microseconds since 1970, plus the offset of
/// [`Redis::set_clock_offset`](crate::Redis::set_clock_offset). Numbers in Lua are exact up to 2^53. Print them with
/// `string.format('%d', n)`, because `tostring` loses digits above the 14th.
///
/// The server may execute a script twice, for example if the connection broke after the first execution. A script must
/// therefore be idempotent, for example by an id that the caller passes. It must use the given keys only, and return
/// integers, bytes and lists only.
///
/// # Example
///
/// ```
/// # async fn example(redis: &llm_redis::Redis) -> Result<(), llm_redis::Error> {
/// use llm_redis::Script;
///
/// let tag = redis.key_space().hashed_tag(&[b"tenant", b"acme"]);
/// let record = Script::new(
///     "if redis.call('HSETNX', KEYS[1], ARGV[1], ARGV[2]) == 0 then return 0 end
///      redis.call('SET', KEYS[2], string.format('%d', now()))
///      return 1",
/// );
/// let call = record.with_keys(&[&tag.key("payments"), &tag.key("paid_at")]).arg("payment 7").arg(42u64);
/// let is_new = redis.run(call).await?.into_int()? == 1;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Script(Arc<Text>);

struct Text {
    source: String,
    hash: String,
}

/// Call of a [`Script`] with keys and arguments, returned by [`Script::with_keys`].
///
/// # Example
///
/// ```
/// use llm_redis::{Redis, Script};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), llm_redis::Error> {
/// let redis = Redis::builder("redis://127.0.0.1").spawn()?;
/// let key = redis.key_space().tag("orders").key("count");
/// let call = Script::new("return redis.call('INCRBY', KEYS[1], ARGV[1])").with_keys(&[&key]).arg(3u32);
/// // `Debug` shows the keys and no argument.
/// assert!(format!("{call:?}").contains("llm:v1:{orders}:count"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ScriptCall {
    script: Script,
    keys: Vec<Key>,
    args: Vec<Bytes>,
}

impl Script {
    /// Creates a script from its Lua text. The client sends nothing before the script is called.
    pub fn new(source: &str) -> Self {
        let source = format!("{PRELUDE}{source}");
        let hash = redis::Script::new(&source).get_hash().to_owned();
        Self(Arc::new(Text { source, hash }))
    }

    /// Creates a call with `keys`, which the script reads as `KEYS[1]`, `KEYS[2]` and so on.
    ///
    /// All keys must have the same [`HashTag`](crate::HashTag). Otherwise the call fails with
    /// [`CrossSlot`](crate::ErrorKind::CrossSlot).
    pub fn with_keys(&self, keys: &[&Key]) -> ScriptCall {
        let keys = keys.iter().map(|key| (*key).clone()).collect();
        ScriptCall { script: self.clone(), keys, args: Vec::new() }
    }
}

impl ScriptCall {
    /// Appends an argument, which the script reads as `ARGV[1]`, `ARGV[2]` and so on.
    pub fn arg(mut self, arg: impl Into<ScriptArg>) -> Self {
        self.args.push(arg.into().0);
        self
    }

    /// Returns the slot of the keys; `None` if there are no keys, so that any node can run the script.
    pub(crate) fn slot(&self) -> Result<Option<u16>, Error> {
        let first = self.keys.first().map(Key::slot);
        match self.keys.iter().all(|key| Some(key.slot()) == first) {
            true => Ok(first),
            false => {
                let message = "the keys of the script are in different slots; make them of one hash tag";
                Err(Error::new(ErrorKind::CrossSlot, message))
            }
        }
    }

    /// Encodes the call with the hash of the script, or with its text if `whole` is true.
    pub(crate) fn encode(&self, whole: bool, offset_micros: i64) -> redis::Cmd {
        let text = &*self.script.0;
        let mut encoded = match whole {
            true => redis::cmd("EVAL"),
            false => redis::cmd("EVALSHA"),
        };
        encoded.arg(if whole { &text.source } else { &text.hash }).arg(self.keys.len());
        for key in &self.keys {
            encoded.arg(key.as_str());
        }
        for arg in &self.args {
            encoded.arg(&**arg);
        }
        encoded.arg(offset_micros);
        encoded
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Script({})", self.0.hash)
    }
}

/// Shows the hash of the script and the keys, but not the arguments, which may be confidential.
impl fmt::Debug for ScriptCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ScriptCall({}, {:?})", self.script.0.hash, self.keys)
    }
}

/// Argument of a [`ScriptCall`]. Bytes are sent unchanged, and integers in decimal.
///
/// # Example
///
/// ```
/// use llm_redis::ScriptArg;
///
/// let args: [ScriptArg; 3] = [42u64.into(), "text".into(), vec![0, 255].into()];
/// # let _ = args;
/// ```
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
