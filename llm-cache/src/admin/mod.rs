//! Operations on stores for operators: listing, removal and migration.

mod inspect;
mod migrate;

pub use self::{
    inspect::{Listing, StoredEntry},
    migrate::{MigrationReport, migrate},
};
