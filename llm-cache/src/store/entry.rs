//! Entries in stores: a response of any type, or its JSON text until the response is read for the first time.
//!
//! An entry of the local tier holds the typed value. An entry from a file or Redis holds the text, which the first
//! lookup decodes to the type that it needs. A later lookup of another type finds nothing.

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
    /// Response, as a typed value or as text.
    response: Mutex<Response>,
    /// Accounting of the response, without origin, payment and savings of one call.
    pub(crate) accounting: Accounting,
    /// Time at which the entry was stored, and end of its freshness.
    pub(crate) expiry: Expiry,
    /// Start of the call, and tags of the response.
    pub(crate) provenance: Provenance,
    /// Tier in which the entry was found.
    pub(crate) tier: &'static str,
    /// Time from which the local tier no longer serves the entry; `None` if there is no such time.
    pub(crate) leaves_at: Option<SystemTime>,
    /// Size in memory, in bytes, by which the entry counts against the capacity.
    bytes: u32,
}

/// Time at which an entry was stored, and end of its freshness, which is `None` if the entry stays fresh.
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

/// Provenance of a response, by which invalidations apply to it.
#[derive(Clone)]
pub(crate) struct Provenance {
    /// Timestamp at which the call began.
    pub(crate) started_at: Timestamp,
    /// Tags by which the response can be invalidated.
    pub(crate) tags: Arc<[Tag]>,
}

/// Response of an entry, in the form in which it was stored or found.
#[derive(Clone)]
enum Response {
    /// Typed value, with its encoder if the value was stored by this process.
    Typed(Typed, Option<Encode>),
    /// JSON text of the response.
    Text(Bytes),
    /// The entry was evicted. Its response is freed at once, because moka drops evicted entries late.
    Gone,
}

type Typed = Arc<dyn Any + Send + Sync>;

/// Function that encodes a response as JSON, if the response has the type with which it was stored.
type Encode = fn(&(dyn Any + Send + Sync)) -> Option<Vec<u8>>;

/// Estimated bytes of an entry in addition to its key, its tags and its response: nodes of the table and the entry
/// itself.
const ENTRY_BYTES: usize = 768;
/// Bytes of a tag in addition to its text.
const TAG_BYTES: usize = 48;

impl Entry {
    /// Creates the entry of a complete response. `memory_size` is the size of the response in memory, in bytes, if it
    /// is known. Returns `None` if the response cannot be serialized, because it can then be neither measured nor
    /// written.
    pub(crate) fn new<C: Serialize + Send + Sync + 'static>(
        key: &Key,
        response: Arc<C>,
        memory_size: Option<u64>,
        accounting: Accounting,
        expiry: Expiry,
        provenance: Provenance,
    ) -> Option<Self> {
        let memory_size = memory_size.or_else(|| json_memory_size(&*response))?;
        let bytes = bytes(key, &provenance, memory_size);
        let encode: Encode = |response| serde_json::to_vec(response.downcast_ref::<C>()?).ok();
        let response = Mutex::new(Response::Typed(response, Some(encode)));
        Some(Self { response, accounting, expiry, provenance, tier: "memory", leaves_at: None, bytes })
    }

    /// Creates an entry from the JSON text of a response. `bytes` is the size of the entry in memory, if it is known.
    #[cfg(feature = "at-rest")]
    pub(crate) fn from_text(
        key: &Key,
        text: Bytes,
        bytes: Option<u32>,
        accounting: Accounting,
        expiry: Expiry,
        provenance: Provenance,
        tier: &'static str,
    ) -> Self {
        let bytes = bytes.unwrap_or_else(|| self::bytes(key, &provenance, text_memory_size(&text)));
        Self {
            response: Mutex::new(Response::Text(text)),
            accounting,
            expiry,
            provenance,
            tier,
            leaves_at: None,
            bytes,
        }
    }

    /// Copies the entry for another tier, because each tier evicts its own entries.
    #[cfg(feature = "at-rest")]
    pub(crate) fn copy(&self, tier: &'static str, leaves_at: Option<SystemTime>) -> Self {
        let (response, accounting, provenance) =
            (self.lock().clone(), self.accounting.clone(), self.provenance.clone());
        Self {
            response: Mutex::new(response),
            accounting,
            expiry: self.expiry,
            provenance,
            tier,
            leaves_at,
            bytes: self.bytes,
        }
    }

    /// Returns the response, if it has this type and has not been evicted. Text is decoded once.
    pub(crate) fn response<C: DeserializeOwned + Send + Sync + 'static>(&self) -> Option<Arc<C>> {
        let text = match &*self.lock() {
            Response::Typed(response, _) => return Arc::clone(response).downcast().ok(),
            Response::Text(text) => text.clone(),
            Response::Gone => return None,
        };
        // The text is checked once as a whole, which takes less time than to check each string in it.
        let response: Arc<C> = Arc::new(serde_json::from_str(str::from_utf8(&text).ok()?).ok()?);
        let text = std::mem::replace(&mut *self.lock(), Response::Typed(Arc::clone(&response) as Typed, None));
        drop(text);
        Some(response)
    }

    /// Returns the JSON text of the response; `None` if the response was decoded from text, was evicted, or cannot be
    /// encoded.
    #[cfg(feature = "at-rest")]
    pub(crate) fn text(&self) -> Option<Bytes> {
        let (response, encode) = match &*self.lock() {
            Response::Typed(response, encode) => (Arc::clone(response), (*encode)?),
            Response::Text(text) => return Some(text.clone()),
            Response::Gone => return None,
        };
        encode(&*response).map(Bytes::from)
    }

    /// Frees the response, even if the entry is still referenced elsewhere.
    pub(crate) fn evict(&self) {
        let response = std::mem::replace(&mut *self.lock(), Response::Gone);
        drop(response);
    }

    /// Returns the size of the entry in memory, in bytes.
    pub(crate) fn bytes(&self) -> u32 {
        self.bytes
    }

    /// Returns the time since the entry was stored; zero if the clock was set back.
    pub(crate) fn age(&self, now: SystemTime) -> Duration {
        now.duration_since(self.expiry.stored_at).unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Response> {
        self.response.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bytes(key: &Key, provenance: &Provenance, memory_size: u64) -> u32 {
    let tags: usize = provenance.tags.iter().map(|tag| TAG_BYTES + tag.len()).sum();
    let around = (ENTRY_BYTES + key.as_bytes().len() + tags) as u64;
    u32::try_from(around.saturating_add(memory_size)).unwrap_or(u32::MAX)
}
