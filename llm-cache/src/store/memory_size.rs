use std::io;

use serde::Serialize;

/// What an answer takes in memory, at a guess that is rather too high: its JSON text, and what a tree of its values would
/// take beside that.
pub(crate) fn json_memory_size(answer: &impl Serialize) -> Option<u64> {
    let mut memory_size = JsonSize::default();
    serde_json::to_writer(&mut memory_size, answer).ok()?;
    Some(memory_size.bytes)
}

/// As [`json_memory_size`], of the JSON text itself.
#[cfg(feature = "at-rest")]
pub(crate) fn text_memory_size(text: &[u8]) -> u64 {
    let mut memory_size = JsonSize::default();
    text.iter().map(|byte| memory_size.byte(*byte)).sum()
}

/// Reads JSON text as it is written.
#[derive(Default)]
struct JsonSize {
    bytes: u64,
    in_text: bool,
    escaped: bool,
}

/// What a value in a list takes beside its text, in bytes.
const VALUE_BYTES: u64 = 32;
/// What a field of an object takes beside its text, in bytes: a name on the heap and a place in a tree.
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
