//! Errors of calls and settings.

use std::{fmt, sync::Arc, time::Duration};

/// Kind of an [`Error`]. Errors that need the same action of the caller or the operator have the same kind.
///
/// # Example
///
/// ```
/// use llm_redis::{ErrorKind, Redis};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), llm_redis::Error> {
/// // No server listens on this port.
/// let redis = Redis::builder("redis://127.0.0.1:1").spawn()?;
/// let action = match redis.time().await.unwrap_err().kind() {
///     ErrorKind::Unavailable => "retry later",
///     ErrorKind::Auth | ErrorKind::NotPermitted => "fix the credentials",
///     _ => "see the message",
/// };
/// assert_eq!(action, "retry later");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A part of the URL is wrong, or needs a feature that is not enabled.
    InvalidUrl,
    /// A setting other than the URL is invalid.
    InvalidSetting,
    /// The server refused the credentials, because they are wrong, missing, or not configured on the server.
    Auth,
    /// The user has no permission for this command or key.
    NotPermitted,
    /// The server does not know a required command.
    MissingCommand,
    /// The server is a read-only replica.
    ReadOnly,
    /// The server belongs to a Cluster, but the URL has no `+cluster` scheme.
    ClusterRedirect,
    /// The keys of one script are in different slots.
    CrossSlot,
    /// The server is loading its data, or its Cluster or primary is down.
    NotReady,
    /// The connection could not be opened, or broke.
    Connection,
    /// No response arrived in time. The server may still execute a command that was sent.
    Timeout,
    /// Too many calls are in flight, or too many channels are subscribed.
    Busy,
    /// The breaker is open, so the call was refused without being sent.
    Unavailable,
    /// The server's memory is full, and its eviction policy allows no eviction.
    OutOfMemory,
    /// The server refused the command, or failed to execute it, for another reason.
    Server,
    /// The reply is not in the Redis protocol.
    Protocol,
    /// The reply is well-formed but of another type than expected.
    UnexpectedReply,
    /// The client was closed.
    Closed,
}

/// Error of a call or a setting.
///
/// It is cheap to clone. The error's text says what happened and what to do. The text contains neither secrets of the
/// URL nor values of keys.
///
/// # Example
///
/// ```
/// use llm_redis::Redis;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), llm_redis::Error> {
/// // No server listens on this port.
/// let redis = Redis::builder("redis://:secret@127.0.0.1:1").spawn()?;
/// let error = redis.time().await.unwrap_err();
/// assert!(error.is_outage() && !error.may_have_run());
/// assert!(error.to_string().contains("127.0.0.1:1: the connection was refused"));
/// assert!(!error.to_string().contains("secret"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Error(Arc<Repr>);

struct Repr {
    kind: ErrorKind,
    message: Box<str>,
    sent: bool,
    retry_after: Option<Duration>,
    source: Option<Error>,
}

impl Error {
    /// Returns the kind of the error.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Returns `true` for an outage, which is an error of the kind `Auth`, `NotReady`, `Connection`, `Timeout`, `Busy`,
    /// `Unavailable`, `Protocol` or `Closed`.
    ///
    /// Each layer that uses this client has a policy of its own for such an outage. All other errors concern one
    /// command or setting.
    pub fn is_outage(&self) -> bool {
        matches!(
            self.0.kind,
            ErrorKind::Auth
                | ErrorKind::NotReady
                | ErrorKind::Connection
                | ErrorKind::Timeout
                | ErrorKind::Busy
                | ErrorKind::Unavailable
                | ErrorKind::Protocol
                | ErrorKind::Closed
        )
    }

    /// Returns `true` if the server may have executed the command, or may still execute it, although no response
    /// arrived.
    pub fn may_have_run(&self) -> bool {
        self.0.sent
    }

    /// Returns the time until the next probe of an open breaker; `None` for errors of other kinds.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Creates the error of a script that the server executed and that refused the call by the script's own rules. The
    /// message says what to do about the refusal.
    ///
    /// ```
    /// use llm_redis::{Error, ErrorKind};
    ///
    /// let error = Error::refused_by_script("the journal has another layout; update this process");
    /// assert_eq!((error.kind(), error.is_outage()), (ErrorKind::Server, false));
    /// ```
    pub fn refused_by_script(message: &str) -> Self {
        Self::new(ErrorKind::Server, message)
    }

    pub(crate) fn new(kind: ErrorKind, message: impl Into<Box<str>>) -> Self {
        Self(Arc::new(Repr { kind, message: message.into(), sent: false, retry_after: None, source: None }))
    }

    /// Creates the error of a command that was sent, and that the server may therefore have executed.
    pub(crate) fn sent(kind: ErrorKind, message: impl Into<Box<str>>) -> Self {
        Self(Arc::new(Repr { kind, message: message.into(), sent: true, retry_after: None, source: None }))
    }

    /// Creates the error of a call that an open breaker refused. `cause` is the error that opened the breaker.
    pub(crate) fn unavailable(cause: &Self, retry_after: Duration) -> Self {
        let message = "Redis is unavailable, so calls fail at once until a probe succeeds";
        Self(Arc::new(Repr {
            kind: ErrorKind::Unavailable,
            message: message.into(),
            sent: false,
            retry_after: Some(retry_after),
            source: Some(cause.clone()),
        }))
    }

    pub(crate) fn closed() -> Self {
        Self::new(ErrorKind::Closed, "this Redis client was closed, or the runtime that it was spawned on has ended")
    }

    pub(crate) fn busy() -> Self {
        Self::new(ErrorKind::Busy, "too many calls are in flight; raise max_in_flight, or send fewer at a time")
    }

    pub(crate) fn setting(message: &str) -> Self {
        Self::new(ErrorKind::InvalidSetting, message)
    }

    /// Creates the error for a reply whose type was not expected.
    pub(crate) fn unexpected(expected: &str, got: &str) -> Self {
        Self::new(ErrorKind::UnexpectedReply, format!("the reply should be {expected} and is {got}"))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        match &self.0.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error").field("kind", &self.0.kind).field("message", &self.to_string()).finish()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_ref().map(|source| source as _)
    }
}
