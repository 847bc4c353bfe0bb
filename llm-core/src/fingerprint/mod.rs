//! Canonical bytes of a request, from which a cache derives its key.

mod canonical;
mod serializer;

pub use self::canonical::Fingerprinter;
pub use self::serializer::SerializeError;
