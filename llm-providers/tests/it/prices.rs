//! The shipped price tables: examples worked by hand, properties of all of them, files.

mod files;
mod litellm;
mod properties;
mod rates;
