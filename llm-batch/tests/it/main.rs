//! Tests of the batcher as a library and as a layer, in virtual time.

mod arrivals;
mod batcher;
mod closed_loop;
mod deadlines;
mod gather;
mod halving;
mod lifecycle;
mod observability;
mod pack;
mod pending;
mod properties;
mod settings;
mod stack;
mod support;
