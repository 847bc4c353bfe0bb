//! Finds the items of Rust sources by a line scan, without a parser.
//!
//! An item is a public function: the docs and attributes directly above it, its signature and its body, as whole
//! lines of the source. Comments, string and character literals are blanked first, so that braces and `pub fn` inside
//! them count for nothing. What a line scan cannot see it leaves out: functions written by macros, a second function
//! on the same line.

mod items;
mod mask;

pub use items::public_functions;
