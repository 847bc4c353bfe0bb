//! Digests that identify requests, so that the analysis keeps no texts.

use crate::record::{Prompt, Segment};

/// Hash of a list of parts. The length of each part is hashed before it, so that different lists of parts never have
/// the same bytes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Digest(blake3::Hasher);

impl Digest {
    pub(crate) fn part(mut self, part: &str) -> Self {
        self.0.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
        self
    }

    pub(crate) fn segment(mut self, segment: &Segment) -> Self {
        self.0.update(&[segment.kind as u8]);
        self.part(&segment.text)
    }

    /// Returns 64 bits of the digest. Among a million distinct requests, the probability that two have the same digest
    /// is 1 in 37 million.
    pub(crate) fn value(&self) -> u64 {
        let bytes: [u8; 8] = self.0.finalize().as_bytes()[..8].try_into().unwrap_or_default();
        u64::from_le_bytes(bytes)
    }
}

/// Returns the digest of everything that decides a response: tenant, model, parameters and all segments.
pub(crate) fn request(tenant: &str, model: &str, prompt: &Prompt) -> u64 {
    let start = Digest::default().part(tenant).part(model).part(&prompt.parameters);
    prompt.segments.iter().fold(start, Digest::segment).value()
}

/// Returns the digest of a request without its last segment; 0 for a request without segments.
pub(crate) fn frame(tenant: &str, model: &str, prompt: &Prompt) -> u64 {
    let Some((_, frame)) = prompt.segments.split_last() else { return 0 };
    let start = Digest::default().part("frame").part(tenant).part(model).part(&prompt.parameters);
    frame.iter().fold(start, Digest::segment).value()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::SegmentKind::{Other, User};

    #[test]
    fn digest_of_divided_texts_differs() {
        let prompt = |texts: &[&str]| Prompt::whole(texts.iter().map(|text| Segment::new(User, *text)).collect());
        let digests = [
            request("t", "m", &prompt(&["ab", "c"])),
            request("t", "m", &prompt(&["a", "bc"])),
            request("t", "m", &prompt(&["abc"])),
            request("tm", "", &prompt(&["abc"])),
            request("t", "m", &Prompt::whole(vec![Segment::new(Other, "abc")])),
            request("t", "m", &Prompt { parameters: "{}".into(), ..prompt(&["abc"]) }),
        ];
        for (index, digest) in digests.iter().enumerate() {
            assert!(!digests[..index].contains(digest), "{index}");
        }
    }

    #[test]
    fn frame_ignores_last_segment_alone() {
        let prompt = |first: &str, last: &str| Prompt::whole(vec![Segment::new(User, first), Segment::new(User, last)]);
        assert_eq!(frame("t", "m", &prompt("a", "b")), frame("t", "m", &prompt("a", "c")));
        assert_ne!(frame("t", "m", &prompt("a", "b")), frame("t", "m", &prompt("b", "b")));
    }
}
