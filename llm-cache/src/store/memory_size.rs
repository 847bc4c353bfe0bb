//! Estimates of the memory that a response takes.
//!
//! The estimate counts the bytes of the JSON text while serde writes them, and allocates nothing.

use std::io;

use serde::Serialize;

/// Estimates the size of a response in memory, in bytes: that of its JSON text, plus the overhead of its values. The
/// estimate is too high rather than too low.
pub(crate) fn json_memory_size(response: &impl Serialize) -> Option<u64> {
    let mut memory_size = JsonSize::default();
    serde_json::to_writer(&mut memory_size, response).ok()?;
    Some(memory_size.bytes)
}

/// Estimates the size of a response from its JSON text, as [`json_memory_size`] does.
#[cfg(feature = "at-rest")]
pub(crate) fn text_memory_size(text: &[u8]) -> u64 {
    let mut memory_size = JsonSize::default();
    text.iter().map(|byte| memory_size.byte(*byte)).sum()
}

/// Counter of the JSON text that serde writes.
#[derive(Default)]
struct JsonSize {
    bytes: u64,
    in_text: bool,
    escaped: bool,
}

/// Bytes of a value in a list in addition to its text.
const VALUE_BYTES: u64 = 32;
/// Bytes of a field of an object in addition to its text: its name on the heap and its node in a tree.
const FIELD_BYTES: u64 = 224;

impl JsonSize {
    fn byte(&mut self, byte: u8) -> u64 {
        if self.in_text {
            let ends = byte == b'"' && !self.escaped;
            self.escaped = byte == b'\\' && !self.escaped;
            self.in_text = !ends;
            return 1;
        }
        match byte {
            b'"' => self.in_text = true,
            b',' | b'[' => return 1 + VALUE_BYTES,
            b':' => return 1 + FIELD_BYTES,
            _ => {}
        }
        1
    }
}

impl io::Write for JsonSize {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes += bytes.iter().map(|byte| self.byte(*byte)).sum::<u64>();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
