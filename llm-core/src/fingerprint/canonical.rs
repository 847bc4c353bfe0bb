use serde_json::Value;

/// Writes the canonical bytes of a request.
///
/// Each value begins with a tag byte for its type. Texts and bytes have their length as a prefix, and lists and objects
/// end with a tag byte. Two different sequences of writes therefore never result in the same bytes. Object keys are
/// sorted. Integers keep all their digits, floating-point numbers are written as the JSON text that would be sent
/// (`0.7`, `1.0`; so `1` and `1.0` differ).
///
/// The bytes are not hashed, because an in-process cache compares them (or, for a long request, their keyed digest).
/// [`digest`](Self::digest) returns a name for an entry outside the process.
///
/// ```
/// use llm_core::layer::Fingerprinter;
///
/// let mut a = Fingerprinter::new();
/// a.text("ab").text("c");
/// let mut b = Fingerprinter::new();
/// b.text("a").text("bc");
/// assert_ne!(a.as_bytes(), b.as_bytes());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fingerprinter {
    pub(super) bytes: Vec<u8>,
}

pub(super) mod tag {
    pub(crate) const NONE: u8 = 0;
    pub(crate) const SOME: u8 = 1;
    pub(crate) const FALSE: u8 = 2;
    pub(crate) const TRUE: u8 = 3;
    pub(crate) const INTEGER: u8 = 4;
    pub(crate) const BIG_INTEGER: u8 = 5;
    pub(crate) const FLOAT: u8 = 6;
    pub(crate) const TEXT: u8 = 7;
    pub(crate) const BYTES: u8 = 8;
    pub(crate) const LIST: u8 = 9;
    pub(crate) const OBJECT: u8 = 10;
    pub(crate) const VARIANT: u8 = 11;
    pub(crate) const UNIT: u8 = 12;
    pub(crate) const NUMBER: u8 = 13;
    pub(crate) const END: u8 = 255;
}

impl Fingerprinter {
    /// Creates an empty fingerprinter.
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates an empty fingerprinter that writes into `buffer`, which is cleared first, so that a hot path can reuse
    /// its allocation.
    pub fn with_buffer(mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        Self { bytes: buffer }
    }

    /// Returns the canonical bytes so far.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the canonical bytes.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Returns the BLAKE3 digest of the canonical bytes: 32 bytes that name this request outside the process.
    pub fn digest(&self) -> [u8; 32] {
        *blake3::hash(&self.bytes).as_bytes()
    }

    /// Writes a text, with its length in bytes as a prefix.
    pub fn text(&mut self, text: &str) -> &mut Self {
        self.prefixed(tag::TEXT, text.as_bytes())
    }

    /// Writes bytes, such as those of an image, with their number as a prefix.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.prefixed(tag::BYTES, bytes)
    }

    /// Writes a boolean.
    pub fn boolean(&mut self, value: bool) -> &mut Self {
        self.tag(if value { tag::TRUE } else { tag::FALSE })
    }

    /// Writes an integer of any width. Equal integers of different Rust types have equal bytes.
    pub fn integer(&mut self, value: impl Into<i128>) -> &mut Self {
        self.tag(tag::INTEGER);
        self.bytes.extend_from_slice(&value.into().to_le_bytes());
        self
    }

    /// Writes a floating-point number as the JSON text that would be sent.
    ///
    /// Infinities and NaN have no JSON text; they differ from each other and from every number.
    pub fn float(&mut self, value: f64) -> &mut Self {
        match serde_json::Number::from_f64(value) {
            Some(number) => self.float_text(&number.to_string()),
            None => self.float_text(&value.to_string()),
        }
    }

    /// Writes an optional value as a tag, followed by the value itself if there is one. `write` writes the value.
    pub fn option<T>(
        &mut self,
        value: Option<T>,
        write: impl for<'a> FnOnce(&'a mut Self, T) -> &'a mut Self,
    ) -> &mut Self {
        match value {
            None => self.tag(tag::NONE),
            Some(value) => {
                self.tag(tag::SOME);
                write(self, value)
            }
        }
    }

    /// Writes the items of a list in order, between a tag for its beginning and a tag for its end. `write` writes one
    /// item.
    pub fn list<I: IntoIterator>(
        &mut self,
        items: I,
        mut write: impl for<'a> FnMut(&'a mut Self, I::Item) -> &'a mut Self,
    ) -> &mut Self {
        self.tag(tag::LIST);
        for item in items {
            write(self, item);
        }
        self.tag(tag::END)
    }

    /// Writes the name of an enum's variant. Write the variant's fields after it.
    pub fn variant(&mut self, name: &str) -> &mut Self {
        self.prefixed(tag::VARIANT, name.as_bytes())
    }

    /// Writes a JSON value, with object keys sorted and numbers as their JSON text.
    pub fn json(&mut self, value: &Value) -> &mut Self {
        match value {
            Value::Null => self.tag(tag::NONE),
            Value::Bool(value) => self.boolean(*value),
            Value::Number(number) => self.number(number),
            Value::String(text) => self.text(text),
            Value::Array(items) => self.list(items, |h, item| h.json(item)),
            Value::Object(fields) => self.object(fields.iter().map(|(k, v)| (k.as_str(), v))),
        }
    }

    /// Writes the fields of a JSON object, sorted by name.
    pub fn object<'a>(&mut self, fields: impl IntoIterator<Item = (&'a str, &'a Value)>) -> &mut Self {
        let mut fields: Vec<_> = fields.into_iter().collect();
        fields.sort_unstable_by_key(|(name, _)| *name);
        self.tag(tag::OBJECT);
        for (name, value) in fields {
            self.text(name).json(value);
        }
        self.tag(tag::END)
    }

    pub(super) fn tag(&mut self, tag: u8) -> &mut Self {
        self.bytes.push(tag);
        self
    }

    pub(super) fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    pub(super) fn float_text(&mut self, text: &str) -> &mut Self {
        self.prefixed(tag::FLOAT, text.as_bytes())
    }

    pub(super) fn big_integer(&mut self, value: u128) -> &mut Self {
        match i128::try_from(value) {
            Ok(value) => self.integer(value),
            Err(_) => self.tag(tag::BIG_INTEGER).raw(&value.to_le_bytes()),
        }
    }

    fn number(&mut self, number: &serde_json::Number) -> &mut Self {
        // With the feature `arbitrary_precision` of serde_json, `-0` parses as an integer, although its text differs
        // from that of `0`.
        if let Some(value) = number.as_i128().filter(|value| *value != 0 || number.as_u64().is_some()) {
            return self.integer(value);
        }
        // The text distinguishes 1 from 1.0, and keeps every digit if the feature `arbitrary_precision` is on.
        let text = number.to_string();
        let tag = if number.is_f64() { tag::FLOAT } else { tag::NUMBER };
        self.prefixed(tag, text.as_bytes())
    }

    fn prefixed(&mut self, tag: u8, bytes: &[u8]) -> &mut Self {
        self.bytes.reserve(9 + bytes.len());
        self.bytes.push(tag);
        self.bytes.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        self.bytes.extend_from_slice(bytes);
        self
    }
}
