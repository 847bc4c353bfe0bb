//! What tokens cost: prices as integers, and tables of them.

mod rate;
mod table;

pub use self::rate::{NegativePrice, Price, Rate};
pub use self::table::{ModelPrice, PriceRow, PriceTable, PriceTableError};
