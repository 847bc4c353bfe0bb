use std::{fmt, sync::Arc, time::Duration};

/// The kinds of errors, by what can be done about them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A part of the URL is wrong, or needs a feature that is off.
    InvalidUrl,
    /// A setting beside the URL makes no sense.
    InvalidSetting,
    /// The password is wrong, missing, or not wanted.
    Auth,
    /// The user may not run this command, or not on this key.
    NotPermitted,
    /// The server does not know a command that is needed.
    MissingCommand,
    /// The server is a replica that takes no writes.
    ReadOnly,
    /// The server belongs to a Cluster, and the URL does not say so.
    ClusterRedirect,
    /// Keys of one script or batch live in different slots.
    CrossSlot,
    /// The server is loading, or its Cluster or primary is down.
    NotReady,
    /// No connection, or it broke.
    Connection,
    /// No answer in time; a command that was sent may run all the same.
    Timeout,
    /// Too many commands are in flight.
    Busy,
    /// The breaker is open: the server is away, and nobody waits for it.
    Unavailable,
    /// The server's memory is full and its policy does not make room.
    OutOfMemory,
    /// The server refused or failed the command for another reason.
    Server,
    /// What came back is not Redis' protocol.
    Protocol,
    /// The reply is well-formed and not of the type that was asked for.
    UnexpectedReply,
    /// It was closed.
    Closed,
}

/// Why Redis did not do what it was to do. Cheap to clone; no secret of the URL and no value is in any of its texts.
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
    /// What kind it is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether Redis could not be asked at all, or did not answer: an outage, to which each layer has its own answer.
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

    /// Whether the command may have run, or may yet, although there is no answer.
    pub fn may_have_run(&self) -> bool {
        self.0.sent
    }

    /// When the breaker tries next; known of an open breaker only.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    pub(crate) fn new(kind: ErrorKind, message: impl Into<Box<str>>) -> Self {
        Self(Arc::new(Repr { kind, message: message.into(), sent: false, retry_after: None, source: None }))
    }

    pub(crate) fn sent(kind: ErrorKind, message: impl Into<Box<str>>) -> Self {
        Self(Arc::new(Repr { kind, message: message.into(), sent: true, retry_after: None, source: None }))
    }

    /// The breaker is open, because of an error before, until the next probe.
    pub(crate) fn open(cause: &Self, retry_after: Duration) -> Self {
        let message = "Redis is away, so it is not asked until a probe finds it again";
        Self(Arc::new(Repr {
            kind: ErrorKind::Unavailable,
            message: message.into(),
            sent: false,
            retry_after: Some(retry_after),
            source: Some(cause.clone()),
        }))
    }

    pub(crate) fn closed() -> Self {
        Self::new(ErrorKind::Closed, "this Redis handle was closed, or the runtime that it was made in has ended")
    }

    pub(crate) fn busy() -> Self {
        Self::new(ErrorKind::Busy, "too many commands are in flight; raise max_in_flight, or ask less")
    }

    pub(crate) fn setting(message: &str) -> Self {
        Self::new(ErrorKind::InvalidSetting, message)
    }

    pub(crate) fn unexpected(wanted: &str, got: &str) -> Self {
        Self::new(ErrorKind::UnexpectedReply, format!("the reply should be {wanted} and is {got}"))
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
