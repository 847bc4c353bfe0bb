//! JSON schema of a packed response. All requests with the same frame have the same schema, because it does not depend
//! on items and ids.

use serde_json::{Map, Value, json};

/// Name of the item's own schema among the definitions (`$defs`) of a packed response's schema.
const ITEM: &str = "item";

/// Returns the schema for packed responses whose answers follow the schema `item`, or are texts if `item` is `None`.
/// Returns `None` if the schema `item` cannot be [nested](nest).
pub(super) fn packed(item: Option<&Value>) -> Option<Value> {
    let text = json!({"type": "string"});
    let (answer, definitions) = match item {
        None => (text, None),
        // Text is allowed as well, because the answer to the decoy is a text.
        Some(item) => (json!({"anyOf": [{"$ref": format!("#/$defs/{ITEM}")}, text]}), Some(nest(item)?)),
    };
    let mut schema = json!({
        "type": "object",
        "properties": {"answers": {"type": "array", "items": {
            "type": "object",
            "properties": {"id": {"type": "string"}, "answer": answer},
            "required": ["id", "answer"],
            "additionalProperties": false,
        }}},
        "required": ["answers"],
        "additionalProperties": false,
    });
    if let Some(definitions) = definitions {
        schema["$defs"] = Value::Object(definitions);
    }
    Some(schema)
}

/// Returns the definitions that hold an item's schema inside another schema, which are the schema itself and, beside
/// it, its own definitions. Returns `None` if the schema refers to something outside of itself, or has an `$id` or an
/// anchor to which other schemas could refer.
pub(super) fn nest(item: &Value) -> Option<Map<String, Value>> {
    let mut item = item.clone();
    let mut definitions = Map::new();
    for keyword in ["$defs", "definitions"] {
        let Some(Value::Object(own)) = item.as_object_mut().and_then(|item| item.remove(keyword)) else { continue };
        for (name, mut schema) in own {
            rewrite(&mut schema)?;
            definitions.insert(format!("{ITEM}.{keyword}.{name}"), schema);
        }
    }
    rewrite(&mut item)?;
    definitions.insert(ITEM.to_owned(), item);
    Some(definitions)
}

/// Rewrites the references in a schema to the names under which [`nest`] puts their targets. Returns `None` if the
/// schema cannot be nested.
fn rewrite(schema: &mut Value) -> Option<()> {
    match schema {
        Value::Array(all) => all.iter_mut().try_for_each(rewrite),
        Value::Object(rules) => rules.iter_mut().try_for_each(|(keyword, rule)| match (keyword.as_str(), rule) {
            ("$ref", Value::String(reference)) => {
                *reference = nested_reference(reference)?;
                Some(())
            }
            ("$id" | "$anchor" | "$dynamicRef" | "$dynamicAnchor" | "$recursiveRef" | "$recursiveAnchor", _) => None,
            ("const" | "enum" | "default" | "examples", _) => Some(()),
            // The keys of these objects are names and not keywords.
            (
                "properties" | "patternProperties" | "dependentSchemas" | "$defs" | "definitions",
                Value::Object(named),
            ) => named.values_mut().try_for_each(rewrite),
            (_, rule) => rewrite(rule),
        }),
        _ => Some(()),
    }
}

fn nested_reference(reference: &str) -> Option<String> {
    let path = reference.strip_prefix('#')?;
    for keyword in ["$defs", "definitions"] {
        if let Some(name) = path.strip_prefix(&format!("/{keyword}/")) {
            return Some(format!("#/$defs/{ITEM}.{keyword}.{name}"));
        }
    }
    (path.is_empty() || path.starts_with('/')).then(|| format!("#/$defs/{ITEM}{path}"))
}
