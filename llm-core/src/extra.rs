use std::{fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::fingerprint::Fingerprinter;

/// JSON fields that this library does not know, which pass through requests and responses unchanged. Cheap to clone.
///
/// ```
/// use llm_core::ChatRequest;
///
/// let request = ChatRequest::new("m").user("hello").extra("service_tier", "flex");
/// assert_eq!(request.extra.get("service_tier").and_then(|tier| tier.as_str()), Some("flex"));
/// ```
#[derive(Clone, Default, PartialEq)]
pub struct Extra(Option<Arc<Map<String, Value>>>);

impl Extra {
    /// Returns `true` if there are no fields.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Returns the value of the field `name`; `None` if there is no such field.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.as_ref()?.get(name)
    }

    /// Adds a field, or replaces its value.
    ///
    /// ```
    /// use llm_core::Extra;
    ///
    /// let mut extra = Extra::default();
    /// extra.insert("user", "u-17");
    /// assert_eq!(extra.iter().count(), 1);
    /// ```
    pub fn insert(&mut self, name: impl Into<String>, value: impl Into<Value>) {
        Arc::make_mut(self.0.get_or_insert_default()).insert(name.into(), value.into());
    }

    /// Returns the fields as pairs of name and value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().flat_map(|map| map.iter()).map(|(name, value)| (name.as_str(), value))
    }

    /// Returns the fields; `None` if there are none.
    pub(crate) fn fields(&self) -> Option<&Map<String, Value>> {
        self.0.as_deref()
    }

    /// Merges fields that a later piece of a stream carries: objects are merged, arrays appended, other values
    /// replaced. A null replaces nothing.
    pub fn merge(&mut self, later: &Self) {
        if self.is_empty() {
            self.clone_from(later);
            return;
        }
        for (name, value) in later.iter() {
            let fields = Arc::make_mut(self.0.get_or_insert_default());
            match fields.get_mut(name) {
                Some(known) => merge(known, value),
                None => drop(fields.insert(name.to_owned(), value.clone())),
            }
        }
    }

    /// Returns the length of the fields' JSON text in bytes, for estimates; 0 without fields.
    pub(crate) fn json_bytes(&self) -> u64 {
        self.iter().map(|(name, value)| (name.len() + json_bytes(value) + r#""":,"#.len()) as u64).sum()
    }

    /// Writes the fields, if there are any, after the part that they belong to, as the variant `with`. No kind of part
    /// has the name `with`, so the fields never equal the bytes of a part.
    pub(crate) fn fingerprint_marked<'h>(&self, h: &'h mut Fingerprinter) -> &'h mut Fingerprinter {
        match self.iter().any(|(name, _)| counts(name)) {
            true => self.fingerprint(h.variant("with"), counts),
            false => h,
        }
    }

    pub(crate) fn fingerprint<'h>(
        &self,
        h: &'h mut Fingerprinter,
        counts: impl Fn(&str) -> bool,
    ) -> &'h mut Fingerprinter {
        h.object(self.iter().filter(|(name, _)| counts(name)))
    }
}

/// Returns `true` if an unknown field of a part, a message or a tool decides the response. Instructions for a vendor's
/// prompt cache do not decide it.
pub(crate) fn counts(name: &str) -> bool {
    !matches!(name, "cache_control" | "prompt_cache_breakpoint")
}

/// Returns the length of a value's JSON text in bytes.
pub(crate) fn json_bytes(value: &Value) -> usize {
    value.to_string().len()
}

fn merge(known: &mut Value, later: &Value) {
    match (known, later) {
        (Value::Object(known), Value::Object(later)) => {
            for (name, value) in later {
                match known.get_mut(name) {
                    Some(known) => merge(known, value),
                    None => drop(known.insert(name.clone(), value.clone())),
                }
            }
        }
        (Value::Array(known), Value::Array(later)) => known.extend(later.iter().cloned()),
        (known, later) if !later.is_null() => *known = later.clone(),
        _ => {}
    }
}

impl From<Map<String, Value>> for Extra {
    fn from(fields: Map<String, Value>) -> Self {
        Self((!fields.is_empty()).then(|| Arc::new(fields)))
    }
}

impl fmt::Debug for Extra {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl Serialize for Extra {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Extra {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Map::deserialize(deserializer).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn extra(value: Value) -> Extra {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn extra_pieces_merge() {
        let mut all = extra(json!({"tier": "default", "logprobs": {"content": [1]}, "kept": 1}));
        all.merge(&extra(
            json!({"tier": "flex", "logprobs": {"content": [2], "refusal": null}, "kept": null, "new": true}),
        ));
        assert_eq!(
            all,
            extra(json!({"tier": "flex", "logprobs": {"content": [1, 2], "refusal": null}, "kept": 1, "new": true}))
        );
    }
}
