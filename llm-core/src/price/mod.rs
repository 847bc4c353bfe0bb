//! Prices of tokens as integers, and tables of prices.

mod bill;
mod cost;
mod current;
mod distinct_names;
mod lookup;
mod model;
mod rate;
mod read;
mod sum;
mod table;
#[cfg(test)]
mod tests;
mod tier;
mod token;
mod unknown;

pub use self::bill::{Bill, BillLine, SurchargeLine};
pub use self::current::Prices;
pub use self::model::{ModelPrice, PriceRow};
pub use self::rate::{NegativePrice, Rate};
pub use self::read::PriceTableError;
pub use self::table::PriceTable;
pub use self::tier::{PriceOptions, ServiceTier};
pub use self::token::{Price, TokenKind};
pub use self::unknown::UnknownCost;
pub use crate::money::ParseUsdError;
