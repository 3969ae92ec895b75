#!lua
-- Lets a lease run anew, for who has opened the slot.
-- KEYS: slot, lease. ARGV: epoch; opener, or nothing; holder; address, or nothing; milliseconds.
-- Returns epoch and opener: the caller compares them.
local epoch, opener, holder, address, ms = unpack(ARGV)
local is = redis.call('HMGET', KEYS[1], 'epoch', 'opener')
if is[1] == epoch and (opener == '' or is[2] == opener) then
    redis.call('HSET', KEYS[2], 'holder', holder, 'address', address)
    redis.call('PEXPIRE', KEYS[2], ms)
end
return is
