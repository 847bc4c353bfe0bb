//! Tests of packed prompts, in virtual time.

mod accounting;
mod copies;
mod faults;
mod form;
mod passes;
mod properties;
mod size;
mod trust;
mod vendor;
