//! What fuzz targets reach for. No part of the public interface.

use crate::{
    KeyRing, Secret, StoreUrl,
    store::{fuzz_body, fuzz_frame},
};

/// The bytes as a stored entry: whole, behind its check, and within its frame.
pub fn entry(data: &[u8]) {
    let keys = KeyRing::new();
    keys.insert("acme", Secret::new([1; 32]));
    fuzz_frame(data, None);
    fuzz_frame(data, Some(&keys));
    fuzz_body(data);
}

/// The bytes as the address of a store.
pub fn url(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Ok(url) = text.parse::<StoreUrl>() else { return };
    let again = url.to_string().parse::<StoreUrl>();
    assert_eq!(again.as_ref(), Ok(&url), "what is shown reads back");
}
