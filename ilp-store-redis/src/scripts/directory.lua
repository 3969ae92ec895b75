#!lua flags=no-writes
-- All slots, and the rows that have changed after a certain change, at one instant.
-- KEYS: slots, accounts, changes. ARGV: prefix; number of that change, 0 for all rows.
-- Returns the number of the last change, the slots, the rows.
local slots, rows = {}, {}
for at, name in ipairs(redis.call('SMEMBERS', KEYS[1])) do
    local tag = ':{' .. name .. '}'
    slots[at] = {
        name, redis.call('HMGET', ARGV[1] .. 'slot' .. tag, 'epoch', 'seq'), redis.call('HGETALL', ARGV[1] .. 'hotBalance' .. tag),
        redis.call('HMGET', ARGV[1] .. 'lease' .. tag, 'holder', 'address'), redis.call('PTTL', ARGV[1] .. 'lease' .. tag),
        redis.call('XLEN', ARGV[1] .. 'mail' .. tag),
    }
end
for at, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. ARGV[2], '+inf')) do
    local tag = ':{' .. id .. '}'
    rows[at] = {id, redis.call('HGETALL', ARGV[1] .. 'account' .. tag), redis.call('GET', ARGV[1] .. 'coldBalance' .. tag)}
end
return {redis.call('GET', KEYS[3]) or '0', slots, rows}
