-- Renews reservations. One that had lost its slots has them again. Returns 5 if the hash or one of them was lost.
--
-- Keys: hash, set. Arguments: lease, the time at which the process knows the hash to have begun, or 0, ids.
local time, lease, known_born = now(), tonumber(ARGV[1]), tonumber(ARGV[2])
local of, fields, scores, status = changes(time), {'#'}, {}, 0
for n = 3, #ARGV do fields[n - 1] = 'r' .. ARGV[n] end
local texts = redis.call('HMGET', KEYS[1], unpack(fields))
if not texts[1] then return 5 end
if not of.is_known(texts[1]) then return 0 end
if known_born > 0 and known_born ~= struct.unpack('<d', texts[1], 18) then return 5 end
for n = 3, #ARGV do
  local r = of.parse(ARGV[n], texts[n - 1])
  if not texts[n - 1] then status = 5 end
  if r and r.state == 'l' then
    local last = #scores
    scores[last + 1], scores[last + 2] = string.format('%d', time + lease), r.id
  elseif r then
    local counters = of.change(r, function(c, hold) if c.kind == 's' then c.held = c.held + hold.taken end end)
    r.state = 'l'
    of.keep(r, lease, counters)
  end
end
if #scores > 0 then redis.call('ZADD', KEYS[2], unpack(scores)) end
of.sweep()
return status
