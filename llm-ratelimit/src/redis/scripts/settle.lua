-- Turns what a reservation holds into what was used, once. An id that is not known yet is remembered, so that its reservation
-- comes too late. A partial settlement gives back what is beyond the given amounts. Returns windows that reached alert
-- shares or made debt, and the same if it is asked again: field, the share reported before, the one that is reached, debt,
-- used, end.
--
-- Keys: hash, set, channel. Arguments: id, alert shares as bytes, and as doubles time or -1, number of the partial
-- settlement or infinity; then fields and the amounts used.
local hash, id, shares = KEYS[1], ARGV[1], ARGV[2]
local exact, number = struct.unpack('<dd', ARGV[3])
local time = exact >= 0 and exact or now()
local of, is_final = changes(time), number == math.huge
-- Before it is read, because its own lease may be among those that end.
of.sweep()
local layout, known, waiting = unpack(redis.call('HMGET', hash, '#', 'r' .. id, 'w'))
if not of.is_known(layout) then return {} end
if of.has_ended(known) then return is_final and of.reached(known) or {} end
local r = of.parse(id, known)
if not is_final and (not r or number <= r.partial) then return {} end
local used, events = {}, {}
for n = 4, #ARGV, 2 do used[ARGV[n]] = tonumber(ARGV[n + 1]) end

local function settle(c, hold)
  local amount, owed = used[hold.name] or hold.taken, c.kind == 'w' and c.carried + c.debt
  if not is_final then
    if amount < hold.taken then of.give_back(c, hold, hold.taken - amount) end
    return
  end
  of.settle(c, hold, r, amount)
  if c.kind ~= 'w' then return end
  local from, to = c.alerted, 0
  for n = 1, #shares do
    local share = string.byte(shares, n)
    if (c.carried + c.spent) * 100 >= c.limit * share then to = math.max(to, share) end
  end
  if to > from then c.alerted = to else from, to = 0, 0 end
  local debt = math.max(0, c.carried + c.debt - owed)
  if to > 0 or debt > 0 then events[#events + 1] = {hold.name, from, to, debt, c.carried + c.spent, c.ends} end
end

local counters = r and of.change(r, settle) or {}
if is_final then
  of.remember(id, events, counters)
else
  r.partial = number
  of.keep(r, of.UNSETTLED, counters)
end
if not r then of.touch(layout, of.UNSETTLED) end
of.announce(waiting)
return events
