-- Takes what a call needs in all given accounts, or nothing. Returns the time; the time at which the hash began, or a negative
-- status; the counters. After a refusal and for a lease, the numbers of the rules without room follow as pairs of bytes, and
-- for a lease its amounts.
--
-- Statuses: -2 bounds or deadline that the server's time is not within, -3 an id that has ended, -4 a layout that this version
-- does not know, -5 a hash that began at another time than the process knows: it was lost.
--
-- Keys: hash, set, and for a lease the channel. Arguments: id, numbers, and the fields of all rules. The numbers are the mode
-- (`takes`, `looks`, `waits` for a call that waits, `force`, `lease`), and as doubles lease, latest time, time or -1, time to
-- live, and the time at which the process knows the hash to have begun or 0. Then come 57 bytes for each rule: kind, amounts to
-- take and to have room for (or -1), limit, of a bucket its period and burst, and of a window its start, end, ordinal and
-- greatest distance. Those of a lease go on as `lease` in the library says.
local hash, ends, call, to_bytes, to_numbers, sub = KEYS[1], KEYS[2], redis.call, struct.pack, struct.unpack, string.sub
local names, id, numbers, TOLERANCE, SKEW = ARGV, ARGV[1], ARGV[2], 0.01, 1000000
local mode, lease, latest, exact, ttl, known_born, rules = to_numbers('<c5ddddd', numbers)
local time = exact >= 0 and exact or now()
if time > latest then return {time, -2} end
local reservation, takes, grant, _ = 'r' .. id, mode ~= 'looks'
if mode == 'lease' or mode == 'looks' and call('ZCOUNT', ends, '-inf', time) > 0 then changes(time).sweep() end
while true do
  local values = call('HMGET', hash, '#', reservation, unpack(names, 3))
  local layout, known, touched, lasts, born = values[1], values[2], 0, 0, 0
  if layout then
    if sub(layout, 1, 1) ~= '1' then return {time, -4} end
    touched, lasts, born = to_numbers('<ddd', layout, 2)
  end
  if takes then
    if known_born > 0 and known_born ~= born then return {time, -5} end
    if known then
      if sub(known, 1, 1) == 'x' then return {time, -3} end
      takes = false
    elseif mode == 'lease' then
      grant = changes(time).lease(lease, numbers, rules)
      if not grant then return {time, -2} end
      values = call('HMGET', hash, '#', reservation, unpack(names, 3))
    end
  end
  local fits, lacks, leased, record, at = true, '', '', 'l\0\0\0\0\0\0\0\0', rules
  local writes, written = {nil, nil, nil, nil, nil, nil, nil, nil}, 0
  for n = 3, #names do
    local value, name, counter, mark, has_room, is_changed, rest = values[n], names[n]
    local kind, take, need, limit, first, second, ordinal, longest, next_at = to_numbers('<c1ddddddd', numbers, at)
    at = next_at
    local amount, rate = takes and take > 0 and take or 0, 0
    if kind == 'b' then
      local period, burst, unit, level, left, since, used = first, second, first / limit, 0, 0, time, 0
      if value then
        level, left, since, rate, _, used, rest = to_numbers('<dddddd', value, 2)
        local passed = time - since
        if passed >= 0 or passed <= -SKEW then
          if passed < 0 then passed, is_changed = 0, true end
          if passed > level then passed = level end
          since, level, left = time, level - passed, left + passed
        end
        if rate ~= limit then
          level, left, is_changed = level * rate / limit, left * rate / limit, true
        end
      end
      has_room = need < 0 or need <= burst and level + (used + need) * unit <= burst * unit + TOLERANCE
      mark, rate = left + level, limit
      if grant then
        has_room, amount = grant(name, kind, take, need, math.floor((burst * unit - level + TOLERANCE) / unit) - used)
        used, mark = used + amount, -1
      else
        level = level + amount * unit
      end
      counter = to_bytes('<c1dddddd', kind, level, left, since, limit, period, used)
    elseif kind == 'w' then
      local starts, until_ = first, second
      if time < starts or time >= until_ then return {time, -2} end
      local number, before, spent, reserved, carried, debt, most, alerted = 0, 0, 0, 0, 0, 0, 0, 0
      mark = 0
      if value then
        mark, number, before, spent, reserved, carried, debt, most, alerted, rest = to_numbers('<ddddddddd', value, 2)
      end
      if time >= mark then
        local passed = mark > 0 and math.max(0, ordinal - number - 1) or 0
        local owed = debt + math.max(0, carried - most)
        carried = math.max(0, owed - math.min(limit, most) * passed)
        before = mark >= starts and mark or 0
        mark, number, spent, reserved, debt, alerted, is_changed = until_, ordinal, 0, 0, 0, 0, value
      elseif limit ~= most or mark - time > longest then
        is_changed = true
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
      if grant then has_room, amount = grant(name, kind, take, need, free, mark) end
      reserved = reserved + amount
      counter = to_bytes('<c1ddddddddd', kind, mark, number, before, spent, reserved, carried, debt, limit, alerted)
    else
      local held = 0
      if value then
        held, rest = to_numbers('<d', value, 2)
      end
      has_room, mark = need < 0 or need <= limit - held, 0
      if grant then has_room, amount = grant(name, kind, take, need, limit - held) end
      counter = to_bytes('<c1d', kind, held + amount)
    end
    if value and rest <= #value then counter = counter .. sub(value, rest) end
    values[n] = counter
    if not (has_room or known and not grant or mode == 'force') then
      fits, lacks = false, lacks .. to_bytes('<I2', n - 3)
    end
    if grant then leased = leased .. to_bytes('<d', amount) end
    if takes and take >= 0 then
      record, is_changed = to_bytes('<c0I2c0ddd', record, #name, name, amount, mark, rate), true
    end
    if is_changed then
      writes[written + 1], writes[written + 2], written = name, counter, written + 2
    end
  end
  if fits or not takes or grant then
    if mode == 'lease' and known then lacks, leased = changes(time).leased(id, numbers, rules) end
    if takes and #record > 9 then
      writes[written + 1], writes[written + 2], written = reservation, record, written + 2
      call('ZADD', ends, string.format('%d', time + lease), id)
    end
    if mode == 'waits' and not fits or mode == 'lease' and to_numbers('<d', numbers, at) == 1 then
      writes[written + 1], writes[written + 2], written = 'w', time + 2000000, written + 2
    end
    if written > 0 then
      call('HSET', hash, unpack(writes, 1, written))
      if lasts < ttl or time - touched >= ttl / 4 then born = changes(time).touch(layout, ttl) end
    end
    values[1], values[2] = time, born
    if lacks ~= '' or leased ~= '' then values[#names + 1], values[#names + 2] = lacks, leased end
    return values
  end
  -- What others have lost comes back before a call is refused.
  takes = call('ZCOUNT', ends, '-inf', time) > 0 and changes(time).sweep()
end
