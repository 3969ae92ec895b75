#!lua flags=no-writes
-- A slot but for its log, and all rows, at one instant. KEYS: slot, hotBalance, mail, accounts. ARGV: prefix.
local rows = {}
for at, id in ipairs(redis.call('ZRANGE', KEYS[4], 0, -1)) do
    local tag = ':{' .. id .. '}'
    rows[at] = {id, redis.call('HGETALL', ARGV[1] .. 'account' .. tag), redis.call('GET', ARGV[1] .. 'coldBalance' .. tag)}
end
return {
    redis.call('HMGET', KEYS[1], 'epoch', 'seq', 'cut'), redis.call('HGETALL', KEYS[2]), redis.call('XRANGE', KEYS[3], '-', '+'), rows,
}
