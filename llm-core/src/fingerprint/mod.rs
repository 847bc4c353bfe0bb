//! Canonical bytes of a request: what a cache key is made of.

mod canonical;
mod serializer;

pub use self::canonical::Fingerprinter;
pub use self::serializer::SerializeError;
