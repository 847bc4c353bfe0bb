//! The request by which a process reports what it used of its chunks of an account, and changes their size.

use std::sync::{Arc, LazyLock};

use llm_redis::{Error, Script, ScriptCall, Value};

use super::{
    layout::{Id, MOST, Stored, Tag},
    question::{KEPT, LATEST, RuleNeed},
    scripts::decision,
};

/// Reports what was used of chunks, and leases, keeps or returns amounts.
#[derive(Clone, Debug)]
pub(super) struct Lease {
    pub(super) tag: Arc<Tag>,
    pub(super) id: Id,
    /// Number of the report. The server takes each once.
    pub(super) number: u64,
    pub(super) per_mille: u32,
    /// True if a call waits for room.
    pub(super) waits: bool,
    pub(super) shares: Arc<[u8]>,
    /// Time at which the process knows the accounts' hash to have begun, in microseconds since 1970; 0 if it does not.
    pub(super) born: u64,
    pub(super) pools: Vec<PoolReport>,
}

/// Report about the chunk of one counter.
#[derive(Clone, Debug)]
pub(super) struct PoolReport {
    /// Need that takes the amount to be leased, and needs the least of it with which a call passes.
    pub(super) need: RuleNeed,
    pub(super) entries: Vec<Entry>,
}

/// Amount that was taken from a chunk, and what was used of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Entry {
    /// The end of its window, in nanoseconds since 1970, or the place of its batch in the bucket.
    pub(super) at: At,
    pub(super) taken: u64,
    pub(super) used: u64,
}

/// Place of an amount in a counter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum At {
    Window(u64),
    /// In no place yet: it begins to drain with this report.
    Poured,
    /// In the bucket, with the amount of the rate at that time.
    Batch(f64, f64),
}

/// Reply to a report.
#[derive(Debug)]
pub(super) enum Leased {
    Done {
        /// The server's time, in nanoseconds since 1970.
        now: u64,
        born: u64,
        pools: Vec<PoolReply>,
        /// Windows that reached alert shares or made debt.
        events: Value,
    },
    /// The server's time, at which the report came too late or named another window.
    OutOfTime(u64),
    UnknownLayout,
    /// The server has lost the accounts.
    Lost,
}

/// Reply about the chunk of one counter.
#[derive(Debug)]
pub(super) struct PoolReply {
    pub(super) has_room: bool,
    /// Amount that is leased now.
    pub(super) leased: u64,
    /// Place of the amount that was poured.
    pub(super) poured: At,
    pub(super) stored: Stored,
}

impl Lease {
    /// Encodes it, for a server whose time is about `now`, in nanoseconds since 1970.
    pub(super) fn call(&self, lease: u64, parts: u64, now: u64, exact: String) -> ScriptCall {
        let shares: Vec<String> = self.shares.iter().map(u8::to_string).collect();
        let is_calendar = self.pools.iter().any(|pool| pool.need.limit.quota().windows().is_some());
        let call = LEASE.with_keys(&[&self.tag.accounts, &self.tag.ends, &self.tag.channel]);
        let call = call.arg(&self.id[..]).arg(self.number).arg(lease).arg(now / 1_000 + LATEST).arg(exact);
        let call = call.arg(KEPT[usize::from(!is_calendar)]).arg(parts).arg(u64::from(self.waits));
        let mut call = call.arg(shares.join(" ")).arg(self.pools.len()).arg(self.born);
        for pool in &self.pools {
            call = pool.need.encode(call, self.per_mille, now).arg(pool.entries.len());
            for Entry { at, taken, used } in &pool.entries {
                let (place, rate) = match at {
                    At::Window(until) => ((until / 1_000).to_string(), "0".to_owned()),
                    At::Poured => (String::new(), "0".to_owned()),
                    At::Batch(place, rate) => (place.to_string(), rate.to_string()),
                };
                call = call.arg(place).arg(rate).arg(*taken.min(&MOST)).arg(*used.min(&MOST));
            }
        }
        call
    }

    /// Reads the server's reply.
    pub(super) fn answer(&self, reply: Value) -> Result<Leased, Error> {
        let mut items = reply.into_list()?.into_iter();
        let mut next = || items.next().unwrap_or(Value::Nil);
        let status = next().into_int()?;
        let now = u64::try_from(number(next())?).unwrap_or(0).saturating_mul(1_000);
        match status {
            0 => {}
            2 => return Ok(Leased::OutOfTime(now)),
            5 => return Ok(Leased::Lost),
            _ => return Ok(Leased::UnknownLayout),
        }
        let born = u64::try_from(number(next())?).unwrap_or(0);
        let mut pools = Vec::with_capacity(self.pools.len());
        for _ in &self.pools {
            let has_room = number(next())? == 1;
            let leased = u64::try_from(number(next())?).unwrap_or(0);
            let poured = At::Batch(float(next())?, float(next())?);
            let value = next().into_bytes()?.unwrap_or_default();
            let Some(stored) = Stored::parse(&value) else { return Ok(Leased::UnknownLayout) };
            pools.push(PoolReply { has_room, leased, poured, stored });
        }
        Ok(Leased::Done { now, born, pools, events: next() })
    }
}

fn text(value: Value) -> Result<String, Error> {
    Ok(value.into_bytes()?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default())
}

fn number(value: Value) -> Result<i64, Error> {
    Ok(text(value)?.parse().unwrap_or(0))
}

fn float(value: Value) -> Result<f64, Error> {
    Ok(text(value)?.parse().unwrap_or(0.0))
}

/// Takes a report once, and changes the amounts that a process has leased of the counters of one account.
///
/// An amount that is leased counts as reserved in a window, as held in slots, and in a bucket as an amount that does not
/// drain. Of what is free, a process gets at most a part beyond its need. Returns a status, the time, the time at
/// which the hash began, for each counter a digit (0 if it has no room), the amount leased, the place and rate of what was poured, and the counter; at last the windows
/// that reached alert shares or made debt, as [`SETTLE`](super::scripts::SETTLE) does. Statuses are those of
/// [`DECIDE`](super::scripts::DECIDE).
///
/// Keys: hash, set, channel. Arguments: id, number of the report, lease, latest time, time or nothing, time to live, parts,
/// 1 if a call waits, alert shares, number of counters, the time at which the process knows the hash to have begun, or 0; then for each counter what a question says of it, with the amount to be
/// leased and the least amount with which a call passes, the number of entries, and for each entry its place, its rate, and the
/// amounts taken and used.
static LEASE: LazyLock<Script> = LazyLock::new(|| {
    decision(
        r"
local hash, ends, id, number = KEYS[1], KEYS[2], ARGV[1], ARGV[2]
time = tonumber(ARGV[5]) or now()
if time > tonumber(ARGV[4]) then return {2, int(time)} end
sweep(hash, ends, time)
local ttl, parts, shares, count = tonumber(ARGV[6]), tonumber(ARGV[7]), ARGV[9], tonumber(ARGV[10])
local head = redis.call('HMGET', hash, '#', 'r' .. id, 'q' .. id, 'w')
if is_later(head[1]) then return {4, int(time)} end
local last = head[3] and cmsgpack.unpack(head[3])
if last and last[1] == number then return last[2] end
if tonumber(ARGV[11]) > 0 and tonumber(ARGV[11]) ~= born(head[1]) then return {5, int(time)} end
local known, record = {}, {0}
if head[2] and head[2] ~= 'x' then
  local holds = cmsgpack.unpack(head[2])
  for n = 2, #holds, 5 do known[holds[n]] = {amount = holds[n + 2], ends = holds[n + 3]} end
end
local function report(c, kind, has, events, name)
  local place, rate, taken, used = next_args(4)
  taken, used = tonumber(taken), tonumber(used)
  if kind == 'b' and place == '' then
    local from = math.min(taken, has)
    -- What is not leased any more was counted as spent when the lease ended.
    return has - from, pour(c, from, math.max(0, used - taken + from), time)
  elseif kind == 'b' then
    settle_bucket(c, taken, tonumber(rate), tonumber(place), used, time, false)
  elseif kind == 'w' then
    local owed, from = c.carried + c.debt, taken
    if tonumber(place) == c.ends then
      from = math.min(taken, has)
      has = has - from
    end
    settle_window(c, tonumber(place), from, used)
    local to_report, share = reached(c, shares)
    local debt = math.max(0, c.carried + c.debt - owed)
    if share > 0 or debt > 0 then
      events[#events + 1] = {name, to_report, share, int(debt), int(c.carried + c.spent), int(c.ends)}
    end
  end
  return has, 0
end
local function resize(c, by)
  if c.kind == 'b' then c.leased = c.leased + by
  elseif c.kind == 'w' then c.reserved = math.max(0, c.reserved + by)
  else c.held = math.max(0, c.held + by) end
end
at = 12
local reply, events, writes, has_returned = {0, int(time), int(head[1] and born(head[1]) or time)}, {}, {}, false
for r = 1, count do
  local name, kind, want, needs = next_args(4)
  want, needs = tonumber(want), tonumber(needs)
  local c = advance(redis.call('HGET', hash, name), kind)
  if not c then return {2, int(time)} end
  local has, place = known[name] and known[name].amount or 0, 0
  if kind == 'w' and known[name] and known[name].ends ~= c.ends then has = 0 end
  for e = 1, tonumber((next_args(1))) do
    local left, poured = report(c, kind, has, events, name)
    has = left
    if poured > 0 then place = poured end
  end
  local free = math.max(0, c.free())
  local fits = needs <= has + free
  if want < has then
    resize(c, want - has)
    has, has_returned = want, true
  elseif fits then
    local more = math.min(want - has, free, math.max(needs - has, math.floor(free / parts)))
    resize(c, more)
    has = has + more
  end
  if has > 0 then record[1] = 1 end
  for _, v in ipairs({name, kind == 'b' and 'h' or kind == 's' and 'l' or 'w', has, kind == 'w' and c.ends or 0, 0}) do
    record[#record + 1] = v
  end
  local value = write(c)
  writes[#writes + 1] = name
  writes[#writes + 1] = value
  for _, v in ipairs({fits and '1' or '0', int(has), string.format('%.17g', place), string.format('%.17g', c.amount or 0), value}) do
    reply[#reply + 1] = v
  end
end
reply[#reply + 1] = events
if ARGV[8] == '1' then
  writes[#writes + 1] = 'w'
  writes[#writes + 1] = int(time + 2000000)
end
redis.call('HSET', hash, 'r' .. id, cmsgpack.pack(record), 'q' .. id, cmsgpack.pack({number, reply}), unpack(writes))
redis.call('ZADD', ends, int(time + (record[1] == 1 and tonumber(ARGV[3]) or UNSETTLED)), id)
touch(hash, head[1], time, ttl)
redis.call('PEXPIRE', ends, int(ttl / 1000))
if has_returned and head[4] and tonumber(head[4]) > time then redis.call('PUBLISH', KEYS[3], '') end
return reply
",
    )
});
