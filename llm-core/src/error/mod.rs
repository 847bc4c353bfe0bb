//! The error of all crates.

mod attempt;
mod convert;
mod kind;
mod text;

use std::{error::Error as StdError, fmt, sync::Arc, time::Duration};

pub use self::attempt::FailedAttempt;
pub use self::kind::{Charge, ErrorKind, LimitScope, LimitWindow};
use self::text::Text;
use crate::{extensions::HeaderFields, limits::VendorLimits, receipt::Accounting};

/// A boxed error of any type, as tower's layers return it.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// Error of a call.
///
/// Cheap to clone, so that all waiters of a shared call get it. The error's text holds no API key, and no URL that
/// contains a key.
///
/// ```
/// use std::time::Duration;
/// use llm_core::{Charge, Error, ErrorKind};
///
/// let error = Error::new(ErrorKind::RateLimited, "too many requests a minute")
///     .with_retry_after(Duration::from_secs(7))
///     .with_charge(Charge::None);
/// assert!(error.is_retryable());
/// assert_eq!(error.to_string(), "rate limited: too many requests a minute");
/// ```
#[derive(Clone)]
pub struct Error(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    message: Text,
    status: Option<u16>,
    code: Option<Text>,
    request_id: Option<Arc<str>>,
    retry_after: Option<Duration>,
    retryable: Option<bool>,
    scope: Option<LimitScope>,
    charge: Charge,
    limits: Option<Arc<VendorLimits>>,
    accounting: Option<Arc<Accounting>>,
    /// Charged attempts of the same call that were made before the attempt of this error.
    earlier: Vec<FailedAttempt>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
    header_fields: Option<fn(&Error) -> HeaderFields>,
}

impl Error {
    /// Creates an error of a kind, with a message that says what happened and, if there is one, the remedy.
    ///
    /// Its charge is [`Charge::None`] until [`with_charge`](Self::with_charge) sets another.
    pub fn new(kind: ErrorKind, message: impl Into<Arc<str>>) -> Self {
        Self::with_text(kind, Text::Shared(message.into()))
    }

    /// Creates an error of a kind whose message is the text of `cause`, which also becomes its
    /// [`source`](std::error::Error::source). The text is built when it is first read, so an error whose text is not
    /// read costs no formatting.
    ///
    /// ```
    /// use llm_core::{Error, ErrorKind};
    ///
    /// let parsed: Result<u32, Error> = "many".parse().map_err(|cause| Error::from_cause(ErrorKind::InvalidRequest, cause));
    /// assert_eq!(parsed.unwrap_err().message(), "invalid digit found in string");
    /// ```
    pub fn from_cause(kind: ErrorKind, cause: impl StdError + Send + Sync + 'static) -> Self {
        let cause: Arc<dyn StdError + Send + Sync> = Arc::new(cause);
        Self::with_text(kind, Text::of(&cause)).edit(|inner| inner.source = Some(cause))
    }

    fn with_text(kind: ErrorKind, message: Text) -> Self {
        Self(Arc::new(Inner {
            kind,
            message,
            status: None,
            code: None,
            request_id: None,
            retry_after: None,
            retryable: None,
            scope: None,
            charge: Charge::None,
            limits: None,
            accounting: None,
            earlier: Vec::new(),
            source: None,
            header_fields: None,
        }))
    }

    /// Creates the error for a vendor's response with this HTTP status, for clients that do not read the body. The kind
    /// and the charge follow from the status: a refusal costs nothing, and the charge of a failure on the vendor's side
    /// is unknown.
    ///
    /// ```
    /// use std::time::Duration;
    /// use llm_core::{Charge, Error, ErrorKind};
    ///
    /// let error = Error::from_status(429).with_retry_after(Duration::from_secs(7));
    /// assert_eq!((error.kind(), error.charge()), (ErrorKind::RateLimited, Charge::None));
    /// assert_eq!(Error::from_status(500).charge(), Charge::Unknown);
    /// ```
    pub fn from_status(status: u16) -> Self {
        let is_refused = (400..500).contains(&status) || matches!(status, 503 | 529);
        let charge = if is_refused { Charge::None } else { Charge::Unknown };
        let message = format!("the vendor responded with status {status}");
        Self::new(ErrorKind::from_status(status), message).with_status(status).with_charge(charge)
    }

    /// Creates an error of the kind [`InvalidRequest`](ErrorKind::InvalidRequest), for a request that is refused before
    /// it is sent.
    pub fn invalid(message: impl Into<Arc<str>>) -> Self {
        Self::new(ErrorKind::InvalidRequest, message)
    }

    /// Replaces the message, which says what happened and, if there is one, the remedy.
    pub fn with_message(self, message: impl Into<Arc<str>>) -> Self {
        self.edit(|inner| inner.message = Text::Shared(message.into()))
    }

    /// Adds the error that caused this one.
    pub fn with_source(self, source: impl Into<BoxError>) -> Self {
        self.edit(|inner| inner.source = Some(source.into().into()))
    }

    /// Sets the time to wait before a retry.
    pub fn with_retry_after(self, after: Duration) -> Self {
        self.edit(|inner| inner.retry_after = Some(after))
    }

    /// Sets whether the call is retryable, as the vendor stated it. If this is not set, the kind decides.
    pub fn with_retryable(self, retryable: bool) -> Self {
        self.edit(|inner| inner.retryable = Some(retryable))
    }

    /// Sets the HTTP status of the vendor's response.
    pub fn with_status(self, status: u16) -> Self {
        self.edit(|inner| inner.status = Some(status))
    }

    /// Sets the vendor's own error code.
    pub fn with_code(self, code: impl Into<Arc<str>>) -> Self {
        self.edit(|inner| inner.code = Some(Text::Shared(code.into())))
    }

    /// Sets the vendor's own error code as [`with_code`](Self::with_code) does, but from a constant and without an
    /// allocation.
    pub fn with_static_code(self, code: &'static str) -> Self {
        self.edit(|inner| inner.code = Some(Text::Static(code)))
    }

    /// Sets the vendor's id of the request.
    pub fn with_request_id(self, id: impl Into<Arc<str>>) -> Self {
        self.edit(|inner| inner.request_id = Some(id.into()))
    }

    /// Sets the scope of the limit that was hit.
    pub fn with_scope(self, scope: LimitScope) -> Self {
        self.edit(|inner| inner.scope = Some(scope))
    }

    /// Sets the tokens that the failed call may be charged for. The charge replaces the charges of all attempts so far.
    pub fn with_charge(self, charge: Charge) -> Self {
        self.edit(|inner| {
            inner.charge = charge;
            inner.earlier.clear();
        })
    }

    /// Adds the attempts of `earlier`, an error of the same call that was returned before this one. A layer that
    /// retries adds the earlier attempts to the error that it returns, so that each attempt is priced by its own model
    /// and service class.
    pub fn with_earlier_attempts(self, earlier: &Self) -> Self {
        let charged = earlier.attempts().filter(|attempt| attempt.charge != Charge::None);
        let attempts: Vec<_> = charged.chain(self.0.earlier.iter().cloned()).collect();
        self.edit(|inner| inner.earlier = attempts)
    }

    /// Replaces the attempts by those of `other`, an error of the same call. A layer uses this for an error of its own
    /// that it returns in place of `other`, without having made a further attempt.
    ///
    /// ```
    /// use llm_core::{Charge, Error, ErrorKind, Usage};
    ///
    /// let failed = Error::new(ErrorKind::Server, "it broke").with_charge(Charge::Known(Usage::new(10, 1)));
    /// let error = Error::new(ErrorKind::Unavailable, "all are away").with_attempts_of(&failed);
    /// assert_eq!((error.attempts().count(), error.charge()), (1, failed.charge()));
    /// ```
    pub fn with_attempts_of(self, other: &Self) -> Self {
        let Inner { charge, accounting, earlier, .. } = &*other.0;
        self.edit(|inner| {
            (inner.charge, inner.accounting, inner.earlier) = (*charge, accounting.clone(), earlier.clone());
        })
    }

    /// Sets the limits that the vendor sent with the error.
    pub fn with_limits(self, limits: impl Into<Arc<VendorLimits>>) -> Self {
        self.edit(|inner| inner.limits = Some(limits.into()))
    }

    /// Sets the accounting data of the failed response that decide its price: model, service class, surcharges.
    pub fn with_accounting(self, accounting: impl Into<Arc<Accounting>>) -> Self {
        self.edit(|inner| inner.accounting = Some(accounting.into()))
    }

    /// Sets a function that returns the header fields for an HTTP client that gets this error. The function finds the
    /// cause in the error's source.
    ///
    /// ```
    /// use llm_core::{Error, ErrorKind};
    ///
    /// let error = Error::new(ErrorKind::RateLimited, "one call at a time")
    ///     .with_header_fields(|_| vec![("x-ratelimit-limit-requests".into(), "1".into())]);
    /// assert_eq!(error.header_fields().len(), 1);
    /// ```
    pub fn with_header_fields(self, fields: fn(&Self) -> HeaderFields) -> Self {
        self.edit(|inner| inner.header_fields = Some(fields))
    }

    /// Returns the header fields for an HTTP client that gets this error.
    pub fn header_fields(&self) -> HeaderFields {
        self.0.header_fields.map(|fields| fields(self)).unwrap_or_default()
    }

    /// Returns the kind, which tells the caller what to do.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Returns the message. It does not include the kind.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Returns the HTTP status of the vendor's response, if there was a response.
    pub fn status(&self) -> Option<u16> {
        self.0.status
    }

    /// Returns the vendor's own code, such as `insufficient_quota`.
    pub fn code(&self) -> Option<&str> {
        self.0.code.as_deref()
    }

    /// Returns the vendor's id of the request, for questions to its support.
    pub fn request_id(&self) -> Option<&str> {
        self.0.request_id.as_deref()
    }

    /// Returns the time to wait before a retry, if the vendor or a layer stated it.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Returns the scope of the limit that was hit.
    pub fn scope(&self) -> Option<LimitScope> {
        self.0.scope
    }

    /// Returns the tokens that the failed call may be charged for, as the sum over all its attempts.
    pub fn charge(&self) -> Charge {
        self.0.earlier.iter().fold(self.0.charge, |sum, attempt| sum + attempt.charge)
    }

    /// Returns the failed attempts of the call that may be charged, in the order in which they were made. The last
    /// attempt is the attempt of this error.
    pub fn attempts(&self) -> impl Iterator<Item = FailedAttempt> + '_ {
        let own = FailedAttempt { charge: self.0.charge, accounting: self.0.accounting.clone() };
        self.0.earlier.iter().cloned().chain([own])
    }

    /// Returns the limits that the vendor sent with the error.
    pub fn limits(&self) -> Option<&VendorLimits> {
        self.0.limits.as_deref()
    }

    /// Returns the accounting data of the response that failed, if it had begun.
    pub fn accounting(&self) -> Option<&Accounting> {
        self.0.accounting.as_deref()
    }

    /// Returns `true` if the same call may succeed later without a change to the call, the key or the account. The
    /// value of [`with_retryable`](Self::with_retryable) decides if it was set, otherwise the kind.
    pub fn is_retryable(&self) -> bool {
        use ErrorKind::{Incomplete, Malformed, Overloaded, RateLimited, Server, Timeout, Transport};
        self.0.retryable.unwrap_or(matches!(
            self.kind(),
            RateLimited | Overloaded | Server | Transport | Timeout | Malformed | Incomplete
        ))
    }

    /// Splits the error among the members of a merged call. Each member gets the share of every attempt's charge that
    /// is proportional to its weight.
    pub(crate) fn split(&self, weights: &[u64]) -> Vec<Self> {
        let mut shares = vec![Vec::new(); weights.len()];
        for attempt in self.attempts() {
            shares.iter_mut().zip(attempt.split(weights)).for_each(|(share, part)| share.push(part));
        }
        let error = |mut attempts: Vec<FailedAttempt>| match attempts.pop() {
            Some(FailedAttempt { charge, accounting }) => self.clone().edit(|inner| {
                (inner.charge, inner.accounting, inner.earlier) = (charge, accounting, attempts);
            }),
            None => self.clone(),
        };
        shares.into_iter().map(error).collect()
    }

    /// Adds the charge of a response that arrived and cannot be used, and its accounting data.
    pub(crate) fn with_response(self, response: &Accounting) -> Self {
        let mut accounting = Accounting::default();
        accounting.copy_response(response);
        self.with_charge(response.usage.map_or(Charge::Unknown, Charge::Known)).with_accounting(accounting)
    }

    fn edit(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.kind, self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner {
            kind,
            message,
            status,
            code,
            request_id,
            retry_after,
            scope,
            charge: _,
            limits: _,
            accounting: _,
            earlier: _,
            source,
            retryable,
            header_fields: _,
        } = &*self.0;
        let mut out = f.debug_struct("Error");
        out.field("kind", kind).field("message", message).field("charge", &self.charge());
        if let Some(code) = code {
            out.field("code", code);
        }
        if let Some(id) = request_id {
            out.field("request_id", id);
        }
        if let Some(status) = status {
            out.field("status", status);
        }
        if let Some(after) = retry_after {
            out.field("retry_after", after);
        }
        if let Some(retryable) = retryable {
            out.field("retryable", retryable);
        }
        if let Some(scope) = scope {
            out.field("scope", scope);
        }
        if let Some(source) = source {
            out.field("source", source);
        }
        out.finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A cause that counts how often it is read.
    #[derive(Debug, Default)]
    struct Cause(Arc<std::sync::atomic::AtomicUsize>);

    impl fmt::Display for Cause {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            f.write_str("it broke")
        }
    }

    impl StdError for Cause {}

    #[test]
    fn message_of_cause_is_built_once_read() {
        let cause = Cause::default();
        let reads = Arc::clone(&cause.0);
        let count = || reads.load(std::sync::atomic::Ordering::Relaxed);
        let error = Error::from_cause(ErrorKind::OverBudget, cause).with_static_code("used_up").with_status(429);
        assert_eq!((error.kind(), error.code(), count()), (ErrorKind::OverBudget, Some("used_up"), 0));
        assert!(error.source().is_some_and(|source| source.is::<Cause>()));
        assert_eq!((error.message(), error.to_string().as_str(), count()), ("it broke", "over budget: it broke", 1));
        assert_eq!((error.clone().message(), count()), ("it broke", 1));
    }

    #[test]
    fn unavailable_costs_nothing_and_is_not_retryable() {
        let error = Error::new(ErrorKind::Unavailable, "2 of 2 members have no money: add credit");
        assert_eq!((error.is_retryable(), error.charge()), (false, Charge::None));
        assert_eq!(error.to_string(), "unavailable: 2 of 2 members have no money: add credit");
    }

    #[test]
    fn retryable_by_vendor_statement_overrides_kind() {
        let error = Error::new(ErrorKind::Server, "failed");
        assert!(error.is_retryable());
        assert!(!error.clone().with_retryable(false).is_retryable());
        assert!(Error::invalid("odd").with_retryable(true).is_retryable());
        assert!(format!("{:?}", error.with_retryable(false)).contains("retryable: false"));
    }
}
