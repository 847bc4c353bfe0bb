//! Key that must not be shown.

use std::error::Error as _;

use llm_core::Error;

/// Key of a client. It has no known prefix by which it can be recognized.
pub const KEY: &str = "Zq8Kw2Vb5Ym1Xc4Hd7Jf0Lp3Ns6Tr9Gu";
/// Part of the key that counts as a leak.
const PREFIX: &str = "Zq8Kw2Vb5Ym1";

/// Checks that an error about this input does not show the key. Names that the vendor states (the request's id and the
/// error's code) may show it, because nothing can be done about a vendor that has the key there.
///
/// # Panics
///
/// If it does, unless the input itself holds the key in part: what is not the key cannot be known for it.
pub fn assert_hidden(error: &Error, data: &[u8]) {
    let mut shown = format!("{error} {error:?}");
    let mut source = error.source();
    while let Some(error) = source {
        shown += &format!(" {error} {error:?}");
        source = error.source();
    }
    let named = [error.request_id(), error.code()].into_iter().flatten().any(|name| name.contains(PREFIX));
    if shown.contains(PREFIX) && !named {
        let partly = String::from_utf8_lossy(data).replace(KEY, "").contains(PREFIX);
        assert!(partly, "an error shows the key: {shown}");
    }
}
