//! Check of a value against the structure of a JSON schema.

use std::cell::Cell;

use serde_json::{Map, Value};

/// Deepest nesting of references and values that is checked. A value nested deeper counts as not following the schema.
const DEEPEST: u32 = 64;
/// Largest number of rules that are checked, because the check of a schema that refers to itself several times might
/// not end otherwise. A value that needs more checks counts as not following the schema.
const MOST_RULES: u32 = 100_000;

/// Returns `true` if a value follows a schema.
///
/// It checks what vendors enforce of a schema: `type`, `enum`, `const`, `properties`, `required`,
/// `additionalProperties`, `items`, `anyOf`, `oneOf`, `allOf` and local `$ref`s. It ignores all other keywords
/// (`pattern`, `format`, bounds of numbers and lengths).
pub(super) fn conforms(schema: &Value, value: &Value) -> bool {
    let left = Cell::new(MOST_RULES);
    Schema { root: schema, depth: DEEPEST, left: &left }.allows(schema, value)
}

#[derive(Clone, Copy)]
struct Schema<'a> {
    root: &'a Value,
    depth: u32,
    left: &'a Cell<u32>,
}

impl<'a> Schema<'a> {
    fn allows(self, schema: &'a Value, value: &Value) -> bool {
        let Value::Object(rules) = schema else { return *schema != Value::Bool(false) };
        let Some(depth) = self.depth.checked_sub(1) else { return false };
        let deeper = Self { depth, ..self };
        rules.iter().all(|(keyword, rule)| self.is_left() && deeper.allows_by(keyword, rule, rules, value))
    }

    fn allows_by(self, keyword: &str, rule: &'a Value, rules: &'a Map<String, Value>, value: &Value) -> bool {
        let each = || rule.as_array().into_iter().flatten();
        match keyword {
            "$ref" => self.find(rule).is_some_and(|schema| self.allows(schema, value)),
            "type" if rule.is_array() => each().any(|kind| is(kind, value)),
            "type" => is(rule, value),
            "enum" => each().any(|allowed| same(allowed, value)),
            "const" => same(rule, value),
            "anyOf" => each().any(|schema| self.allows(schema, value)),
            "oneOf" => each().filter(|schema| self.allows(schema, value)).count() == 1,
            "allOf" => each().all(|schema| self.allows(schema, value)),
            "items" => value.as_array().into_iter().flatten().all(|item| self.allows(rule, item)),
            "required" => value
                .as_object()
                .is_none_or(|fields| each().filter_map(Value::as_str).all(|name| fields.contains_key(name))),
            "properties" => value.as_object().is_none_or(|fields| {
                let known =
                    |(name, value): (&String, &Value)| rule.get(name).is_none_or(|schema| self.allows(schema, value));
                fields.iter().all(known)
            }),
            "additionalProperties" => value.as_object().is_none_or(|fields| {
                let known = rules.get("properties");
                let patterns = rules.contains_key("patternProperties");
                let is_unlisted = |name: &str| !patterns && known.is_none_or(|known| known.get(name).is_none());
                fields.iter().filter(|(name, _)| is_unlisted(name)).all(|(_, value)| self.allows(rule, value))
            }),
            _ => true,
        }
    }

    fn is_left(self) -> bool {
        let left = self.left.get();
        self.left.set(left.saturating_sub(1));
        left > 0
    }

    /// Returns the schema that a local reference (`#`, `#/$defs/name`) names.
    fn find(self, reference: &Value) -> Option<&'a Value> {
        self.root.pointer(reference.as_str()?.strip_prefix('#')?)
    }
}

fn is(kind: &Value, value: &Value) -> bool {
    match kind.as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("null") => value.is_null(),
        Some("number") => value.is_number(),
        Some("integer") => value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|n| n.fract() == 0.0),
        _ => true,
    }
}

/// Returns `true` if two values are equal as JSON, in which 1 equals 1.0.
fn same(a: &Value, b: &Value) -> bool {
    a == b || a.is_number() && b.is_number() && a.as_f64() == b.as_f64()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_schema_structure_is_checked() {
        let schema = json!({
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "stars": {"enum": [1, 2, 3]},
                "next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]},
                "tags": {"type": "array", "items": {"$ref": "#/$defs/tag"}},
            },
            "required": ["name", "stars"],
            "additionalProperties": false,
            "$defs": {"tag": {"type": ["string", "integer"]}},
        });
        let good = [
            json!({"name": "a", "stars": 2}),
            json!({"name": "a", "stars": 2.0, "tags": ["x", 7, 7.0], "next": {"name": "b", "stars": 1, "next": null}}),
        ];
        let bad = [
            json!([]),
            json!({"name": "a"}),
            json!({"name": 1, "stars": 2}),
            json!({"name": "a", "stars": 4}),
            json!({"name": "a", "stars": 2, "more": 1}),
            json!({"name": "a", "stars": 2, "tags": [null]}),
            json!({"name": "a", "stars": 2, "next": {"name": "b"}}),
        ];
        assert!(good.iter().all(|value| conforms(&schema, value)));
        for value in bad {
            assert!(!conforms(&schema, &value), "{value}");
        }
    }

    #[test]
    fn json_schema_endless_reference_is_refused() {
        assert!(!conforms(&json!({"$ref": "#"}), &json!(1)));
        assert!(!conforms(&json!({"$ref": "#/$defs/none"}), &json!(1)));
        let doubling = json!({"anyOf": [{"$ref": "#"}, {"$ref": "#"}]});
        assert!(!conforms(&doubling, &json!(1)));
    }

    #[test]
    fn json_schema_combinators_are_checked() {
        let one = json!({"oneOf": [{"type": "integer"}, {"type": "number"}]});
        assert!(conforms(&one, &json!(1.5)) && !conforms(&one, &json!(1)));
        let all = json!({"allOf": [{"type": "number"}, {"const": 1}]});
        assert!(conforms(&all, &json!(1.0)) && !conforms(&all, &json!(2)));
        assert!(conforms(&json!(true), &json!(1)) && !conforms(&json!(false), &json!(1)));
    }
}
