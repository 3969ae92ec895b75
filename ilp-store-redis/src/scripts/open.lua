#!lua
-- Raises a slot's epoch, unless somebody else has it.
-- KEYS: slot, lease, slots.
-- ARGV: epoch as it was seen, or nothing; epoch as it shall be; opener; slot's name; holder; address, or nothing; milliseconds.
-- A script that comes late, when nobody waits for it any more, finds another epoch and does nothing.
local seen, epoch, opener, name, holder, address, ms = unpack(ARGV)
local other = redis.call('HGET', KEYS[2], 'holder')
if other and other ~= holder then
    return {'held', other, redis.call('PTTL', KEYS[2])}
end
local is = redis.call('HGET', KEYS[1], 'epoch') or ''
if is ~= seen then
    return {'changed', is}
end
if is == '' then
    redis.call('HSET', KEYS[1], 'seq', '0')
    redis.call('SADD', KEYS[3], name)
end
redis.call('HSET', KEYS[1], 'epoch', epoch, 'opener', opener)
redis.call('HSET', KEYS[2], 'holder', holder, 'address', address)
redis.call('PEXPIRE', KEYS[2], ms)
local opened = redis.call('HMGET', KEYS[1], 'seq', 'cut')
return {'opened', opened[1], opened[2]}
