//! Scripts that the server runs. Each has the same effect if it runs twice.
//!
//! All keys of a script have one hash tag, so that a Cluster can run it. Times are microseconds of the server since
//! 1970.

use std::sync::LazyLock;

use llm_redis::Script;

/// Returns the value, unless there is none or the caller has already seen it. Otherwise grants the lease, or returns
/// the time for which another process still has the lease, in milliseconds. A lease whose call began before an
/// invalidation is taken over.
///
/// Keys: entry, lease. Arguments: token, milliseconds, stamp of the value seen, microsecond of the last invalidation.
pub(super) static CLAIM: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local stamp = redis.call('GETRANGE', KEYS[1], 0, 15)
         if stamp ~= '' and stamp ~= ARGV[3] then return redis.call('GET', KEYS[1]) end
         local holder = redis.call('GET', KEYS[2])
         if holder == ARGV[1] then return 0 end
         local began = holder and tonumber(string.match(holder, '^(%d+)%-'))
         if not holder or (began and began < tonumber(ARGV[4])) then
           redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
           return 0
         end
         return math.max(1, redis.call('PTTL', KEYS[2]))",
    )
});

/// Stores a value, and ends the lease under which its call was sent, even if the value cannot be stored. Waiters get a
/// message with the result, unless the value cannot be stored and another process has taken the lease, because they
/// then wait for that process.
///
/// Keys: entry, lease, channel. Arguments: value, milliseconds or 0, token.
pub(super) static STORE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local stored
         if ARGV[2] == '0' then stored = redis.pcall('SET', KEYS[1], ARGV[1])
         else stored = redis.pcall('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) end
         local holder = redis.call('GET', KEYS[2])
         if holder == ARGV[3] then redis.call('DEL', KEYS[2]) end
         if not stored['err'] then redis.call('PUBLISH', KEYS[3], 'stored')
         elseif not holder or holder == ARGV[3] then redis.call('PUBLISH', KEYS[3], 'over') end
         return stored",
    )
});

/// Stores a value that was copied from another store, unless the server has a value that was stored at the same time or
/// later.
///
/// Keys: entry. Arguments: value, milliseconds or 0.
pub(super) static COPY: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local known = redis.call('GETRANGE', KEYS[1], 0, 7)
         if known ~= '' then
           local a, b = struct.unpack('>I4I4', known)
           local c, d = struct.unpack('>I4I4', ARGV[1])
           if a > c or (a == c and b >= d) then return 0 end
         end
         if ARGV[2] == '0' then redis.call('SET', KEYS[1], ARGV[1])
         else redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) end
         return 1",
    )
});

/// Renews a lease. Returns 1 if the caller still held the lease, and 0 otherwise.
///
/// Keys: lease. Arguments: token, milliseconds.
pub(super) static RENEW: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
         return redis.call('PEXPIRE', KEYS[1], ARGV[2])",
    )
});

/// Releases a lease and sends the message to its waiters, unless another process has taken the lease.
///
/// Keys: lease, channel. Arguments: token, message.
pub(super) static RELEASE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local holder = redis.call('GET', KEYS[1])
         if holder and holder ~= ARGV[1] then return 0 end
         redis.call('DEL', KEYS[1])
         return redis.call('PUBLISH', KEYS[2], ARGV[2])",
    )
});

/// Returns the invalidations since a timestamp, and the server's time. Begins an epoch if there is none, or if the key
/// holds a value of another type. If the caller knows another epoch, returns all invalidations.
///
/// Keys: set. Arguments: epoch known, timestamp known, number of a new epoch.
pub(super) static SYNC: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local at = string.format('%d', now())
         local kind = redis.call('TYPE', KEYS[1]).ok
         if kind ~= 'zset' and kind ~= 'none' then redis.call('DEL', KEYS[1]) end
         local epoch = redis.call('ZSCORE', KEYS[1], 'epoch')
         if not epoch then
           redis.call('ZADD', KEYS[1], ARGV[3], 'epoch', at, 'floor')
           epoch = ARGV[3]
         end
         local since = epoch == ARGV[1] and '(' .. ARGV[2] or '0'
         local floor = redis.call('ZSCORE', KEYS[1], 'floor')
         local dropped = redis.call('ZRANGEBYSCORE', KEYS[1], since, '+inf', 'WITHSCORES')
         for n = 2, #dropped, 2 do dropped[n] = string.format('%d', dropped[n]) end
         return {string.format('%d', epoch), string.format('%d', floor), at, dropped}",
    )
});

/// Invalidates a tag and notifies all processes. Invalidates all entries if no tag is given, or if the set holds too
/// many tags.
///
/// Keys: set, channel. Arguments: tag or nothing, largest number of tags, number of a new epoch.
pub(super) static INVALIDATE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local at = now()
         local kind = redis.call('TYPE', KEYS[1]).ok
         if kind ~= 'zset' and kind ~= 'none' then redis.call('DEL', KEYS[1]) end
         local last = redis.call('ZREVRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2]
         if last and tonumber(last) >= at then at = tonumber(last) + 1 end
         at = string.format('%d', at)
         if not redis.call('ZSCORE', KEYS[1], 'epoch') then
           redis.call('ZADD', KEYS[1], ARGV[3], 'epoch', at, 'floor')
         end
         local is_new = ARGV[1] ~= '' and not redis.call('ZSCORE', KEYS[1], ARGV[1])
         if ARGV[1] == '' or (is_new and redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) + 2) then
           redis.call('ZREMRANGEBYSCORE', KEYS[1], 0, '+inf')
           redis.call('ZADD', KEYS[1], at, 'floor')
         end
         if ARGV[1] ~= '' then redis.call('ZADD', KEYS[1], at, ARGV[1]) end
         redis.call('PUBLISH', KEYS[2], at)
         return at",
    )
});
