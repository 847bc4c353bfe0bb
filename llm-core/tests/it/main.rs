//! Tests of the vocabulary through its public face.

#![expect(clippy::disallowed_methods, reason = "tests spawn callers")]

mod arbitrary;
mod broadcast;
mod cacheable_answers;
mod embed;
mod estimate;
mod fingerprint;
mod provider_prices;
mod stack;
mod stream;
