//! JSON in which one field is kept exactly as it was written, with all digits.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value, value::RawValue};

/// Reads JSON. The value of `field` is kept as text in objects directly under a key of `within`, or in lists there. If
/// the value is a JSON string, its unescaped text is kept.
#[derive(Clone, Copy)]
pub(super) struct Exact<'n> {
    pub(super) within: &'n [&'n str],
    pub(super) field: &'n str,
    /// True while the reader is inside the value of one of the keys in `within`.
    pub(super) here: bool,
}

impl<'de> DeserializeSeed<'de> for Exact<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Exact<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element_seed(self)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            let value = if self.here && name == self.field {
                text(map.next_value()?).map_err(A::Error::custom)?
            } else {
                let within = if self.here { &[] } else { self.within };
                map.next_value_seed(Self { within, here: within.contains(&name.as_str()), ..self })?
            };
            fields.insert(name, value);
        }
        Ok(Value::Object(fields))
    }
}

fn text(raw: &RawValue) -> Result<Value, serde_json::Error> {
    match raw.get() {
        "null" => Ok(Value::Null),
        text if text.starts_with('"') => serde_json::from_str(text),
        text => Ok(Value::String(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fields::{object, object_with};

    #[test]
    fn exact_keeps_digits_of_one_field() {
        let digits = "123456789012345678901234567890.12345678901234567890";
        let response = format!(
            r#"{{"a": [true, -1, 18446744073709551615, 1.5, null, "x\u00e9"], "args": {{"n": 1}},
                "calls": [{{"args": {{ "n": {digits}, "s": "\u00e9"}}, "rest": {{"args": {{"n": 2}}}}}}, {{"args": "{{}}"}}, {{"args": null}}],
                "more": {{"args": {digits}, "calls": {{"args": {{"n": 3}}}}}}}}"#
        );
        let read = object_with(response.as_bytes(), &["calls", "more"], "args").unwrap();
        assert_eq!(read["calls"][0]["args"], json!(format!(r#"{{ "n": {digits}, "s": "\u00e9"}}"#)));
        assert_eq!((&read["calls"][1]["args"], &read["calls"][2]["args"]), (&json!("{}"), &json!(null)));
        assert_eq!(read["calls"][0]["rest"], json!({"args": {"n": 2}}));
        assert_eq!(read["more"], json!({"args": digits, "calls": {"args": {"n": 3}}}), "none within those");
        let plain = object(response.as_bytes()).unwrap();
        assert_eq!((&read["a"], &read["args"]), (&plain["a"], &plain["args"]));
    }

    #[test]
    fn exact_reports_invalid_json_as_serde() {
        let deep = "[".repeat(10_000);
        for text in ["", "<html>", "[1]", "{\"a\":1} x", "{\"a\":", &format!("{{\"a\":{deep}"), "{\"f\":{\"g\":[}}"] {
            let (one, other) =
                (object(text.as_bytes()).unwrap_err(), object_with(text.as_bytes(), &["f"], "g").unwrap_err());
            assert_eq!((one.kind(), one.charge()), (other.kind(), other.charge()), "{text}");
        }
    }
}
