//! Tests of the built-in price tables: examples computed by hand, properties of all tables, and files.

mod files;
mod litellm;
mod properties;
mod rates;
