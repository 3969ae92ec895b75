#!lua flags=no-writes
-- An account's row at one instant. KEYS: account, coldBalance.
return {redis.call('HGETALL', KEYS[1]), redis.call('GET', KEYS[2])}
