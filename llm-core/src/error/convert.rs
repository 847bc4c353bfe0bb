use std::convert::Infallible;

use super::{BoxError, Charge, Error, ErrorKind};

impl From<BoxError> for Error {
    /// Finds the family's own error inside, so that other layers may stand between ours; with feature `tower`, tower's
    /// own errors get their kinds. Of anything else it is not known whether the call was sent.
    fn from(error: BoxError) -> Self {
        match error.downcast::<Self>() {
            Ok(error) => *error,
            Err(foreign) => adopt(foreign),
        }
    }
}

impl From<Infallible> for Error {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

#[cfg(feature = "tower")]
fn adopt(foreign: BoxError) -> Error {
    use tower::{buffer::error::Closed, load_shed::error::Overloaded, timeout::error::Elapsed};

    // The inner call of an elapsed time-out was dropped, perhaps after it was sent.
    let (kind, charge) = if foreign.is::<Elapsed>() {
        (ErrorKind::Timeout, Charge::Unknown)
    } else if foreign.is::<Overloaded>() {
        (ErrorKind::Overloaded, Charge::None)
    } else if foreign.is::<Closed>() {
        (ErrorKind::Closed, Charge::None)
    } else {
        (ErrorKind::Other, Charge::Unknown)
    };
    Error::new(kind, foreign.to_string()).with_charge(charge).with_source(foreign)
}

#[cfg(not(feature = "tower"))]
fn adopt(foreign: BoxError) -> Error {
    Error::new(ErrorKind::Other, foreign.to_string()).with_charge(Charge::Unknown).with_source(foreign)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_the_way_through_a_box() {
        let error: BoxError = Error::new(ErrorKind::OverBudget, "no money").with_status(402).into();
        let error = Error::from(error);
        assert_eq!((error.kind(), error.status()), (ErrorKind::OverBudget, Some(402)));
    }

    #[test]
    fn a_foreign_error_keeps_its_text_and_source() {
        let error = Error::from(BoxError::from("disk on fire"));
        assert_eq!((error.kind(), error.message()), (ErrorKind::Other, "disk on fire"));
        assert_eq!(error.charge(), Charge::Unknown);
        assert!(std::error::Error::source(&error).is_some());
    }
}
