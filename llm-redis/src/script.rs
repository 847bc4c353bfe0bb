use std::{fmt, sync::Arc};

use bytes::Bytes;

use crate::{Key, command::ScriptArg};

/// Gives scripts their clock. The last argument is the offset; a script does not see it.
const PRELUDE: &str = "local clock_offset = tonumber(table.remove(ARGV))\n\
local function now()\n\
local t = redis.call('TIME')\n\
return tonumber(t[1]) * 1000000 + tonumber(t[2]) + clock_offset\n\
end\n";

/// A Lua script that runs on the server as one step. It is sent by its hash; a server that does not have it, or forgot
/// it, gets the whole text once.
///
/// Inside, `now()` is the server's time in microseconds since 1970, with [`Redis::set_clock_offset`](crate::Redis::set_clock_offset)
/// added. Numbers in Lua are exact up to 2^53; print them with `string.format('%d', n)`, since `tostring` loses digits
/// above the 14th.
///
/// A script may run twice, when a connection breaks or a time-out was too early. Make it idempotent: by an id that the
/// caller brings, say. It must use no key but those given, and give nothing back but integers, bytes and lists.
#[derive(Clone)]
pub struct Script(Arc<Text>);

struct Text {
    source: String,
    hash: String,
}

/// A [`Script`] with its keys and arguments.
#[derive(Clone)]
pub struct ScriptCall {
    script: Script,
    pub(crate) keys: Vec<Key>,
    args: Vec<Bytes>,
}

impl Script {
    /// A script from its Lua text.
    pub fn new(source: &str) -> Self {
        let source = format!("{PRELUDE}{source}");
        let hash = redis::Script::new(&source).get_hash().to_owned();
        Self(Arc::new(Text { source, hash }))
    }

    /// A call with these keys, all of one [`HashTag`](crate::HashTag): `KEYS[1]`, `KEYS[2]`, …
    pub fn with_keys(&self, keys: &[&Key]) -> ScriptCall {
        let keys = keys.iter().map(|key| (*key).clone()).collect();
        ScriptCall { script: self.clone(), keys, args: Vec::new() }
    }
}

impl ScriptCall {
    /// One more argument: `ARGV[1]`, `ARGV[2]`, …
    pub fn arg(mut self, arg: impl Into<ScriptArg>) -> Self {
        self.args.push(arg.into().0);
        self
    }

    /// By the script's hash, or with its whole text.
    pub(crate) fn wire(&self, whole: bool, offset_micros: i64) -> redis::Cmd {
        let text = &*self.script.0;
        let mut wire = match whole {
            true => redis::cmd("EVAL"),
            false => redis::cmd("EVALSHA"),
        };
        wire.arg(if whole { &text.source } else { &text.hash }).arg(self.keys.len());
        for key in &self.keys {
            wire.arg(key.as_str());
        }
        for arg in &self.args {
            wire.arg(&**arg);
        }
        wire.arg(offset_micros);
        wire
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Script({})", self.0.hash)
    }
}

/// Without its arguments, which may be anybody's data.
impl fmt::Debug for ScriptCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ScriptCall({}, {:?})", self.script.0.hash, self.keys)
    }
}
