//! Tickets: names of leases in Redis.

use bytes::Bytes;
use llm_redis::Key as RedisKey;

/// Keys of a lease in Redis, and the token that identifies its holder.
///
/// The token is the server's time at the claim in microseconds since 1970, `-`, and a random number. A claimant takes
/// the lease over if one of its tags was invalidated since that time.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Ticket {
    pub(super) entry: RedisKey,
    pub(super) lease: RedisKey,
    pub(super) channel: RedisKey,
    pub(super) token: Bytes,
}
