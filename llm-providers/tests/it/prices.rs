//! The shipped price tables: examples worked by hand, properties of all of them, files.

mod by_hand;
mod files;
mod properties;
