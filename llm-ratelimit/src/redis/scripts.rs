//! Scripts of the server. Each may run twice.
//!
//! The accounts of one hash tag are fields of one hash: `#` is the layout, the expiry and the time at which the hash began, `w` the time until which another
//! process waits for room, `r` and an id a reservation, and every other field a counter. A value begins with the letter of
//! its kind: `b` a bucket (level, all that ever left, and the time, in microseconds of drain; amount and period of the
//! rate; the amount that processes have leased, which does not drain), `w` a window, `s` slots. A script carries through what a later version adds: fields, kinds of counters, and whatever
//! follows the known parts of a value. A change that earlier scripts must not see has another number of the layout. Beside the hash is a sorted set of
//! ids, by the time at which a reservation loses its slots, or at which an id can be forgotten.

use std::sync::LazyLock;

use llm_redis::Script;

/// Functions of all scripts. They do to buckets, windows and slots what `bucket.rs`, `window.rs` and `counter.rs` do.
const LIBRARY: &str = r"
local MOST = 9007199254740991
local TOLERANCE = 0.01
local SKEW = 1000000
local REMEMBERED = 5000000
local UNSETTLED = 3600000000
local function is_later(layout) return layout and string.sub(layout, 1, 2) ~= '1 ' end
local LATER = 'a later version has changed the layout of the accounts: update this process'
local function int(n) return string.format('%d', math.max(0, math.min(n, MOST))) end
local function touch(hash, known, time, ttl)
  local at, lasts, rest = string.match(known or '', '^1 (%d+) (%d+)(.*)$')
  if at and tonumber(lasts) >= ttl and time - tonumber(at) < ttl / 4 then return end
  ttl, rest = math.max(ttl, tonumber(lasts or 0)), rest or ' ' .. int(time)
  redis.call('HSET', hash, '#', '1 ' .. int(time) .. ' ' .. int(ttl) .. rest)
  redis.call('PEXPIRE', hash, int(ttl / 1000))
end
local function born(layout) return tonumber(string.match(layout or '', '^1 %d+ %d+ (%d+)') or 0) end
local function read(value)
  local kind = string.sub(value, 1, 1)
  if kind == 'b' then
    local level, left, at, amount, period, leased, rest = struct.unpack('<dddddd', value, 2)
    return {kind = kind, level = level, left = left, at = at, amount = amount, period = period, leased = leased,
      rest = string.sub(value, rest)}
  elseif kind == 's' then
    local held, rest = string.match(value, '^s(%d+)(.*)$')
    return {kind = kind, held = tonumber(held), rest = rest}
  elseif kind ~= 'w' then
    return {kind = kind, value = value}
  end
  local n, rest = {}, string.match(value, '^w' .. string.rep('%d+ ', 8) .. '%d+(.*)$')
  for word in string.gmatch(value, '%d+') do n[#n + 1] = tonumber(word) end
  return {kind = kind, ends = n[1], ordinal = n[2], before = n[3], spent = n[4], reserved = n[5], carried = n[6],
    debt = n[7], limit = n[8], alerted = n[9], rest = rest}
end
local function write(c)
  if c.kind == 'b' then
    return 'b' .. struct.pack('<dddddd', c.level, c.left, c.at, c.amount, c.period, c.leased) .. (c.rest or '')
  elseif c.kind == 's' then
    return 's' .. int(c.held) .. (c.rest or '')
  elseif c.kind ~= 'w' then
    return c.value
  end
  return 'w' .. table.concat({int(c.ends), int(c.ordinal), int(c.before), int(c.spent), int(c.reserved), int(c.carried),
    int(c.debt), int(c.limit), int(c.alerted)}, ' ') .. (c.rest or '')
end
local function flow(b, time)
  local passed = time - b.at
  if passed < 0 then
    if passed > -SKEW then return end
    passed, b.dirty = 0, true
  end
  b.at = time
  local drained = math.min(passed, b.level)
  b.level = b.level - drained
  b.left = b.left + drained
end
local function total(w) return w.carried + w.spent + w.reserved end
local function owed_next(w) return w.debt + math.max(0, w.carried - w.limit) end
local function over(w) return math.max(0, total(w) - w.limit) end
local function settle_window(w, mark, reserved, used)
  local back, excess = math.max(0, reserved - used), math.max(0, used - reserved)
  if mark == w.ends then
    w.reserved = math.max(0, w.reserved - reserved)
    w.spent = w.spent + used
  else
    w.spent = w.spent + excess
    if mark == w.before then w.carried = math.max(0, w.carried - back) end
  end
  w.debt = math.min(w.debt + excess, over(w))
end
local function reached(w, shares)
  local from, to = w.alerted, 0
  for share in string.gmatch(shares, '%d+') do
    if (w.carried + w.spent) * 100 >= w.limit * share then to = math.max(to, tonumber(share)) end
  end
  if to <= from then return 0, 0 end
  w.alerted = to
  return from, to
end
local function settle_bucket(b, taken, rate, mark, used, time, undo)
  if used == taken then return end
  flow(b, time)
  local unit = b.period / b.amount
  if used > taken then
    b.level = b.level + (used - taken) * unit
    return
  end
  mark = mark * rate / b.amount
  if undo and math.abs(mark + taken * unit - b.left - b.level) < TOLERANCE then
    b.level = b.level - math.min(taken * unit, b.level)
    return
  end
  local still = math.max(0, mark + taken * unit - math.max(b.left, mark))
  local back = math.min((taken - used) * unit, still, b.level)
  b.level = b.level - back
  b.left = b.left + back
end
local function pour(b, taken, used, time)
  flow(b, time)
  local mark = b.left + b.level
  b.leased = math.max(0, b.leased - taken)
  b.level = b.level + used * b.period / b.amount
  return mark
end
local function sweep(hash, ends, time)
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', ends, '-inf', int(time), 'LIMIT', 0, 100)) do
    local record = redis.call('HGET', hash, 'r' .. id)
    local holds = record and record ~= 'x' and cmsgpack.unpack(record) or {}
    local is_leased = holds[1] == 1
    for n = 2, #holds, 5 do
      local name, kind, taken = holds[n], holds[n + 1], holds[n + 2]
      local value = redis.call('HGET', hash, name)
      local c = value and read(value)
      if c and is_leased and (kind == 's' or kind == 'l') then
        c.held = math.max(0, c.held - taken)
      elseif c and is_leased and kind == 'h' then
        pour(c, taken, taken, time)
      elseif c and not is_leased and kind == 'w' and holds[n + 3] == c.ends then
        settle_window(c, c.ends, taken, taken)
      end
      if c then redis.call('HSET', hash, name, write(c)) end
      if kind == 'h' or kind == 'l' then holds[n + 2] = 0 end
    end
    if is_leased then
      holds[1] = 0
      redis.call('HSET', hash, 'r' .. id, cmsgpack.pack(holds))
      redis.call('ZADD', ends, int(time + UNSETTLED), id)
    else
      redis.call('HDEL', hash, 'r' .. id, 'q' .. id)
      redis.call('ZREM', ends, id)
    end
  end
end
";

/// Functions of scripts that decide: the arguments from `at` on say of each counter its kind, two amounts, and what
/// [`RuleNeed::encode`](super::question::RuleNeed::encode) writes of its limit.
const DECISION: &str = r"
local at, time
local function next_args(n)
  at = at + n
  return unpack(ARGV, at - n, at - 1)
end
local function roll(w, limit, starts, ends, ordinal, longest)
  if time < w.ends then
    if limit ~= w.limit then
      w.dirty = true
      if limit < w.limit then
        w.debt = owed_next(w)
        w.spent = w.spent + w.carried
        w.carried = 0
      end
      w.limit = limit
      w.debt = math.min(w.debt, over(w))
    end
    if w.ends - time > longest then
      w.carried = w.carried + w.reserved
      w.reserved = 0
      w.before, w.ends, w.ordinal, w.dirty = w.ends, ends, ordinal, true
    end
    return
  end
  local passed = w.ends > 0 and math.max(0, ordinal - w.ordinal - 1) or 0
  local carried = math.max(0, owed_next(w) - math.min(limit, w.limit) * passed)
  local before = w.ends >= starts and w.ends or 0
  w.ends, w.ordinal, w.before, w.spent, w.reserved, w.carried = ends, ordinal, before, 0, 0, carried
  w.debt, w.limit, w.alerted, w.dirty = 0, limit, 0, true
end
local function advance(value, kind)
  local c = value and read(value)
  if kind == 'b' then
    local amount, period, burst = next_args(3)
    amount, period, burst = tonumber(amount), tonumber(period), tonumber(burst)
    c = c or {kind = kind, level = 0, left = 0, at = time, amount = amount, period = period, leased = 0}
    flow(c, time)
    if amount ~= c.amount then
      c.level, c.left = c.level * c.amount / amount, c.left * c.amount / amount
      c.amount, c.dirty = amount, true
    end
    c.room = function(n)
      return n <= burst and c.level + (c.leased + n) * period / amount <= burst * period / amount + TOLERANCE
    end
    c.free = function() return math.floor((burst * period / amount - c.level + TOLERANCE) * amount / period) - c.leased end
  elseif kind == 'w' then
    local limit, starts, ends, ordinal, longest = next_args(5)
    if time < tonumber(starts) or time >= tonumber(ends) then return nil end
    c = c or {kind = kind, ends = 0, ordinal = 0, before = 0, spent = 0, reserved = 0, carried = 0, debt = 0, limit = 0, alerted = 0}
    roll(c, tonumber(limit), tonumber(starts), tonumber(ends), tonumber(ordinal), tonumber(longest))
    c.room = function(n) return total(c) + n <= c.limit end
    c.free = function() return c.limit - total(c) end
  else
    local limit = tonumber((next_args(1)))
    c = c or {kind = kind, held = 0}
    c.room = function(n) return c.held + n <= limit end
    c.free = function() return limit - c.held end
  end
  return c
end
";

/// Takes what a call needs in all given accounts, or nothing. Returns a status, the time, the time at which each hash began, a
/// digit for each rule (0 if it has no room), and the counters.
///
/// Statuses: 0 taken, 1 no room, 2 bounds or deadline that the server's time is not within, 3 an id that has ended,
/// 4 a layout that this version does not know, 5 a hash that began at another time than the process knows: it was lost.
///
/// Keys: hash and set of each tag. Arguments: mode (`take`, `look`, `wait` for a call that waits, `force`), id, lease, latest
/// time, time or nothing, time to live; then for each tag the number of its rules and the time at which the process knows its
/// hash to have begun, or 0, and for each rule its field, its kind,
/// the amounts to take and to have room for (or -1), and of a bucket its amount, period and burst, of a window its limit,
/// start, end, ordinal and greatest distance, of slots their number.
pub(super) static DECIDE: LazyLock<Script> = LazyLock::new(|| {
    decision(
        r"
local mode, id, lease, latest, ttl = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[6])
time = tonumber(ARGV[5]) or now()
if time > latest then return {2, int(time)} end
at = 7
local function take(c, n)
  if c.kind == 'b' then
    local mark = c.left + c.level
    c.level = c.level + n * c.period / c.amount
    return mark
  elseif c.kind == 'w' then
    c.reserved = c.reserved + n
    return c.ends
  end
  c.held = c.held + n
  return 0
end
local parts, births, reply, digits, fits = {}, {}, {}, {}, true
for p = 1, #KEYS / 2 do
  local part = {hash = KEYS[2 * p - 1], ends = KEYS[2 * p], rules = {}}
  sweep(part.hash, part.ends, time)
  local head = {next_args(2)}
  local from, names = at, {'#', 'r' .. id}
  for r = 1, tonumber(head[1]) do
    local name, kind = next_args(4)
    names[#names + 1] = name
    at = at + (kind == 'b' and 3 or kind == 'w' and 5 or 1)
  end
  at = from
  local values = redis.call('HMGET', part.hash, unpack(names))
  part.layout, part.known = values[1], values[2]
  if is_later(part.layout) then return {4, int(time)} end
  if mode ~= 'look' and tonumber(head[2]) > 0 and tonumber(head[2]) ~= born(part.layout) then return {5, int(time)} end
  if part.known == 'x' and mode ~= 'look' then return {3, int(time)} end
  for r = 1, tonumber(head[1]) do
    local name, kind, takes, needs = next_args(4)
    local rule = {name = name, value = values[r + 2], takes = tonumber(takes)}
    rule.counter = advance(rule.value, kind)
    if not rule.counter then return {2, int(time)} end
    local has_room = part.known or tonumber(needs) < 0 or rule.counter.room(tonumber(needs))
    digits[#digits + 1] = has_room and '1' or '0'
    fits = fits and has_room
    part.rules[r] = rule
  end
  parts[p] = part
end
local takes = mode == 'force' or (fits and mode ~= 'look')
for p, part in ipairs(parts) do
  local writes, record = {}, {1}
  for _, rule in ipairs(part.rules) do
    local c = rule.counter
    local is_taken = takes and not part.known and rule.takes >= 0
    if is_taken then
      local mark = take(c, rule.takes)
      for _, v in ipairs({rule.name, c.kind, rule.takes, mark, c.amount or 0}) do record[#record + 1] = v end
    end
    local value = write(c)
    if is_taken or (rule.value and c.dirty) then
      writes[#writes + 1] = rule.name
      writes[#writes + 1] = value
    end
    reply[#reply + 1] = value
  end
  if #record > 1 then
    writes[#writes + 1] = 'r' .. id
    writes[#writes + 1] = cmsgpack.pack(record)
    redis.call('ZADD', part.ends, int(time + lease), id)
  end
  if not takes and mode == 'wait' then
    writes[#writes + 1] = 'w'
    writes[#writes + 1] = int(time + 2000000)
  end
  if #writes > 0 then
    redis.call('HSET', part.hash, unpack(writes))
    touch(part.hash, part.layout, time, ttl)
    if #record > 1 then redis.call('PEXPIRE', part.ends, int(ttl / 1000)) end
  end
  births[p] = int(part.layout and born(part.layout) or #writes > 0 and time or 0)
end
return {takes and 0 or (fits and 0 or 1), int(time), table.concat(births, ' '), table.concat(digits), unpack(reply)}
",
    )
});

/// Turns what a reservation holds into what was used, once. An id that is not known yet is remembered, so that its
/// reservation comes too late. Returns windows that reached alert shares or made debt: field, the share reported before, the
/// one that is reached, debt, used, end.
///
/// Keys: hash, set, channel. Arguments: id, time or nothing, alert shares, or `undo` for what was taken a moment ago as if it
/// had never been, then fields and the amounts used.
pub(super) static SETTLE: LazyLock<Script> = LazyLock::new(|| {
    script(
        r"
local hash, ends, id = KEYS[1], KEYS[2], ARGV[1]
local time = tonumber(ARGV[2]) or now()
local head = redis.call('HMGET', hash, '#', 'r' .. id, 'w')
local record = head[2]
if record == 'x' or is_later(head[1]) then return {} end
local events, writes, used = {}, {'r' .. id, 'x'}, {}
for n = 4, #ARGV, 2 do used[ARGV[n]] = tonumber(ARGV[n + 1]) end
if record then
  local holds = cmsgpack.unpack(record)
  for n = 2, #holds, 5 do
    local name, kind, taken, mark, rate = holds[n], holds[n + 1], holds[n + 2], holds[n + 3], holds[n + 4]
    local value = redis.call('HGET', hash, name)
    if value then
      local c = read(value)
      if kind == 's' then
        if holds[1] == 1 then c.held = c.held - taken end
      elseif kind == 'b' then
        settle_bucket(c, taken, rate, mark, used[name] or taken, time, ARGV[3] == 'undo')
      else
        local owed = c.carried + c.debt
        settle_window(c, mark, taken, used[name] or taken)
        local from, to = reached(c, ARGV[3])
        local debt = math.max(0, c.carried + c.debt - owed)
        if to > 0 or debt > 0 then
          events[#events + 1] = {name, from, to, int(debt), int(c.carried + c.spent), int(c.ends)}
        end
      end
      writes[#writes + 1] = name
      writes[#writes + 1] = write(c)
    end
  end
end
redis.call('HSET', hash, unpack(writes))
redis.call('ZADD', ends, int(time + REMEMBERED), id)
if not record then touch(hash, head[1], time, UNSETTLED) end
if head[3] and tonumber(head[3]) > time then redis.call('PUBLISH', KEYS[3], '') end
return events
",
    )
});

/// Renews reservations. One that had lost its slots has them again. Returns 5 if the hash or one of them
/// was lost, as [`DECIDE`] does.
///
/// Keys: hash, set. Arguments: lease, the time at which the process knows the hash to have begun, or 0, ids.
pub(super) static RENEW: LazyLock<Script> = LazyLock::new(|| {
    script(
        r"
local hash, ends, time = KEYS[1], KEYS[2], now()
local layout = redis.call('HGET', hash, '#')
if is_later(layout) then return 0 end
if tonumber(ARGV[2]) > 0 and tonumber(ARGV[2]) ~= born(layout) then return 5 end
for n = 3, #ARGV do
  local record = redis.call('HGET', hash, 'r' .. ARGV[n])
  if not record then return 5 end
  if record ~= 'x' then
    local holds = cmsgpack.unpack(record)
    if holds[1] ~= 1 then
      holds[1] = 1
      for at = 2, #holds, 5 do
        local value = holds[at + 1] == 's' and redis.call('HGET', hash, holds[at])
        if value then
          local c = read(value)
          c.held = c.held + holds[at + 2]
          redis.call('HSET', hash, holds[at], write(c))
        end
      end
      redis.call('HSET', hash, 'r' .. ARGV[n], cmsgpack.pack(holds))
    end
    redis.call('ZADD', ends, int(time + tonumber(ARGV[1])), ARGV[n])
  end
end
return 0
",
    )
});

/// Forgets the accounts of a tag. Those with open reservations keep what is reserved.
///
/// Keys: hash. Arguments: none.
pub(super) static FORGET: LazyLock<Script> = LazyLock::new(|| {
    script(
        r#"
local fields, open = redis.call('HGETALL', KEYS[1]), {}
if is_later(redis.call('HGET', KEYS[1], '#')) then return redis.error_reply(LATER) end
local function account(name) return string.match(name, '^(.*),"') end
for n = 1, #fields, 2 do
  if string.sub(fields[n], 1, 1) == 'r' and fields[n + 1] ~= 'x' then
    local holds = cmsgpack.unpack(fields[n + 1])
    for at = 2, #holds, 5 do open[account(holds[at])] = true end
  end
end
for n = 1, #fields, 2 do
  local name = fields[n]
  if string.sub(name, 1, 1) == '[' and not open[account(name)] then
    redis.call('HDEL', KEYS[1], name)
  elseif string.sub(name, 1, 1) == '[' then
    local c = read(fields[n + 1])
    if c.kind == 'b' then c.left, c.level = c.left + c.level, 0 end
    if c.kind == 'w' then c.spent, c.carried, c.debt = 0, 0, 0 end
    redis.call('HSET', KEYS[1], name, write(c))
  end
end
return 0
"#,
    )
});

/// Takes over a window as [`ImportMode`](crate::window::ImportMode) says. Returns 1 if the account has changed.
///
/// Keys: hash. Arguments: time to live, `replace`, `greater` or `spent`, field, window.
pub(super) static IMPORT: LazyLock<Script> = LazyLock::new(|| {
    script(
        r"
local mode, name, known = ARGV[2], ARGV[3], redis.call('HGET', KEYS[1], ARGV[3])
local layout = redis.call('HGET', KEYS[1], '#')
if is_later(layout) then return redis.error_reply(LATER) end
local c, ours = read(ARGV[4]), known and read(known)
if ours and mode == 'greater' and (ours.ends > c.ends or (ours.ends == c.ends and total(ours) >= total(c))) then return 0 end
if ours and mode == 'spent' then
  if ours.ends ~= c.ends then return 0 end
  ours.spent, ours.debt = c.spent, ours.debt + math.max(0, c.spent - ours.spent)
  ours.debt = math.min(ours.debt, over(ours))
  c = ours
end
redis.call('HSET', KEYS[1], name, write(c))
touch(KEYS[1], layout, now(), tonumber(ARGV[1]))
return 1
",
    )
});

fn script(text: &str) -> Script {
    Script::new(&[LIBRARY, text].concat())
}

/// Returns a script that decides.
pub(super) fn decision(text: &str) -> Script {
    Script::new(&[LIBRARY, DECISION, text].concat())
}
