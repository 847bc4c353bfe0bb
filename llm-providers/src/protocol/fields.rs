//! Removal of known fields from a JSON object, whose other fields become an `extra`.

use std::sync::Arc;

use llm_core::{Charge, Error, ErrorKind, layer::Accounting};
use serde::de::DeserializeSeed;
use serde_json::{Map, Value};

use super::{exact::Exact, surrogate::readable};

pub(crate) type Fields = Map<String, Value>;

/// Returns the error for a response that violates its format. Its charge is unknown, because the call was sent.
pub(crate) fn malformed(message: impl Into<Arc<str>>) -> Error {
    Error::new(ErrorKind::Malformed, message).with_charge(Charge::Unknown)
}

/// Creates accounting data with the values that decide the price: model, service class and surcharges.
pub(crate) fn served(model: Option<&Value>, tier: Option<Arc<str>>, surcharges: &[Arc<str>]) -> Accounting {
    let mut accounting = Accounting::default();
    accounting.model = model.and_then(Value::as_str).filter(|model| !model.is_empty()).map(Arc::from);
    accounting.service_tier = tier;
    accounting.surcharges = surcharges.to_vec();
    accounting
}

/// Parses a JSON object.
pub(crate) fn object(bytes: &[u8]) -> Result<Fields, Error> {
    read(bytes, |text| serde_json::from_str(text))
}

/// Parses a JSON object as [`object`] does, but keeps the values of `field` as the JSON text that was received, with
/// all digits, in objects under a key of `within` and in lists there. If such a value is a JSON string, its text is
/// kept.
pub(crate) fn object_with(bytes: &[u8], within: &[&str], field: &str) -> Result<Fields, Error> {
    read(bytes, |text| {
        let mut json = serde_json::Deserializer::from_str(text);
        let value = Exact { within, field, here: false }.deserialize(&mut json)?;
        json.end().map(|()| value)
    })
}

/// Removes a text field and returns it. A null is removed too; any other value stays.
pub(crate) fn take_text(fields: &mut Fields, name: &str) -> Option<String> {
    match fields.get_mut(name)? {
        Value::String(text) => {
            let text = std::mem::take(text);
            fields.remove(name);
            Some(text)
        }
        Value::Null => {
            fields.remove(name);
            None
        }
        _ => None,
    }
}

/// Removes a field and returns its value as text: a string unchanged, and any other value as JSON. Returns `None` for
/// null and for an empty string.
pub(crate) fn take_word(fields: &mut Fields, name: &str) -> Option<String> {
    match fields.remove(name)? {
        Value::String(word) => Some(word).filter(|word| !word.is_empty()),
        Value::Null => None,
        other => Some(other.to_string()),
    }
}

/// Removes an [`index`] and returns it. A null is removed too; any other value stays.
pub(crate) fn take_index(fields: &mut Fields, name: &str) -> Option<u32> {
    let value = fields.get(name)?;
    let index = index(value);
    if index.is_some() || value.is_null() {
        fields.remove(name);
    }
    index
}

/// Reads an index, which some servers write as a float or as text.
pub(crate) fn index(value: &Value) -> Option<u32> {
    const END: f64 = (u32::MAX as f64) + 1.0;
    match value {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => {
            let is_index = |number: &f64| number.fract() == 0.0 && (0.0..END).contains(number);
            number.as_f64().filter(is_index).map(|number| number as u32)
        }
        _ => None,
    }
}

/// Removes a list and returns it. A null is removed too; any other value stays.
pub(crate) fn take_list(fields: &mut Fields, name: &str) -> Option<Vec<Value>> {
    match fields.get_mut(name)? {
        Value::Array(list) => {
            let list = std::mem::take(list);
            fields.remove(name);
            Some(list)
        }
        Value::Null => {
            fields.remove(name);
            None
        }
        _ => None,
    }
}

/// Removes an object and returns it. A null is removed too; any other value stays.
pub(crate) fn take_object(fields: &mut Fields, name: &str) -> Option<Fields> {
    match fields.get_mut(name)? {
        Value::Object(object) => {
            let object = std::mem::take(object);
            fields.remove(name);
            Some(object)
        }
        Value::Null => {
            fields.remove(name);
            None
        }
        _ => None,
    }
}

fn read(bytes: &[u8], parse: impl FnOnce(&str) -> Result<Value, serde_json::Error>) -> Result<Fields, Error> {
    let text = std::str::from_utf8(bytes).map_err(|error| malformed("the response is not UTF-8").with_source(error))?;
    let text = &*readable(text);
    match parse(text) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Err(malformed("the response is JSON but not an object")),
        Err(error) => Err(not_json(text, &error)),
    }
}

fn not_json(text: &str, error: &serde_json::Error) -> Error {
    let start = text.trim_start();
    if start.is_empty() {
        return malformed("the response is empty");
    }
    if start.starts_with('<') {
        return malformed(
            "the response is a page of HTML or XML, not JSON: is the base URL right, is a proxy between?",
        );
    }
    malformed(format!("the response is not JSON: {error}"))
}
