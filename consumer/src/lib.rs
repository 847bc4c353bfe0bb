//! The README's code, compiled with the README's dependency lines and no other feature.

#![doc = include_str!("../../README.md")]
