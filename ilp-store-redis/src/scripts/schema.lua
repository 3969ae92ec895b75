#!lua
-- Whose keys these are. KEYS: schema, slots, accounts. ARGV: what to write if there is nothing yet, or nothing.
-- Returns what is written there; nothing if nothing is; `without` if there are books without it.
local is = redis.call('GET', KEYS[1])
if is then
    return is
end
if redis.call('EXISTS', KEYS[2], KEYS[3]) > 0 then
    return 'without'
end
if ARGV[1] == '' then
    return false
end
redis.call('SET', KEYS[1], ARGV[1])
return ARGV[1]
