//! Body of a stored entry:
//!
//! | bytes | content |
//! |---|---|
//! | 4 | length of the head, little-endian |
//! | … | head in JSON: times, tags, size, accounting |
//! | … | the response's JSON text |
//!
//! The fields of the head keep their original names (`begun`, `weight`, `facts`), so that older files can be read.

use std::{
    borrow::Cow,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::{Buf, Bytes};
use llm_core::layer::Accounting;
use serde::{Deserialize, Serialize};

use super::{corrupt_entry::CorruptEntry, frame::Opened, name::digest};
use crate::{
    Key, Partition, Tag,
    policy::Timestamp,
    store::{Entry, Expiry, Provenance},
};

/// Content of a stored entry: the JSON text of its response, and the data that are needed to serve it. The request is
/// not part of it.
#[derive(Clone)]
pub(crate) struct Record {
    /// Partition that the entry belongs to.
    pub(crate) partition: Partition,
    /// Digest of the entry's key.
    pub(crate) digest: [u8; 32],
    /// Accounting of the response.
    pub(crate) accounting: Accounting,
    /// Time at which the entry was stored, and end of its freshness.
    pub(crate) expiry: Expiry,
    /// Start of the call, and tags of the response.
    pub(crate) provenance: Provenance,
    /// JSON text of the response.
    pub(crate) text: Bytes,
    /// Size of the entry in memory, in bytes; `None` if it is unknown.
    pub(crate) memory_size: Option<u32>,
}

/// Head before the response's text, in JSON. Readers ignore unknown fields and use defaults for missing ones.
#[derive(Serialize, Deserialize)]
struct Head<'a> {
    /// Time at which the entry was stored. All times in the head are in nanoseconds since 1970.
    stored_at: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fresh_until: Option<u64>,
    #[serde(rename = "begun")]
    started_at: u64,
    #[serde(borrow, default)]
    tags: Vec<TagText<'a>>,
    #[serde(rename = "weight", default, skip_serializing_if = "Option::is_none")]
    memory_size: Option<u32>,
    /// Accounting of the response, without origin, payment and savings of one call.
    #[serde(rename = "facts", default)]
    accounting: Accounting,
}

/// Text of a tag, borrowed from the head unless it has escapes.
#[derive(Serialize, Deserialize)]
struct TagText<'a>(#[serde(borrow)] Cow<'a, str>);

/// Position of the head in the body.
const HEAD_AT: usize = 4;

impl Record {
    /// Returns the record of an entry; `None` if the entry has no JSON text, for example because it has just been
    /// evicted.
    pub(crate) fn of(key: &Key, entry: &Entry) -> Option<Self> {
        Some(Self {
            partition: key.partition(),
            digest: digest(key),
            accounting: entry.accounting.clone(),
            expiry: entry.expiry,
            provenance: entry.provenance.clone(),
            text: entry.text()?,
            memory_size: Some(entry.bytes()),
        })
    }

    /// Returns the entry of a record that was found in this tier.
    pub(crate) fn into_entry(self, key: &Key, tier: &'static str) -> Entry {
        let Self { accounting, expiry, provenance, text, memory_size, .. } = self;
        Entry::from_text(key, text, memory_size, accounting, expiry, provenance, tier)
    }

    /// Encodes the record without its digest and its partition as length of the head, head and text. Returns `None` if
    /// the head cannot be encoded.
    pub(super) fn body(&self) -> Option<Vec<u8>> {
        let head = Head {
            stored_at: nanos(self.expiry.stored_at),
            fresh_until: self.expiry.fresh_until.map(nanos),
            started_at: self.provenance.started_at.nanos(),
            tags: self.provenance.tags.iter().map(|tag| TagText(tag.to_string().into())).collect(),
            memory_size: self.memory_size,
            accounting: self.accounting.clone(),
        };
        let head = serde_json::to_vec(&head).ok()?;
        let length = u32::try_from(head.len()).ok()?.to_le_bytes();
        Some([length.as_slice(), &head, &self.text].concat())
    }

    /// Decodes the record in a frame.
    pub(super) fn read(opened: Opened) -> Result<Self, CorruptEntry> {
        let Opened { partition, digest, body: mut text } = opened;
        let (&length, rest) = text.split_first_chunk::<HEAD_AT>().ok_or(CorruptEntry::Damaged)?;
        let length = usize::try_from(u32::from_le_bytes(length)).map_err(|_| CorruptEntry::Damaged)?;
        let head = rest.get(..length).ok_or(CorruptEntry::Damaged)?;
        // Text is checked once as a whole, which takes less time than to check each string in it.
        let head = str::from_utf8(head).map_err(|_| CorruptEntry::Damaged)?;
        let head: Head<'_> = serde_json::from_str(head).map_err(|_| CorruptEntry::Damaged)?;
        let expiry = Expiry { stored_at: time(head.stored_at), fresh_until: head.fresh_until.map(time) };
        let tags = head.tags.iter().map(|text| Tag::from_text(&text.0)).collect();
        let provenance = Provenance { started_at: Timestamp::from_nanos(head.started_at), tags };
        let Head { accounting, memory_size, .. } = head;
        text.advance(HEAD_AT + length);
        Ok(Self { partition, digest, accounting, expiry, provenance, text, memory_size })
    }
}

/// Returns a time in nanoseconds since 1970, limited to the range of a `u64`.
pub(crate) fn nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn time(nanos: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(nanos)
}

/// Decodes the bytes as a body, for fuzzing.
#[cfg(feature = "fuzzing")]
pub(crate) fn fuzz_body(data: &[u8]) {
    let read = |body| Record::read(Opened { partition: Partition::tenant("acme"), digest: [7; 32], body });
    let Ok(record) = read(Bytes::copy_from_slice(data)) else { return };
    let body = record.body().expect("what was read can be written");
    let again = read(body.into()).expect("what was written can be read");
    assert_eq!((&record.text, record.digest, record.memory_size), (&again.text, again.digest, again.memory_size));
    assert_eq!(
        (record.provenance.started_at, &record.provenance.tags),
        (again.provenance.started_at, &again.provenance.tags)
    );
    assert_eq!(
        (record.expiry.stored_at, record.expiry.fresh_until),
        (again.expiry.stored_at, again.expiry.fresh_until)
    );
}
