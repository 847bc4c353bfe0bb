use bytes::Bytes;
use llm_redis::Key as RedisKey;

/// Lease: its keys, and the token that identifies its holder.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Ticket {
    pub(super) entry: RedisKey,
    pub(super) lease: RedisKey,
    pub(super) channel: RedisKey,
    pub(super) token: Bytes,
}
