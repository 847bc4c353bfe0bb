use std::{
    any::Any,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use llm_core::layer::Accounting;
use serde::{Serialize, de::DeserializeOwned};

use super::memory_size::json_memory_size;
#[cfg(feature = "at-rest")]
use super::memory_size::text_memory_size;
use crate::{Key, Tag, policy::Timestamp};

/// Stored response, with its accounting, expiry and provenance.
pub(crate) struct Entry {
    answer: Mutex<Answer>,
    pub(crate) facts: Accounting,
    pub(crate) expiry: Expiry,
    pub(crate) provenance: Provenance,
    /// Tier in which the entry was found.
    pub(crate) tier: &'static str,
    /// Time at which the local tier lets go of it.
    pub(crate) leaves_at: Option<SystemTime>,
    bytes: u32,
}

/// Time of storing, and end of freshness; `None` is without end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expiry {
    pub(crate) stored_at: SystemTime,
    pub(crate) fresh_until: Option<SystemTime>,
}

impl Expiry {
    pub(crate) fn is_fresh(&self, now: SystemTime) -> bool {
        self.fresh_until.is_none_or(|until| now < until)
    }
}

/// Provenance of a response.
#[derive(Clone)]
pub(crate) struct Provenance {
    /// Start of its call.
    pub(crate) started_at: Timestamp,
    /// Tags by which it can be invalidated.
    pub(crate) tags: Arc<[Tag]>,
}

/// Response, as it was put or found.
#[derive(Clone)]
enum Answer {
    /// Typed value, with its encoder if it was put.
    Typed(Typed, Option<Encode>),
    /// Its JSON text.
    Text(Bytes),
    /// Evicted: moka lets go of evicted entries late.
    Gone,
}

type Typed = Arc<dyn Any + Send + Sync>;

/// Encodes a response of the type that it was put with.
type Encode = fn(&(dyn Any + Send + Sync)) -> Option<Vec<u8>>;

/// Bytes of an entry besides its key and its response's text: nodes of the table, the entry, the response's structs.
const ENTRY_BYTES: usize = 768;
/// Bytes of a tag besides its text.
const TAG_BYTES: usize = 48;

impl Entry {
    /// Creates the entry of a complete response. `memory_size` is its size in memory, if it is known. `None` if the
    /// response cannot be serialized, and so neither measured nor written.
    pub(crate) fn new<C: Serialize + Send + Sync + 'static>(
        key: &Key,
        answer: Arc<C>,
        memory_size: Option<u64>,
        facts: Accounting,
        expiry: Expiry,
        provenance: Provenance,
    ) -> Option<Self> {
        let memory_size = memory_size.or_else(|| json_memory_size(&*answer))?;
        let bytes = bytes(key, &provenance, memory_size);
        let encode: Encode = |answer| serde_json::to_vec(answer.downcast_ref::<C>()?).ok();
        let answer = Mutex::new(Answer::Typed(answer, Some(encode)));
        Some(Self { answer, facts, expiry, provenance, tier: "memory", leaves_at: None, bytes })
    }

    /// Creates an entry of a response's JSON text. `bytes` is its size in memory, if it is known.
    #[cfg(feature = "at-rest")]
    pub(crate) fn from_text(
        key: &Key,
        text: Bytes,
        bytes: Option<u32>,
        facts: Accounting,
        expiry: Expiry,
        provenance: Provenance,
        tier: &'static str,
    ) -> Self {
        let bytes = bytes.unwrap_or_else(|| self::bytes(key, &provenance, text_memory_size(&text)));
        Self { answer: Mutex::new(Answer::Text(text)), facts, expiry, provenance, tier, leaves_at: None, bytes }
    }

    /// Copies the entry for another tier. Each tier evicts its own.
    #[cfg(feature = "at-rest")]
    pub(crate) fn copy(&self, tier: &'static str, leaves_at: Option<SystemTime>) -> Self {
        let (answer, facts, provenance) = (self.lock().clone(), self.facts.clone(), self.provenance.clone());
        Self { answer: Mutex::new(answer), facts, expiry: self.expiry, provenance, tier, leaves_at, bytes: self.bytes }
    }

    /// Returns the response, if it is of this type and was not evicted meanwhile. Text is decoded once.
    pub(crate) fn answer<C: DeserializeOwned + Send + Sync + 'static>(&self) -> Option<Arc<C>> {
        let text = match &*self.lock() {
            Answer::Typed(answer, _) => return Arc::clone(answer).downcast().ok(),
            Answer::Text(text) => text.clone(),
            Answer::Gone => return None,
        };
        let answer: Arc<C> = Arc::new(serde_json::from_slice(&text).ok()?);
        let text = std::mem::replace(&mut *self.lock(), Answer::Typed(Arc::clone(&answer) as Typed, None));
        drop(text);
        Some(answer)
    }

    /// Returns the response's JSON text, if it was put or has not been decoded.
    #[cfg(feature = "at-rest")]
    pub(crate) fn text(&self) -> Option<Bytes> {
        let (answer, encode) = match &*self.lock() {
            Answer::Typed(answer, encode) => (Arc::clone(answer), (*encode)?),
            Answer::Text(text) => return Some(text.clone()),
            Answer::Gone => return None,
        };
        encode(&*answer).map(Bytes::from)
    }

    /// Drops the response.
    pub(crate) fn evict(&self) {
        let answer = std::mem::replace(&mut *self.lock(), Answer::Gone);
        drop(answer);
    }

    /// Returns the size in memory, in bytes.
    pub(crate) fn bytes(&self) -> u32 {
        self.bytes
    }

    /// Returns the age.
    pub(crate) fn age(&self, now: SystemTime) -> Duration {
        now.duration_since(self.expiry.stored_at).unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Answer> {
        self.answer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bytes(key: &Key, provenance: &Provenance, memory_size: u64) -> u32 {
    let tags: usize = provenance.tags.iter().map(|tag| TAG_BYTES + tag.len()).sum();
    let around = (ENTRY_BYTES + key.as_bytes().len() + tags) as u64;
    u32::try_from(around.saturating_add(memory_size)).unwrap_or(u32::MAX)
}
