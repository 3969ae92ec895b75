#!lua
-- Makes a batch part of a slot: all of it, or nothing.
-- KEYS: slot, log, mail, hotBalance.
-- ARGV: epoch; opener, or nothing; number of the batch before; number; blob; first batch still needed, or nothing;
--       first letter still needed, or nothing; how many of the rest are accounts and balances in turn; the others are accounts to remove.
-- Returns epoch, opener and number of the last batch: the caller compares them. No number here is more than a string of digits.
local epoch, opener, before, seq, blob, cut, mail, set = unpack(ARGV, 1, 8)
local is = redis.call('HMGET', KEYS[1], 'epoch', 'opener', 'seq', 'cut')
if is[1] ~= epoch or (opener ~= '' and is[2] ~= opener) or is[3] ~= before then
    return {is[1], is[2], is[3]}
end

local function later(a, b)
    return #a > #b or (#a == #b and a > b)
end

-- Lua can't pass more than some 8,000 values at once.
local function each(from, to, call)
    for at = from, to, 4000 do
        call(unpack(ARGV, at, math.min(at + 3999, to)))
    end
end

redis.call('XADD', KEYS[2], seq, 'b', blob)
redis.call('HSET', KEYS[1], 'seq', seq)
local last_set = 8 + tonumber(set)
each(9, last_set, function(...) redis.call('HSET', KEYS[4], ...) end)
each(last_set + 1, #ARGV, function(...) redis.call('HDEL', KEYS[4], ...) end)
local needed = is[4] or ''
if cut ~= '' and later(cut, needed) then
    needed = cut
    redis.call('HSET', KEYS[1], 'cut', needed)
end
if needed ~= '' then
    -- Whole nodes only, and not too many: the next commit goes on with it.
    redis.call('XTRIM', KEYS[2], 'MINID', '~', needed, 'LIMIT', 1000)
end
if mail ~= '' then
    redis.call('XTRIM', KEYS[3], 'MINID', mail)
end
return {is[1], is[2], seq}
