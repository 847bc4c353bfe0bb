-- Takes what a call needs in all given accounts, or nothing. Returns a status, the time, the time at which the hash began, a
-- digit for each rule (0 if it has no room), the amounts that are leased, and the counters.
--
-- Statuses: 0 taken, 1 no room, 2 bounds or deadline that the server's time is not within, 3 an id that has ended, 4 a layout
-- that this version does not know, 5 a hash that began at another time than the process knows: it was lost.
--
-- Keys: hash, set, channel. Arguments: mode (`take`, `look`, `wait` for a call that waits, `force`, `lease`), id, id of the
-- lease before, and as doubles lease, latest time, time or -1, time to live, the time at which the process knows the hash
-- to have begun or 0, and for a lease the number of parts of what is free of which it has one, 1 if calls wait for it, and 1 if
-- calls took nothing of the one before; then the fields of all rules, and their parameters: kind, and as doubles the amounts
-- to take and to have room for (or -1), limit, of a bucket its period and burst, of a window its start, end, ordinal and
-- greatest distance, and for a lease the amount that calls took of the one before, and the amount of it that the process goes
-- on to use.

-- Cuts the lease before. Returns the function that grants an amount of a rule in its place, of what is free: at most a part
-- beyond the need.
local function lease_of(of, lease, count)
  local max, to_numbers, held, kept, last = math.max, struct.unpack, {}, {}, of.reservation(ARGV[3])
  local parts, _, is_ended = to_numbers('<ddd', ARGV[4], 41)
  for n = 1, count do kept[ARGV[4 + n]] = to_numbers('<d', ARGV[4 + count + n], 58) end
  local was_leased = last and last.state == 'l'
  if last then
    for _, hold in ipairs(last.holds) do held[hold.name] = {taken = hold.taken, mark = hold.mark} end
    of.change(last, function(c, hold, r) of.cut(c, hold, r, kept[hold.name] or hold.taken) end)
    last.state = 'l'
    if is_ended == 1 then of.remember(last.id, {}) else of.keep(last, lease) end
  end
  return function(n, free, end_)
    local name, parameters = ARGV[4 + n], ARGV[4 + count + n]
    local before, in_use = held[name], string.sub(parameters, 1, 1) == 's' and kept[name] or 0
    local take, need = to_numbers('<dd', parameters, 2)
    local sure = to_numbers('<d', parameters, 66)
    if not before or end_ and before.mark ~= end_ or not end_ and not was_leased then sure = in_use end
    local spare = max(0, max(0, free) - sure)
    local has_room, amount = need <= sure + spare, sure
    if has_room and take > sure then
      amount = sure + math.min(take - sure, spare, max(need - sure, math.floor(spare / parts)))
    end
    if before and amount + kept[name] - in_use < before.taken then of.announce() end
    return has_room, amount
  end
end

local hash, ends, call, to_bytes, to_numbers, sub = KEYS[1], KEYS[2], redis.call, struct.pack, struct.unpack, string.sub
local mode, id, count = ARGV[1], ARGV[2], (#ARGV - 4) / 2
local lease, latest, exact, ttl, known_born = to_numbers('<ddddd', ARGV[4])
local time = exact >= 0 and exact or now()
if time > latest then return {2, time} end
local TOLERANCE, SKEW, HOLD = 0.01, 1000000, '<I2c0ddd'
-- What others have lost comes back before a call is refused.
local takes, sweeps, of, grant, _ = mode ~= 'look', mode == 'look' or mode == 'lease'
local values, layout, born, known, fits, rooms, leased, record, written
local writes, reply = {false, false, false, false, false, false, false, false}, {0, time, 0, '', '', false}
repeat
  if sweeps then
    of = of or changes(time)
    takes = of.sweep() and takes or takes and fits == nil
  end
  values = call('HMGET', hash, '#', 'r' .. id, unpack(ARGV, 5, 4 + count))
  layout, known, born = values[1], values[2], 0
  if layout then
    if sub(layout, 1, 1) ~= '1' then return {4, time} end
    local touched, lasts
    touched, lasts, born = to_numbers('<ddd', layout, 2)
    if lasts >= ttl and time - touched < ttl / 4 then ttl = 0 end
  end
  if mode ~= 'look' and known_born > 0 and known_born ~= born then return {5, time} end
  if mode ~= 'look' and known and sub(known, 1, 1) == 'x' then return {3, time} end
  if mode == 'lease' then
    for n = 1, count do
      local parameters = ARGV[4 + count + n]
      local _, _, _, starts, until_ = to_numbers('<ddddd', parameters, 2)
      if sub(parameters, 1, 1) == 'w' and (time < starts or time >= until_) then return {2, time} end
    end
    grant = not known and lease_of(of, lease, count)
    values = call('HMGET', hash, '#', 'r' .. id, unpack(ARGV, 5, 4 + count))
  end
  takes = takes and not known
  fits, rooms, leased, record, written = true, '', '', 'l\0\0\0\0\0\0\0\0', 0
  for n = 1, count do
    local name, parameters, value = ARGV[4 + n], ARGV[4 + count + n], values[n + 2]
    local kind, counter, mark, has_room, is_changed = sub(parameters, 1, 1)
    local take, need, limit = to_numbers('<ddd', parameters, 2)
    local amount, rate = takes and take > 0 and take or 0, 0
    if kind == 'b' then
      local period, burst = to_numbers('<dd', parameters, 26)
      local level, left, at, used, after = 0, 0, time, 0, ''
      if value then
        level, left, at, rate, _, used, after = to_numbers('<dddddd', value, 2)
        after = sub(value, after)
        local passed = time - at
        if passed >= 0 or passed <= -SKEW then
          if passed < 0 then passed, is_changed = 0, true end
          if passed > level then passed = level end
          at, level, left = time, level - passed, left + passed
        end
        if rate ~= limit then
          level, left, is_changed = level * rate / limit, left * rate / limit, true
        end
      end
      local unit = period / limit
      has_room = need < 0 or need <= burst and level + (used + need) * unit <= burst * unit + TOLERANCE
      mark, rate = left + level, limit
      if grant then
        has_room, amount = grant(n, math.floor((burst * unit - level + TOLERANCE) / unit) - used)
        used, mark = used + amount, -1
      else
        level = level + amount * unit
      end
      counter = 'b' .. to_bytes('<dddddd', level, left, at, limit, period, used) .. after
    elseif kind == 'w' then
      local starts, until_, ordinal, longest = to_numbers('<dddd', parameters, 26)
      if time < starts or time >= until_ then return {2, time} end
      local number, before, spent, reserved, carried, debt, most, alerted, after = 0, 0, 0, 0, 0, 0, 0, 0, ''
      mark = 0
      if value then
        mark, number, before, spent, reserved, carried, debt, most, alerted, after = to_numbers('<ddddddddd', value, 2)
        after = sub(value, after)
      end
      is_changed = time >= mark or limit ~= most or mark - time > longest
      if time >= mark then
        local passed = mark > 0 and math.max(0, ordinal - number - 1) or 0
        local owed = debt + math.max(0, carried - most)
        carried = math.max(0, owed - math.min(limit, most) * passed)
        before = mark >= starts and mark or 0
        mark, number, spent, reserved, debt, alerted = until_, ordinal, 0, 0, 0, 0
      elseif is_changed then
        if limit < most then
          debt, spent, carried = debt + math.max(0, carried - most), spent + carried, 0
        end
        if limit ~= most then debt = math.min(debt, math.max(0, carried + spent + reserved - limit)) end
        if mark - time > longest then
          carried, reserved, before, mark, number = carried + reserved, 0, mark, until_, ordinal
        end
      end
      local free = limit - carried - spent - reserved
      has_room = need < 0 or need <= free
      if grant then has_room, amount = grant(n, free, mark) end
      counter = 'w' ..
        to_bytes('<ddddddddd', mark, number, before, spent, reserved + amount, carried, debt, limit, alerted) .. after
    else
      local held, after = 0, ''
      if value then
        held, after = to_numbers('<d', value, 2)
        after = sub(value, after)
      end
      has_room, mark = need < 0 or need <= limit - held, 0
      if grant then has_room, amount = grant(n, limit - held) end
      counter = 's' .. to_bytes('<d', held + amount) .. after
    end
    has_room = has_room or known and not grant
    if not has_room then fits = false end
    rooms = rooms .. (has_room and '1' or '0')
    if grant then leased = leased .. to_bytes('<d', amount) end
    if takes and take >= 0 then
      record = record .. to_bytes(HOLD, #name, name, amount, mark, rate)
      writes[written + 1], writes[written + 2], written = name, counter, written + 2
    elseif value and is_changed then
      writes[written + 1], writes[written + 2], written = name, counter, written + 2
    end
    reply[5 + n] = counter
  end
  if mode == 'force' or mode == 'lease' then fits = true end
  local is_over = fits or not takes
  sweeps = not is_over
until is_over
if mode == 'lease' and known then
  rooms = ''
  for n, hold in ipairs(of.reservation(id).holds) do
    local need = to_numbers('<d', ARGV[4 + count + n], 10)
    rooms, leased = rooms .. (need <= hold.taken and '1' or '0'), leased .. to_bytes('<d', hold.taken)
  end
end
if takes and #record > 9 then
  writes[written + 1], writes[written + 2], written = 'r' .. id, record, written + 2
  call('ZADD', ends, string.format('%d', time + lease), id)
end
if mode == 'wait' and not fits or mode == 'lease' and to_numbers('<d', ARGV[4], 49) == 1 then
  writes[written + 1], writes[written + 2], written = 'w', time + 2000000, written + 2
end
if written > 0 then
  call('HSET', hash, unpack(writes, 1, written))
  if ttl > 0 then born = changes(time).touch(layout, ttl) end
end
reply[1], reply[3], reply[4], reply[5] = fits and 0 or 1, born, rooms, leased
return reply
