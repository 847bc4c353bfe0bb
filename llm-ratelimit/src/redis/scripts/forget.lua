-- Forgets counters. Those of accounts with open reservations keep what is reserved.
--
-- Keys: hash, set. Arguments: fields.
local hash, call, sub, of = KEYS[1], redis.call, string.sub, changes(now())
if not of.is_known(call('HGET', hash, '#')) then return redis.error_reply(of.LATER) end
local function account(name) return string.match(name, '^(.*),"') end
local held = {}
local fields = call('HGETALL', hash)
for n = 1, #fields, 2 do
  local r = sub(fields[n], 1, 1) == 'r' and of.parse(sub(fields[n], 2), fields[n + 1])
  for _, hold in ipairs(r and r.holds or {}) do held[account(hold.name)] = true end
end
for _, name in ipairs(ARGV) do
  local value = call('HGET', hash, name)
  local c = value and of.read(value)
  if not held[account(name)] then
    call('HDEL', hash, name)
  elseif c then
    if c.kind == 'b' then c.left, c.level = c.left + c.level, 0 end
    if c.kind == 'w' then c.spent, c.carried, c.debt = 0, 0, 0 end
    call('HSET', hash, name, of.write(c))
  end
end
return 0
