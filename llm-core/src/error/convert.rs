use std::convert::Infallible;

use super::{BoxError, Charge, Error, ErrorKind};
use crate::fingerprint::SerializeError;

impl From<BoxError> for Error {
    /// Converts a boxed error, such as one that a layer of tower returned. If it is, wraps or was caused by an
    /// [`Error`] of this crate, the result keeps that error's kind and charge. With the feature `tower`, errors of
    /// tower's own layers get the corresponding kinds. Any other error has an unknown charge, because the call may have
    /// been sent.
    fn from(error: BoxError) -> Self {
        let other = match error.downcast::<Self>() {
            Ok(error) => return *error,
            Err(other) => other,
        };
        let causes = std::iter::successors(other.source(), |cause| cause.source());
        match causes.filter_map(|cause| cause.downcast_ref::<Self>()).next().cloned() {
            Some(own) => own.with_message(other.to_string()).with_source(other),
            None => classify(other),
        }
    }
}

impl From<SerializeError> for Error {
    fn from(error: SerializeError) -> Self {
        Self::from_cause(ErrorKind::InvalidRequest, error)
    }
}

impl From<Infallible> for Error {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

#[cfg(feature = "tower")]
fn classify(other: BoxError) -> Error {
    use tower::{buffer::error::Closed, load_shed::error::Overloaded, timeout::error::Elapsed};

    // A timeout drops the inner call, perhaps after the call was sent.
    let (kind, charge) = if other.is::<Elapsed>() {
        (ErrorKind::Timeout, Charge::Unknown)
    } else if other.is::<Overloaded>() {
        (ErrorKind::Overloaded, Charge::None)
    } else if other.is::<Closed>() {
        (ErrorKind::Closed, Charge::None)
    } else {
        (ErrorKind::Other, Charge::Unknown)
    };
    Error::new(kind, other.to_string()).with_charge(charge).with_source(other)
}

#[cfg(not(feature = "tower"))]
fn classify(other: BoxError) -> Error {
    Error::new(ErrorKind::Other, other.to_string()).with_charge(Charge::Unknown).with_source(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_boxed_and_unboxed_is_the_same() {
        let error: BoxError = Error::new(ErrorKind::OverBudget, "no money").with_status(402).into();
        let error = Error::from(error);
        assert_eq!((error.kind(), error.status()), (ErrorKind::OverBudget, Some(402)));
    }

    #[derive(Debug, thiserror::Error)]
    #[error("the job failed")]
    struct Wrapped(#[source] Error);

    #[test]
    fn error_wrapped_keeps_kind_and_charge() {
        let own = Error::new(ErrorKind::RateLimited, "busy").with_status(429);
        let error = Error::from(BoxError::from(Wrapped(own)));
        assert_eq!((error.kind(), error.status(), error.charge()), (ErrorKind::RateLimited, Some(429), Charge::None));
        assert_eq!(error.message(), "the job failed");
        assert!(std::error::Error::source(&error).is_some_and(|source| source.is::<Wrapped>()));
    }

    #[test]
    fn error_conversion_keeps_text_and_source() {
        let error = Error::from(BoxError::from("disk on fire"));
        assert_eq!((error.kind(), error.message()), (ErrorKind::Other, "disk on fire"));
        assert_eq!(error.charge(), Charge::Unknown);
        assert!(std::error::Error::source(&error).is_some());
    }
}
