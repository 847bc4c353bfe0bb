//! Classification of vendors' errors: reading of their bodies, and the words that every vendor's rules look for.

mod body;
mod classification;
mod rules;
mod words;

pub(crate) use self::body::ErrorBody;
pub(crate) use self::classification::{Classification, may_pass};
pub(crate) use self::rules::{NO_STATUS, Rules, Sign, limit, money, row};
