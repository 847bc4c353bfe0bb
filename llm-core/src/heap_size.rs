//! Heap memory of responses, by which a cache counts its bytes.

use std::{mem::size_of, sync::Arc};

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::{
    Choice, Extra, FinishReason, Part, ToolCall, ToolResult,
    chat::{Image, ImageSource, Reasoning},
};

/// Value that can state the number of bytes that it has on the heap. The number is an upper estimate, because text that
/// several values share counts fully for each of them.
pub(crate) trait HeapSize {
    /// Returns the number of bytes on the heap, without those of the value itself.
    fn heap_size(&self) -> usize;
}

/// Largest number of bytes that an allocator adds to an allocation for rounding and bookkeeping.
const ALLOCATION: usize = 16;
/// Number of bytes that an `Arc` adds to its value, for two counters and the overhead of the allocation.
const SHARED: usize = ALLOCATION + 16;
/// Number of bytes of a node of the B-tree in which serde_json keeps the fields of an object.
const MAP_NODE: usize = ALLOCATION + 640;
/// Smallest number of fields in a node of the B-tree of an object, unless the tree has a single node.
const FIELDS_IN_NODE: usize = 5;
/// Bytes of a JSON number's text. serde_json stores numbers as text if it keeps every digit.
const NUMBER: usize = ALLOCATION + 16;

/// Returns the number of bytes on the heap of a response in an `Arc`, with those of the `Arc` itself.
pub(crate) fn shared_size<T: HeapSize>(response: &T) -> u64 {
    (SHARED + size_of::<T>() + response.heap_size()) as u64
}

/// Implements [`HeapSize`] for a struct as the sum of the listed fields.
macro_rules! heap_size_of_fields {
    ($($type:ty: $($field:ident)+;)+) => { $(
        impl HeapSize for $type {
            fn heap_size(&self) -> usize {
                0 $(+ self.$field.heap_size())+
            }
        }
    )+ };
}

heap_size_of_fields! {
    crate::ChatResponse: id model choices extra;
    crate::Embeddings: model vectors extra;
    Choice: parts finish extra message_extra;
    Image: source detail extra;
    Reasoning: text signature extra;
    ToolCall: id name arguments extra;
    ToolResult: call_id content extra;
}

impl HeapSize for Part {
    fn heap_size(&self) -> usize {
        match self {
            Self::Text { text, extra } => text.heap_size() + extra.heap_size(),
            Self::Image(image) => image.heap_size(),
            Self::ToolCall(call) => call.heap_size(),
            Self::ToolResult(result) => result.heap_size(),
            Self::Reasoning(reasoning) => reasoning.heap_size(),
            Self::Refusal { text } => text.heap_size(),
            Self::Other { value } => SHARED + size_of::<Value>() + value.heap_size(),
        }
    }
}

impl HeapSize for ImageSource {
    fn heap_size(&self) -> usize {
        match self {
            Self::Bytes { media_type, data } => media_type.heap_size() + data.heap_size(),
            Self::Url { url } => url.heap_size(),
        }
    }
}

impl HeapSize for FinishReason {
    fn heap_size(&self) -> usize {
        match self {
            Self::Failed(word) | Self::Other(word) => word.heap_size(),
            Self::Stop | Self::Length | Self::ToolCalls | Self::ContentFilter | Self::Unknown => 0,
        }
    }
}

impl HeapSize for Extra {
    fn heap_size(&self) -> usize {
        self.fields().map_or(0, |fields| SHARED + size_of::<Map<String, Value>>() + fields.heap_size())
    }
}

impl HeapSize for Map<String, Value> {
    fn heap_size(&self) -> usize {
        let fields = self.iter().map(|(name, value)| ALLOCATION + name.len() + value.heap_size());
        self.len().div_ceil(FIELDS_IN_NODE) * MAP_NODE + fields.sum::<usize>()
    }
}

impl HeapSize for Value {
    fn heap_size(&self) -> usize {
        match self {
            Self::Null | Self::Bool(_) => 0,
            Self::Number(_) => NUMBER,
            Self::String(text) => ALLOCATION + text.capacity(),
            Self::Array(values) => values.heap_size(),
            Self::Object(fields) => fields.heap_size(),
        }
    }
}

impl HeapSize for Arc<str> {
    fn heap_size(&self) -> usize {
        SHARED + self.len()
    }
}

impl HeapSize for Arc<[f32]> {
    fn heap_size(&self) -> usize {
        SHARED + size_of::<f32>() * self.len()
    }
}

impl HeapSize for Bytes {
    fn heap_size(&self) -> usize {
        SHARED + self.len()
    }
}

impl<T: HeapSize> HeapSize for Option<T> {
    fn heap_size(&self) -> usize {
        self.as_ref().map_or(0, T::heap_size)
    }
}

impl<T: HeapSize> HeapSize for Vec<T> {
    fn heap_size(&self) -> usize {
        ALLOCATION + self.capacity() * size_of::<T>() + self.iter().map(T::heap_size).sum::<usize>()
    }
}
