-- The accounts of one hash tag are fields of one hash: `#` is the number of the layout, the time of the last noted use, the
-- time for which the keys live on, and the time at which the hash began, as doubles; `w` is the time until which another
-- process waits for room, `r` and an id a reservation, and every other field a counter. Beside the hash is a sorted set of
-- ids, by the time at which a reservation loses its slots, or at which an id can be forgotten.
--
-- A counter is the letter of its kind and its numbers as doubles, which are integers but for the levels of buckets. A bucket
-- `b` has its level and all that ever left, in microseconds of drain, its time, the amount and the period of its rate, and the
-- amount that processes have leased, which does not drain. `w` is a window, and `s` are slots. What a later version adds
-- is carried through: fields, kinds of counters, and bytes behind the numbers.
--
-- A reservation is `l` while it is leased and `o` after it, the number of its last partial settlement, and of each counter
-- the field, the amount, the mark, and the amount of the rate. The mark of a window is its end, and that of an amount in a
-- bucket its place; -1 for a leased amount. An `x` is a reservation that has ended. If its settlement reached anything, the
-- record goes on as that of a reservation does, so that every version can read it: behind the name of a field are the amount
-- used and the end of the window, and its numbers are the share reported before, the one that is reached, and the debt.

-- Returns the functions that most decisions do not need. It uses no local of the script, so that it costs these nothing.
local function changes(time)
  local hash, ends, call, to_bytes, to_numbers, sub = KEYS[1], KEYS[2], redis.call, struct.pack, struct.unpack, string.sub
  local min, max, SKEW, HOLD = math.min, math.max, 1000000, '<I2c0ddd'
  local of = {REMEMBERED = 5000000, UNSETTLED = 3600000000,
    LATER = 'a later version has changed the layout of the accounts: update this process'}

  -- Returns true if no later version has changed the layout.
  function of.is_known(layout) return not layout or sub(layout, 1, 1) == '1' end

  -- Notes a use, after which the keys live on for a time. Returns the time at which the hash began.
  function of.touch(layout, ttl)
    local lasts, born, rest = 0, time, ''
    if layout then
      local _
      _, lasts, born, rest = to_numbers('<ddd', layout, 2)
      rest = sub(layout, rest)
    end
    lasts = max(lasts, ttl)
    call('HSET', hash, '#', '1' .. to_bytes('<ddd', time, lasts, born) .. rest)
    -- This member stays, so that the set is never empty and keeps its expiry.
    call('ZADD', ends, '+inf', '')
    call('PEXPIRE', hash, lasts / 1000)
    call('PEXPIRE', ends, lasts / 1000)
    return born
  end

  function of.read(value)
    local kind = sub(value, 1, 1)
    if kind == 'b' then
      local level, left, at, amount, period, leased, after = to_numbers('<dddddd', value, 2)
      return {kind = kind, level = level, left = left, at = at, amount = amount, period = period, leased = leased,
        rest = sub(value, after)}
    elseif kind == 'w' then
      local end_, ordinal, before, spent, reserved, carried, debt, limit, alerted, after =
        to_numbers('<ddddddddd', value, 2)
      return {kind = kind, ends = end_, ordinal = ordinal, before = before, spent = spent, reserved = reserved,
        carried = carried, debt = debt, limit = limit, alerted = alerted, rest = sub(value, after)}
    elseif kind == 's' then
      local held, after = to_numbers('<d', value, 2)
      return {kind = kind, held = held, rest = sub(value, after)}
    end
  end

  function of.write(c)
    if c.kind == 'b' then
      return 'b' .. to_bytes('<dddddd', c.level, c.left, c.at, c.amount, c.period, c.leased) .. c.rest
    elseif c.kind == 'w' then
      return 'w' .. to_bytes('<ddddddddd', c.ends, c.ordinal, c.before, c.spent, c.reserved, c.carried, c.debt, c.limit,
        c.alerted) .. c.rest
    end
    return 's' .. to_bytes('<d', c.held) .. c.rest
  end

  function of.total(w) return w.carried + w.spent + w.reserved end
  function of.over(w) return max(0, of.total(w) - w.limit) end

  local function flow(b)
    local passed = time - b.at
    if passed < 0 and passed > -SKEW then return end
    b.at = time
    local drained = min(max(0, passed), b.level)
    b.level, b.left = b.level - drained, b.left + drained
  end

  -- Returns true if a text is that of a reservation that has ended.
  function of.has_ended(text) return text and sub(text, 1, 1) == 'x' end

  -- Returns what the settlement of an ended reservation reached.
  function of.reached(text)
    local events, at, name, from, to, debt, used, until_ = {}, 10
    while at <= #text do
      name, from, to, debt, at = to_numbers(HOLD, text, at)
      used, until_ = to_numbers('<dd', name, #name - 15)
      events[#events + 1] = {sub(name, 1, -17), from, to, debt, used, until_}
    end
    return events
  end

  -- Returns a reservation as a table, or nil if it has ended or there is none.
  function of.parse(id, text)
    if not text or of.has_ended(text) then return end
    local r = {id = id, state = sub(text, 1, 1), partial = to_numbers('<d', text, 2), holds = {}}
    local at, hold = 10
    while at <= #text do
      hold = {}
      hold.name, hold.taken, hold.mark, hold.rate, at = to_numbers(HOLD, text, at)
      r.holds[#r.holds + 1] = hold
    end
    return r
  end

  function of.reservation(id) return of.parse(id, call('HGET', hash, 'r' .. id)) end

  -- Writes the text of a reservation, and counters.
  local function note(id, text, lasts, counters)
    call('HSET', hash, 'r' .. id, text, unpack(counters))
    call('ZADD', ends, time + lasts, id)
  end

  -- Writes a reservation that loses its slots, or is settled as it is, after a time, and counters.
  function of.keep(r, lasts, counters)
    local text = r.state .. to_bytes('<d', r.partial)
    for _, hold in ipairs(r.holds) do
      text = text .. to_bytes(HOLD, #hold.name, hold.name, hold.taken, hold.mark, hold.rate)
    end
    note(r.id, text, lasts, counters)
  end

  -- Remembers for a while that a reservation has ended, and for longer what its settlement reached. Writes counters, too.
  function of.remember(id, events, counters)
    local text = #events > 0 and 'x' .. to_bytes('<d', 0) or 'x'
    for _, event in ipairs(events) do
      local name, from, to, debt, used, until_ = unpack(event)
      name = name .. to_bytes('<dd', used, until_)
      text = text .. to_bytes(HOLD, #name, name, from, to, debt)
    end
    note(id, text, #events > 0 and of.UNSETTLED or of.REMEMBERED, counters)
  end

  -- Calls `how` with each counter that a reservation holds something of. Returns their fields and values, to be written.
  function of.change(r, how)
    local names, counters = {}, {}
    for n, hold in ipairs(r.holds) do names[n] = hold.name end
    local values = #names > 0 and call('HMGET', hash, unpack(names))
    for n, hold in ipairs(r.holds) do
      local c = values[n] and of.read(values[n])
      if c then
        how(c, hold, r)
        local last = #counters
        counters[last + 1], counters[last + 2] = hold.name, of.write(c)
      end
    end
    return counters
  end

  -- Gives back a part of an amount. In a bucket it is the part that has not drained yet.
  function of.give_back(c, hold, n)
    if c.kind == 'w' and hold.mark == c.ends then
      c.reserved = max(0, c.reserved - n)
      c.debt = min(c.debt, of.over(c))
    elseif c.kind == 'w' and hold.mark == c.before then
      c.carried = max(0, c.carried - n)
    elseif c.kind == 'b' then
      flow(c)
      local unit, mark = c.period / c.amount, hold.mark * hold.rate / c.amount
      local back = min(n * unit, max(0, mark + hold.taken * unit - max(c.left, mark)), c.level)
      c.level, c.left = c.level - back, c.left + back
      -- What remains ends where it did.
      hold.mark, hold.rate = mark + n * unit, c.amount
    end
    hold.taken = hold.taken - n
  end

  -- Turns an amount into what was used.
  function of.settle(c, hold, r, used)
    local kept = min(used, hold.taken)
    if c.kind == 's' then
      if r.state == 'l' then c.held = max(0, c.held - hold.taken) end
      return
    end
    if kept < hold.taken then of.give_back(c, hold, hold.taken - kept) end
    if c.kind == 'w' then
      if hold.mark == c.ends then c.reserved, c.spent = max(0, c.reserved - kept), c.spent + kept end
      c.spent = c.spent + (used - kept)
      c.debt = min(c.debt + (used - kept), of.over(c))
    elseif used > kept then
      flow(c)
      c.level = c.level + (used - kept) * c.period / c.amount
    end
  end

  -- Turns what was leased into the amount that calls took of it. In a bucket it begins to drain.
  function of.cut(c, hold, r, kept)
    if c.kind == 's' then
      if r.state == 'l' then c.held = max(0, c.held - hold.taken) end
      hold.taken = 0
    elseif c.kind == 'b' and hold.mark < 0 then
      flow(c)
      c.leased = max(0, c.leased - hold.taken)
      hold.taken, hold.mark, hold.rate = kept, c.left + c.level, c.amount
      c.level = c.level + kept * c.period / c.amount
    elseif kept < hold.taken then
      of.give_back(c, hold, hold.taken - kept)
    else
      if c.kind == 'b' then c.level = c.level + (kept - hold.taken) * c.period / c.amount end
      if c.kind == 'w' and hold.mark == c.ends then c.reserved = c.reserved + kept - hold.taken end
      hold.taken = kept
    end
  end

  local function end_lease(c, hold)
    if c.kind == 's' then c.held = max(0, c.held - hold.taken) end
    if c.kind == 'b' and hold.mark < 0 then of.cut(c, hold, nil, hold.taken) end
  end

  -- Announces room to calls of other processes, if they wait for it by the field `w`.
  function of.announce(waiting)
    if waiting and tonumber(waiting) > time then call('PUBLISH', KEYS[3], '') end
  end

  -- Ends leases, and reservations that have not been settled for long after it. Returns true if there are any.
  function of.sweep()
    local ids, fields = call('ZRANGEBYSCORE', ends, '-inf', time, 'LIMIT', 0, 100), {'#'}
    if #ids == 0 then return false end
    for n, id in ipairs(ids) do fields[n + 1] = 'r' .. id end
    local texts = call('HMGET', hash, unpack(fields))
    if not of.is_known(texts[1]) then return false end
    for n, id in ipairs(ids) do
      local r = of.parse(id, texts[n + 1])
      if r and r.state == 'l' then
        local counters = of.change(r, end_lease)
        r.state = 'o'
        of.keep(r, of.UNSETTLED, counters)
      else
        local counters = r and of.change(r, function(c, hold) of.settle(c, hold, r, hold.taken) end) or {}
        if #counters > 0 then call('HSET', hash, unpack(counters)) end
        call('HDEL', hash, 'r' .. id)
        call('ZREM', ends, id)
      end
    end
    return true
  end

  -- Cuts the lease before. Returns the function that grants an amount of a rule in its place, of what is free: what the calls of
  -- the process need, or a part if that is more. Returns nil if the time is not within a window.
  --
  -- Behind the rules, the numbers are 1 if calls wait for the lease, the number of parts of what is free of which it has one,
  -- and 1 if calls took nothing of the lease before; then for each rule the amount that calls took of that one, the amount of it
  -- that the process goes on to use, and the amount that all its calls need together; and its id.
  function of.lease(lasts, numbers, rules)
    local held, kept, sure, all, at, kind, starts, until_, parts, is_ended, _ = {}, {}, {}, {}, rules
    for _ = 3, #ARGV do
      kind, _, _, _, starts, until_, _, _, at = to_numbers('<c1ddddddd', numbers, at)
      if kind == 'w' and (time < starts or time >= until_) then return end
    end
    _, parts, is_ended, at = to_numbers('<ddd', numbers, at)
    for n = 3, #ARGV do kept[ARGV[n]], sure[ARGV[n]], all[ARGV[n]], at = to_numbers('<ddd', numbers, at) end
    local last = of.reservation(sub(numbers, at))
    local was_leased = last and last.state == 'l'
    if last then
      for _, hold in ipairs(last.holds) do held[hold.name] = {taken = hold.taken, mark = hold.mark} end
      local counters = of.change(last, function(c, hold, r) of.cut(c, hold, r, kept[hold.name] or hold.taken) end)
      last.state = 'l'
      if is_ended == 1 then of.remember(last.id, {}, counters) else of.keep(last, lasts, counters) end
    end
    return function(name, kind, take, need, free, end_)
      local before, in_use, goes_on = held[name], kind == 's' and kept[name] or 0, sure[name]
      if not before or end_ and before.mark ~= end_ or not end_ and not was_leased then goes_on = in_use end
      local spare = max(0, max(0, free) - goes_on)
      local has_room, amount = need <= goes_on + spare, goes_on
      if has_room and take > goes_on then
        amount = goes_on + min(take - goes_on, spare, max(all[name] - goes_on, math.floor(spare / parts)))
      end
      if before and amount + kept[name] - in_use < before.taken then of.announce(call('HGET', hash, 'w')) end
      return has_room, amount
    end
  end

  -- Returns the numbers of the rules for which an open lease has too little, and its amounts.
  function of.leased(id, numbers, rules)
    local lacks, leased, at, need, _ = '', '', rules
    for n, hold in ipairs(of.reservation(id).holds) do
      _, _, need, _, _, _, _, _, at = to_numbers('<c1ddddddd', numbers, at)
      if need > hold.taken then lacks = lacks .. to_bytes('<I2', n - 1) end
      leased = leased .. to_bytes('<d', hold.taken)
    end
    return lacks, leased
  end

  return of
end
