use std::borrow::Cow;

/// Returns the id of a tool call in the form that a server accepts. An id for which `fits` returns `false` is replaced
/// by `len` letters and digits that are computed from it, so that a call and its result still have equal ids.
pub(crate) fn call_id(id: &str, len: usize, fits: impl Fn(&str) -> bool) -> Cow<'_, str> {
    const LETTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    if fits(id) {
        return Cow::Borrowed(id);
    }
    // FNV-1a with 128 bits, because its result is the same in all versions. Collisions are harmless, because a
    // collision affects only the conversation of the caller who wrote the ids.
    let mut hash: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    for byte in id.bytes() {
        hash = (hash ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
    }
    let mut letters = String::with_capacity(len);
    for _ in 0..len {
        letters.push(char::from(LETTERS[(hash % 62) as usize]));
        hash /= 62;
    }
    Cow::Owned(letters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn call_ids_fit_and_stay_distinct() {
        let nine = |id: &str| id.len() == 9 && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let ids = ["", "call_1", "call_2", "call_00_rGGuLWLHvYxVPMtiENE41150", "123456789", "12345678_"];
        let short: Vec<_> = ids.iter().map(|id| call_id(id, 9, nine)).collect();
        assert!(short.iter().all(|id| nine(id)));
        assert_eq!(short.iter().collect::<std::collections::BTreeSet<_>>().len(), ids.len());
        assert_eq!((&*short[4], call_id("call_1", 9, nine) == short[1]), ("123456789", true));
        assert_eq!(call_id("call_1", 9, |_| true), "call_1");
    }
}
