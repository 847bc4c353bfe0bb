//! Entry points of fuzz targets and benchmarks. Not part of the public interface.

#[cfg(feature = "redis")]
use std::sync::LazyLock;

#[cfg(feature = "redis")]
use bytes::Bytes;
#[cfg(feature = "redis")]
use serde::de::DeserializeOwned;

#[cfg(feature = "redis")]
use crate::store::{AtRest, read_value};
use crate::{
    KeyRing, Partition, Secret, StoreUrl,
    store::{fuzz_body, fuzz_frame},
};

/// Decodes the bytes in three ways: as a stored entry with its checksum, as an entry without a checksum, and as the
/// body of an entry.
pub fn entry(data: &[u8]) {
    let keys = KeyRing::new();
    keys.insert(Partition::tenant("acme"), Secret::new([1; 32]));
    fuzz_frame(data, None);
    fuzz_frame(data, Some(&keys));
    fuzz_body(data);
}

/// Decodes the response in a value that a Redis store without a secret wrote.
#[cfg(feature = "redis")]
pub fn response<C: DeserializeOwned>(value: &Bytes) -> Option<C> {
    static CODEC: LazyLock<AtRest> = LazyLock::new(|| AtRest::new(None, None));
    let (name, sealed) = read_value(value)?;
    let record = CODEC.read(&name, sealed).ok()?;
    serde_json::from_str(str::from_utf8(&record.text).ok()?).ok()
}

/// Parses the bytes as the URL of a store, and checks that the text of the URL parses back to the same URL.
pub fn url(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Ok(url) = text.parse::<StoreUrl>() else { return };
    let again = url.to_string().parse::<StoreUrl>();
    assert_eq!(again.as_ref(), Ok(&url), "what is shown reads back");
}
