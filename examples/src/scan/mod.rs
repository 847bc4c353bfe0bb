//! Finds the items of sources by a line scan, without a parser.
//!
//! In Rust an item is a public function: the docs and attributes directly above it, its signature and its body, as whole
//! lines of the source. Comments, string and character literals are blanked first, so that braces and `pub fn` inside
//! them count for nothing. What a line scan cannot see it leaves out: functions written by macros, a second function
//! on the same line. In other languages it is an unindented line and what follows indented.

mod blocks;
mod items;
mod mask;

pub use blocks::indented_blocks;
pub use items::public_functions;
