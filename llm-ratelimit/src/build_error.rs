//! Errors of settings and plans, and the checks that find them.

use crate::{Limit, Plans, QuotaError, Unit, UnitName};

/// Error of invalid settings of a limiter, or of plans that a limiter with these settings cannot enforce.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A limit counts a unit that is neither built in nor declared.
    #[error(
        "the limit {limit} counts {unit:?}, which is neither built in nor declared: declare it on the builder with \
         .unit({unit:?}), or write the nearest known word, {nearest:?}, if that is meant"
    )]
    UnknownUnit {
        /// Text of the limit.
        limit: String,
        /// Unit in the limit, as it was written.
        unit: String,
        /// Most similar known unit.
        nearest: String,
    },
    /// A declared unit has the name of a built-in one, or a name that a quota cannot contain.
    #[error("{0:?} cannot be declared as a unit: it is built in, or no quota can name it; declare another word")]
    Unit(String),
    /// An alert share is zero.
    #[error(
        "an alert share of 0 % is reached before any call: give .alert_shares(…) whole percents from 1, or none for no alerts"
    )]
    AlertShare,
    /// A limit counts money, but the limiter has no prices to compute the cost of a call.
    #[error(
        "the limit {limit} counts money and the limiter has no prices, so that it would refuse every call: give the \
         builder a table with .prices(…), or state the price of unlisted models with .unknown_price(…)"
    )]
    NoPrices {
        /// Text of the limit.
        limit: String,
    },
    /// A limit is larger than the accounts can count exactly.
    #[error(
        "the limit {limit} is above {greatest} (of money in nano-dollars), up to which the accounts count exactly: lower \
         it, or leave it out if it is to bound nothing"
    )]
    TooLarge {
        /// Text of the limit.
        limit: String,
        /// Largest amount that a limit can have, in tokens, nano-dollars, calls or units.
        greatest: u64,
    },
}

/// Returns an error for plans with a limit that cannot be enforced, because its unit is unknown, because it counts
/// money although there are no prices, or because it is larger than the accounts can count exactly.
pub(crate) fn check(plans: &Plans, declared: &[UnitName], has_prices: bool, greatest: u64) -> Result<(), BuildError> {
    let own = plans.iter().flat_map(|(_, plan)| plan.limits.iter().chain(&plan.shared));
    for limit in plans.global().iter().chain(own) {
        match limit.quota().unit() {
            Unit::Units(unit) if !declared.contains(unit) => {
                let (limit, nearest) = (limit.to_string(), unit.nearest(declared));
                return Err(BuildError::UnknownUnit { limit, unit: unit.shown(), nearest });
            }
            Unit::Money if !has_prices => return Err(BuildError::NoPrices { limit: limit.to_string() }),
            _ if limit.quota().amount().max(limit.quota().most()) > greatest => {
                return Err(BuildError::TooLarge { limit: limit.to_string(), greatest });
            }
            _ => {}
        }
    }
    Ok(())
}

/// Returns an error for a declared unit that no limit can count.
pub(crate) fn check_unit(unit: &UnitName) -> Result<(), BuildError> {
    let limit: Result<Limit, QuotaError> = format!("1 {unit}/day").parse();
    match limit {
        Ok(limit) if *limit.quota().unit() == Unit::Units(unit.clone()) => Ok(()),
        _ => Err(BuildError::Unit(unit.shown())),
    }
}
