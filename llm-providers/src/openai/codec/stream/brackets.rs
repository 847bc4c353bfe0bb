/// Scanner that detects the end of a JSON text that arrives in fragments, by counting brackets.
#[derive(Debug, Default)]
pub(super) struct Brackets {
    depth: u32,
    has_begun: bool,
    in_text: bool,
    escaped: bool,
}

impl Brackets {
    /// Reads the next fragment of the text.
    pub(super) fn push(&mut self, fragment: &str) {
        for byte in fragment.bytes().filter(|byte| !byte.is_ascii_whitespace()) {
            self.has_begun = true;
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = self.in_text,
                b'"' => self.in_text = !self.in_text,
                _ if self.in_text => {}
                b'{' | b'[' => self.depth = self.depth.saturating_add(1),
                b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
        }
    }

    /// Returns `true` if only white space has been read.
    pub(super) fn is_empty(&self) -> bool {
        !self.has_begun
    }

    /// Returns `true` if a value has begun and is not complete.
    pub(super) fn is_open(&self) -> bool {
        self.in_text || self.depth > 0
    }

    /// Returns `true` if a value is complete.
    pub(super) fn is_closed(&self) -> bool {
        self.has_begun && !self.is_open()
    }
}
