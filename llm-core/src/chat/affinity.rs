use std::hash::{BuildHasher, Hash, Hasher};

use foldhash::quality::{FixedState, FoldHasher};

use super::{FunctionTool, Image, ImageSource, JsonSchema, Message, Part, ResponseFormat, Role, Tool, ToolCall};

/// Length of the prefix that a vendor's prompt cache keeps, in bytes: 1,024 tokens of four bytes each.
const PREFIX_BYTES: usize = 4_096;
/// Number of bytes that an image counts as, because most images take about 1,000 tokens.
const IMAGE_BYTES: usize = 4_000;

/// Returns a hash of the first [`PREFIX_BYTES`] of a request, in the order in which vendors read it: model, tools, form
/// of the response, messages. The last part of the last message is left out, unless the message holds instructions.
/// Returns 0 if the rest is shorter than [`PREFIX_BYTES`].
///
/// The last part is the new question, and the next request of the conversation repeats all that comes before it.
pub(super) fn of(model: &str, tools: &[Tool], format: Option<&ResponseFormat>, messages: &[Message]) -> u64 {
    let mut prefix = Prefix::new(model);
    tools.iter().for_each(|tool| prefix.tool(tool));
    if let Some(ResponseFormat::JsonSchema(JsonSchema { name, schema, .. })) = format {
        prefix.text(name);
        prefix.value(schema);
    }
    let Some((last, earlier)) = messages.split_last() else { return prefix.finish() };
    earlier.iter().for_each(|message| prefix.message(message.role, &message.parts));
    let new = usize::from(!matches!(last.role, Role::System | Role::Developer));
    prefix.message(last.role, &last.parts[..last.parts.len().saturating_sub(new)]);
    prefix.finish()
}

/// Hash of the beginning of a request. Bytes after the first [`PREFIX_BYTES`] are ignored.
struct Prefix {
    hash: FoldHasher<'static>,
    left: usize,
}

impl Prefix {
    fn new(model: &str) -> Self {
        let mut hash = FixedState::with_seed(0).build_hasher();
        hash.write(model.as_bytes());
        Self { hash, left: PREFIX_BYTES }
    }

    fn tool(&mut self, tool: &Tool) {
        match tool {
            Tool::Other(value) => self.value(value),
            Tool::Function(FunctionTool { name, description, parameters, strict: _, extra: _ }) => {
                self.text(name);
                self.text(description.as_deref().unwrap_or_default());
                self.value(parameters);
            }
        }
    }

    fn message(&mut self, role: Role, parts: &[Part]) {
        self.mark(role as u8);
        parts.iter().for_each(|part| self.part(part));
    }

    fn part(&mut self, part: &Part) {
        match part {
            Part::Text { text, .. } | Part::Refusal { text } => self.text(text),
            Part::Reasoning(reasoning) => self.text(&reasoning.text),
            Part::ToolCall(ToolCall { name, arguments, .. }) => {
                self.text(name);
                self.text(arguments);
            }
            Part::ToolResult(result) => result.content.iter().for_each(|part| self.part(part)),
            Part::Image(image) => self.image(image),
            Part::Other { value } => self.value(value),
        }
    }

    /// Hashes the last bytes of an image, because the first bytes of images from one camera are alike.
    fn image(&mut self, image: &Image) {
        let bytes = match &image.source {
            ImageSource::Bytes { data, .. } => &data[..],
            ImageSource::Url { url } => url.as_bytes(),
        };
        let rest = self.left.saturating_sub(IMAGE_BYTES);
        self.mark(u8::MAX);
        self.write(&bytes[bytes.len().saturating_sub(self.left)..]);
        self.left = rest;
    }

    fn text(&mut self, text: &str) {
        self.mark(u8::MAX);
        self.write(text.as_bytes());
    }

    fn value(&mut self, value: &impl Hash) {
        if self.left > 0 {
            value.hash(self);
        }
    }

    /// Hashes a separator between two pieces. It does not count toward [`PREFIX_BYTES`].
    fn mark(&mut self, byte: u8) {
        if self.left > 0 {
            self.hash.write_u8(byte);
        }
    }
}

impl Hasher for Prefix {
    fn write(&mut self, bytes: &[u8]) {
        // Even a write of no bytes would change the hash.
        if self.left > 0 {
            let bytes = &bytes[..bytes.len().min(self.left)];
            self.hash.write(bytes);
            self.left -= bytes.len();
        }
    }

    fn finish(&self) -> u64 {
        if self.left > 0 { 0 } else { self.hash.finish().max(1) }
    }
}
