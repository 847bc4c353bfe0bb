//! Prompts that are packed, under virtual time.

mod accounting;
mod copies;
mod faults;
mod form;
mod passes;
mod properties;
mod size;
mod trust;
mod vendor;
