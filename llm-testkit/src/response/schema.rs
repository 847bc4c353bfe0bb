//! Values that fit a JSON schema.

use crate::prng::Prng;
use serde_json::{Map, Value, json};

/// Largest depth of nested values; deeper values are `null`.
const DEPTH: u32 = 8;

/// Returns a value that fits `schema` in its types, properties, enumerations and constants, pseudo-random by `prng`.
///
/// Other constraints (patterns, bounds, lengths) are ignored.
pub(crate) fn instance(schema: &Value, prng: &mut Prng) -> Value {
    Instance { root: schema, prng }.value(schema, DEPTH)
}

struct Instance<'a> {
    root: &'a Value,
    prng: &'a mut Prng,
}

impl Instance<'_> {
    fn value(&mut self, schema: &Value, depth: u32) -> Value {
        let Some(deeper) = depth.checked_sub(1) else { return Value::Null };
        if let Some(constant) = schema.get("const") {
            return constant.clone();
        }
        if let Some(options) = schema["enum"].as_array().filter(|options| !options.is_empty()) {
            return self.pick(options).clone();
        }
        if let Some(target) = schema["$ref"].as_str().and_then(|to| self.root.pointer(to.strip_prefix('#')?)) {
            return self.value(target, deeper);
        }
        for combination in ["anyOf", "oneOf", "allOf"] {
            if let Some(first) = schema[combination].as_array().and_then(|options| options.first()) {
                return self.value(first, deeper);
            }
        }
        self.typed(schema, deeper)
    }

    fn typed(&mut self, schema: &Value, depth: u32) -> Value {
        let named = match &schema["type"] {
            Value::Array(types) => types.iter().find_map(|name| name.as_str().filter(|name| *name != "null")),
            name => name.as_str(),
        };
        match named {
            Some("string") => json!(format!("s{:08x}", self.prng.next() >> 32)),
            Some("integer") => json!(self.prng.below(100)),
            Some("number") => json!(self.prng.below(1_000) as f64 / 8.0),
            Some("boolean") => json!(self.prng.below(2) == 1),
            Some("array") => json!([self.value(&schema["items"], depth)]),
            Some("null") => Value::Null,
            _ => self.object(schema, depth),
        }
    }

    fn object(&mut self, schema: &Value, depth: u32) -> Value {
        let Some(properties) = schema["properties"].as_object() else { return json!({}) };
        // NOTE: the properties are sorted, so that the draws do not depend on a feature of serde_json.
        let mut sorted: Vec<_> = properties.iter().collect();
        sorted.sort_unstable_by_key(|(name, _)| *name);
        let fields = sorted.into_iter().map(|(name, schema)| (name.clone(), self.value(schema, depth)));
        Value::Object(fields.collect::<Map<_, _>>())
    }

    fn pick<'v>(&mut self, options: &'v [Value]) -> &'v Value {
        let at = self.prng.below(options.len() as u64);
        &options[usize::try_from(at).unwrap_or(0)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schema_instance_fits_every_type() {
        let schema = json!({"type": "object", "properties": {
            "s": {"type": "string"}, "i": {"type": "integer"}, "n": {"type": ["null", "number"]}, "b": {"type": "boolean"},
            "a": {"type": "array", "items": {"type": "string"}}, "e": {"enum": ["x", "y"]}, "c": {"const": 7},
            "r": {"$ref": "#/$defs/r"}, "u": {"anyOf": [{"type": "integer"}]}}, "$defs": {"r": {"type": "boolean"}}});
        let value = instance(&schema, &mut Prng::new(1, 1));
        assert!(value["s"].is_string() && value["i"].is_u64() && value["n"].is_number() && value["b"].is_boolean());
        assert!(value["a"][0].is_string() && value["r"].is_boolean() && value["u"].is_u64());
        assert!(value["e"] == "x" || value["e"] == "y");
        assert_eq!(value["c"], 7);
    }

    #[test]
    fn schema_recursion_ends() {
        let schema = json!({"type": "object", "properties": {"next": {"$ref": "#"}}});
        assert!(instance(&schema, &mut Prng::new(1, 1))["next"]["next"].is_object());
    }

    #[test]
    fn schema_instance_follows_from_seed() {
        let schema = json!({"properties": {"s": {"type": "string"}}});
        let draw = |seed| instance(&schema, &mut Prng::new(seed, 1));
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }
}
