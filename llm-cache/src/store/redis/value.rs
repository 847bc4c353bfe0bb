//! Value in Redis: the time of storing, a random number, the entry's name, and the encoded entry.
//!
//! | bytes | content |
//! |---|---|
//! | 8 | time of storing in microseconds since 1970, big-endian |
//! | 8 | random number |
//! | 48 | name |
//! | … | entry at rest |
//!
//! The first 16 bytes are the stamp. A waiter compares stamps to distinguish a new value from one that it has already
//! read.

use std::{
    hash::{BuildHasher, RandomState},
    sync::atomic::{AtomicU64, Ordering},
};

use crate::store::Name;

/// Length of a stamp in bytes. A stamp is the time of storing in microseconds since 1970, followed by a random number,
/// so that all values of one request have different stamps.
pub(super) const STAMP_BYTES: usize = 16;
/// Position of the entry's name in a value.
pub(super) const NAME_AT: usize = STAMP_BYTES;
const HEAD_BYTES: usize = STAMP_BYTES + Name::BYTES;

/// Encodes a value. `stored_at` is in nanoseconds since 1970, and `sealed` is the encoded entry.
pub(super) fn write(name: &Name, stored_at: u64, sealed: &[u8]) -> Vec<u8> {
    let stamp = [(stored_at / 1_000).to_be_bytes(), random().to_be_bytes()].concat();
    [&stamp, name.as_bytes().as_slice(), sealed].concat()
}

/// Splits a value into the name and the encoded entry; `None` for a value that this crate did not write.
pub(crate) fn read(value: &[u8]) -> Option<(Name, &[u8])> {
    let (head, sealed) = value.split_at_checked(HEAD_BYTES)?;
    Some((Name::read(&head[NAME_AT..])?, sealed))
}

/// Returns the stamp of a value.
pub(super) fn stamp(value: &[u8]) -> &[u8] {
    &value[..value.len().min(STAMP_BYTES)]
}

/// Returns a number that no other call, in this process or another, is likely to return.
pub(super) fn random() -> u64 {
    static DRAWN: AtomicU64 = AtomicU64::new(0);
    RandomState::new().hash_one(DRAWN.fetch_add(1, Ordering::Relaxed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redis_value_round_trips_with_unique_stamp() {
        let name = Name::read(&[7; Name::BYTES]).unwrap();
        let values: Vec<Vec<u8>> = (0..2).map(|_| write(&name, 5_000, b"sealed")).collect();
        assert_eq!(read(&values[0]), Some((name, b"sealed".as_slice())));
        assert_ne!(stamp(&values[0]), stamp(&values[1]));
        assert_eq!(values[0][..8], 5_u64.to_be_bytes());
        for short in [&b""[..], &values[0][..HEAD_BYTES - 1]] {
            assert!(read(short).is_none() && stamp(short).len() <= STAMP_BYTES);
        }
    }
}
