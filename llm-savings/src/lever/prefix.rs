//! Digests of a prompt's prefixes, and the table of prefixes that a vendor's cache still holds.

use std::{collections::HashMap, time::Duration};

use crate::record::{Prompt, Segment, SegmentKind};

/// Number of bytes of a block, about 128 tokens: the unit in which OpenAI's cache reads a prefix.
pub(super) const BLOCK: usize = 512;

/// Largest number of entries of a table. Prefixes that do not fit count as not cached, so the number of hits is a lower
/// bound.
const MAX_ENTRIES: usize = 1 << 20;

/// Prefix of a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Prefix {
    /// Length of the prefix, in bytes.
    pub(super) bytes: u64,
    pub(super) digest: u64,
}

/// Prefixes of one prompt, from short to long.
#[derive(Debug, Default)]
pub(super) struct Prefixes {
    /// Prefixes that end after each block.
    pub(super) blocks: Vec<Prefix>,
    /// Prefixes that end after each segment.
    pub(super) segments: Vec<Prefix>,
    /// Number of bytes of tools and system prompt, which an application controls.
    pub(super) fixed: u64,
    /// Number of segments in tools and system prompt.
    pub(super) fixed_segments: usize,
}

impl Prefixes {
    pub(super) fn of(model: &str, prompt: &Prompt) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(model.as_bytes());
        let mut prefixes = Self::default();
        let mut bytes = 0;
        for Segment { kind, text } in &prompt.segments {
            hasher.update(&[0, *kind as u8]);
            let mut rest = text.as_bytes();
            while !rest.is_empty() {
                let to_block = BLOCK - bytes % BLOCK;
                let (now, later) = rest.split_at(to_block.min(rest.len()));
                hasher.update(now);
                bytes += now.len();
                rest = later;
                if bytes % BLOCK == 0 {
                    prefixes.blocks.push(prefix(&hasher, bytes));
                }
            }
            prefixes.segments.push(prefix(&hasher, bytes));
            if is_fixed(*kind) && prefixes.fixed_segments + 1 == prefixes.segments.len() {
                prefixes.fixed = bytes as u64;
                prefixes.fixed_segments += 1;
            }
        }
        prefixes
    }

    /// Returns the prefixes that end after a block within tools and system prompt.
    pub(super) fn fixed_blocks(&self) -> &[Prefix] {
        let blocks = self.fixed as usize / BLOCK;
        &self.blocks[..blocks.min(self.blocks.len())]
    }
}

pub(super) fn is_fixed(kind: SegmentKind) -> bool {
    matches!(kind, SegmentKind::Tools | SegmentKind::System)
}

fn prefix(hasher: &blake3::Hasher, bytes: usize) -> Prefix {
    let digest: [u8; 8] = hasher.finalize().as_bytes()[..8].try_into().unwrap_or_default();
    Prefix { bytes: bytes as u64, digest: u64::from_le_bytes(digest) }
}

/// Table of digests, each with the second of its last use. Digests that were not used within a time to live are
/// removed.
#[derive(Debug)]
pub(super) struct Held {
    used: HashMap<u64, u32>,
    ttl: u32,
    /// Largest number of digests in the table.
    most: usize,
    sweep_at: usize,
    /// Second before which a full table is not cleaned again, so that not every call pays for a cleaning that frees
    /// little.
    next_sweep: u32,
    /// Number of digests that were not stored, because the table was full.
    pub(super) dropped: u64,
}

impl Held {
    pub(super) fn new(ttl: Duration) -> Self {
        Self::with_most(ttl, MAX_ENTRIES)
    }

    pub(super) fn with_most(ttl: Duration, most: usize) -> Self {
        Self {
            used: HashMap::new(),
            ttl: u32::try_from(ttl.as_secs()).unwrap_or(u32::MAX),
            most,
            sweep_at: 1_024.min(most),
            next_sweep: 0,
            dropped: 0,
        }
    }

    /// Returns `true` if the digest was used in the last `ttl` seconds.
    pub(super) fn has_within(&self, digest: u64, now: u32, ttl: u32) -> bool {
        self.used.get(&digest).is_some_and(|used| now.saturating_sub(*used) < ttl)
    }

    /// Returns `true` if the digest was used within the table's own time to live.
    pub(super) fn has(&self, digest: u64, now: u32) -> bool {
        self.has_within(digest, now, self.ttl)
    }

    pub(super) fn touch(&mut self, digest: u64, now: u32) {
        let is_full = self.used.len() >= self.most;
        if self.used.len() >= self.sweep_at && (!is_full || now >= self.next_sweep) {
            let ttl = self.ttl;
            self.used.retain(|_, used| now.saturating_sub(*used) < ttl);
            self.sweep_at = (2 * self.used.len()).max(1_024).min(self.most);
            self.next_sweep = now.saturating_add(ttl / 16);
        }
        if self.used.len() < self.most || self.used.contains_key(&digest) {
            self.used.insert(digest, now);
        } else {
            self.dropped += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_end_at_blocks_and_segments() {
        let segment = |kind, bytes| Segment::new(kind, "x".repeat(bytes));
        let prompt = Prompt::whole(vec![
            segment(SegmentKind::Tools, 500),
            segment(SegmentKind::System, 600),
            segment(SegmentKind::User, 100),
        ]);
        let prefixes = Prefixes::of("m", &prompt);
        assert_eq!(prefixes.blocks.iter().map(|end| end.bytes).collect::<Vec<_>>(), [512, 1_024]);
        assert_eq!(prefixes.segments.iter().map(|end| end.bytes).collect::<Vec<_>>(), [500, 1_100, 1_200]);
        assert_eq!((prefixes.fixed, prefixes.fixed_segments, prefixes.fixed_blocks().len()), (1_100, 2, 2));
        let other = Prefixes::of("other", &prompt);
        assert_ne!(prefixes.blocks, other.blocks);
    }

    #[test]
    fn system_prompt_after_messages_is_not_fixed() {
        let segment = |kind| Segment::new(kind, "x".repeat(600));
        let prompt = Prompt::whole(vec![segment(SegmentKind::User), segment(SegmentKind::System)]);
        assert_eq!(Prefixes::of("m", &prompt).fixed, 0);
    }

    #[test]
    fn held_digests_expire_and_stay_bounded() {
        let mut held = Held::new(Duration::from_secs(300));
        held.touch(1, 1_000);
        assert!(held.has(1, 1_299) && !held.has(1, 1_300));
        for digest in 0..10_000_u32 {
            held.touch(digest.into(), 2_000 + digest);
        }
        assert!(held.used.len() <= 2_048, "{}", held.used.len());
    }

    #[test]
    fn held_full_table_is_swept_seldom() {
        let mut held = Held::with_most(Duration::from_secs(3_600), 1_024);
        let mut sweeps = 0;
        for digest in 0..100_000_u32 {
            let before = held.next_sweep;
            held.touch(digest.into(), 2_000 + digest / 100);
            sweeps += u32::from(held.next_sweep != before);
        }
        assert!(held.used.len() <= 1_024 && held.dropped > 0);
        assert!(sweeps < 20, "{sweeps}");
        held.touch(u64::MAX, 10_000);
        assert!(held.has(u64::MAX, 10_000) && held.used.len() == 1);
    }
}
