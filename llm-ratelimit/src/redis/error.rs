/// Error of opening accounts in Redis.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RedisError {
    /// The server evicts keys when its memory is full.
    #[error(
        "the server's maxmemory-policy is {0}, so it may forget what was spent: set it to noeviction, use another server \
         than the cache's, or accept it with .allow_eviction()"
    )]
    Evicts(String),
    /// The server cannot be reached, or it refuses the connection or a command.
    #[error("{0}")]
    Server(String),
    /// The accounts were opened outside of a tokio runtime.
    #[error("accounts in Redis spawn tasks: open them in a tokio runtime")]
    NoRuntime,
}
