-- Takes over a window. Returns 1 if the account has changed.
--
-- Keys: hash, set. Arguments: time to live, `replace`, `greater` or `spent`, field, window.
local mode, name, of = ARGV[2], ARGV[3], changes(now())
local layout, known = unpack(redis.call('HMGET', KEYS[1], '#', name))
if not of.is_known(layout) then return redis.error_reply(of.LATER) end
local c, ours, total = of.read(ARGV[4]), known and of.read(known), of.total
if ours and mode == 'greater' and (ours.ends > c.ends or ours.ends == c.ends and total(ours) >= total(c)) then return 0 end
if ours and mode == 'spent' then
  if ours.ends ~= c.ends then return 0 end
  ours.spent, ours.debt = c.spent, ours.debt + math.max(0, c.spent - ours.spent)
  ours.debt = math.min(ours.debt, of.over(ours))
  c = ours
else
  -- No call is left to settle what was reserved.
  c.spent, c.reserved = c.spent + c.reserved, 0
end
redis.call('HSET', KEYS[1], name, of.write(c))
of.touch(layout, tonumber(ARGV[1]))
return 1
