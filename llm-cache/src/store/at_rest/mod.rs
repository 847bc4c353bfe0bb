//! Format of entries outside the process: with a version and a checksum, packed, and sealed if there are encryption
//! keys.
//!
//! A stored entry is a [frame](frame) around a [record](record). Its [name] consists of keyed hashes, so that it
//! reveals nothing of the tenant or the request to a reader without the store's secret. A value that cannot be read is
//! a miss.

mod codec;
mod corrupt_entry;
mod frame;
mod name;
mod record;
mod secret;
#[cfg(test)]
mod tests;

pub use self::secret::{EncryptionKeys, KeyRing, Secret};
pub(crate) use self::{
    codec::AtRest,
    name::{Name, PARTITION_BYTES},
    record::{Record, nanos},
};
#[cfg(feature = "fuzzing")]
pub(crate) use self::{frame::fuzz_frame, record::fuzz_body};
