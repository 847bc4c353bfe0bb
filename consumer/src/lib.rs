//! Compiles the README's code with the README's dependency lines and no other feature.

#![doc = include_str!("../../README.md")]
