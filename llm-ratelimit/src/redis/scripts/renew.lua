-- Renews reservations. One that had lost its slots has them again. Returns 5 if the hash or one of them was lost.
--
-- Keys: hash, set. Arguments: lease, the time at which the process knows the hash to have begun, or 0, ids.
local time, lease, known_born = now(), tonumber(ARGV[1]), tonumber(ARGV[2])
local of, layout = changes(time), redis.call('HGET', KEYS[1], '#')
if not of.is_known(layout) then return 0 end
if known_born > 0 and known_born ~= of.born(layout) then return 5 end
for n = 3, #ARGV do
  local r, text = of.reservation(ARGV[n])
  if not text then return 5 end
  if r then
    if r.state ~= 'l' then
      of.change(r, function(c, hold) if c.kind == 's' then c.held = c.held + hold.taken end end)
      r.state = 'l'
      of.keep(r, lease)
    else
      redis.call('ZADD', KEYS[2], time + lease, ARGV[n])
    end
  end
end
of.sweep()
return 0
