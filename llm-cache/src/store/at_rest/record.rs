use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use llm_core::layer::Accounting;
use serde::{Deserialize, Serialize};

use super::{codec::Spoilt, name::digest};
use crate::{
    Key, Partition, Tag,
    generations::Moment,
    store::{Entry, Life, Source},
};

/// An entry as it is written: without its question, with its answer's JSON text.
#[derive(Clone)]
pub(crate) struct Record {
    pub(crate) owner: Partition,
    /// The digest of its key.
    pub(crate) digest: [u8; 32],
    pub(crate) facts: Accounting,
    pub(crate) life: Life,
    pub(crate) source: Source,
    pub(crate) text: Bytes,
    /// What it takes in memory, in bytes.
    pub(crate) weight: Option<u32>,
}

/// What stands before the answer's text, as JSON. Readers skip fields that they do not know, and do without those that
/// they miss.
#[derive(Serialize, Deserialize)]
struct Head {
    /// Nanoseconds since 1970, as all times.
    stored_at: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fresh_until: Option<u64>,
    begun: u64,
    #[serde(default)]
    tags: Vec<Arc<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    weight: Option<u32>,
    /// What the answer is, not how a call came by it.
    #[serde(default)]
    facts: Accounting,
}

impl Record {
    /// The record of an entry; `None` if it has just been evicted.
    pub(crate) fn of(key: &Key, entry: &Entry) -> Option<Self> {
        Some(Self {
            owner: key.owner(),
            digest: digest(key),
            facts: entry.facts.clone(),
            life: entry.life,
            source: entry.source.clone(),
            text: entry.text()?,
            weight: Some(entry.bytes()),
        })
    }

    /// Digest, length of the head, head, text.
    pub(super) fn body(&self) -> Option<Vec<u8>> {
        let head = Head {
            stored_at: nanos(self.life.stored_at),
            fresh_until: self.life.fresh_until.map(nanos),
            begun: self.source.begun.nanos(),
            tags: self.source.tags.iter().map(Tag::text).collect(),
            weight: self.weight,
            facts: self.facts.clone(),
        };
        let head = serde_json::to_vec(&head).ok()?;
        let length = u32::try_from(head.len()).ok()?.to_le_bytes();
        Some([&self.digest, length.as_slice(), &head, &self.text].concat())
    }

    pub(super) fn read(owner: Partition, body: Vec<u8>) -> Result<Self, Spoilt> {
        let body = Bytes::from(body);
        let (&digest, rest) = body.split_first_chunk::<32>().ok_or(Spoilt::Damaged)?;
        let (&length, rest) = rest.split_first_chunk::<4>().ok_or(Spoilt::Damaged)?;
        let length = usize::try_from(u32::from_le_bytes(length)).map_err(|_| Spoilt::Damaged)?;
        let (head, text) = rest.split_at_checked(length).ok_or(Spoilt::Damaged)?;
        let head: Head = serde_json::from_slice(head).map_err(|_| Spoilt::Damaged)?;
        Ok(Self {
            owner,
            digest,
            facts: head.facts,
            life: Life { stored_at: time(head.stored_at), fresh_until: head.fresh_until.map(time) },
            source: Source {
                begun: Moment::from_nanos(head.begun),
                tags: head.tags.into_iter().map(Tag::from_text).collect(),
            },
            text: body.slice_ref(text),
            weight: head.weight,
        })
    }
}

/// Nanoseconds since 1970; times beyond what they hold are the first or the last of them.
pub(crate) fn nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn time(nanos: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(nanos)
}

/// For fuzzing: the bytes as a body.
#[cfg(feature = "fuzzing")]
pub(crate) fn fuzz_body(data: &[u8]) {
    let Ok(record) = Record::read(Partition::tenant("acme"), data.to_vec()) else { return };
    let body = record.body().expect("what was read can be written");
    let again = Record::read(Partition::tenant("acme"), body).expect("what was written can be read");
    assert_eq!((&record.text, record.digest, record.weight), (&again.text, again.digest, again.weight));
    assert_eq!((record.source.begun, &record.source.tags), (again.source.begun, &again.source.tags));
    assert_eq!((record.life.stored_at, record.life.fresh_until), (again.life.stored_at, again.life.fresh_until));
}
