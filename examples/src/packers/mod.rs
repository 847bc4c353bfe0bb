//! Packers of two domains: ten stories in one request become ten lists of test cases, twenty photos become twenty scores.

pub mod photos;
pub mod simulated;
pub mod stories;

#[cfg(test)]
mod tests;
