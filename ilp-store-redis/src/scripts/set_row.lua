#!lua
-- Replaces an account's row, unless it has changed since it was read.
-- KEYS: account, coldBalance, accounts, changes. ARGV: version as it was read, or nothing; id; cold balance; fields and values in turn.
-- Returns the row as it is if it has changed, nothing else.
local seen, id, cold = unpack(ARGV, 1, 3)
if (redis.call('HGET', KEYS[1], 'version') or '') ~= seen then
    return {redis.call('HGETALL', KEYS[1]), redis.call('GET', KEYS[2])}
end
redis.call('INCR', KEYS[4])
-- Read again: what INCR returns is a Lua number.
redis.call('ZADD', KEYS[3], redis.call('GET', KEYS[4]), id)
redis.call('SET', KEYS[2], cold)
-- Lua can't pass more than some 8,000 values at once.
for at = 4, #ARGV, 4000 do
    redis.call('HSET', KEYS[1], unpack(ARGV, at, math.min(at + 3999, #ARGV)))
end
return {}
