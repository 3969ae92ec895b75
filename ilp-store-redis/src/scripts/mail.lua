#!lua
-- Leaves a letter. KEYS: slot, mail. ARGV: the letter. Returns its number, or nothing if nobody ever opened the slot.
if redis.call('HEXISTS', KEYS[1], 'epoch') == 0 then
    return false
end
redis.call('HINCRBY', KEYS[1], 'letters', 1)
-- Read again: what HINCRBY returns is a Lua number.
local no = redis.call('HGET', KEYS[1], 'letters')
redis.call('XADD', KEYS[2], no, 'b', ARGV[1])
return no
