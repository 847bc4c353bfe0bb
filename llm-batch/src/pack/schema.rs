//! The schema of a packed response: constant for a frame, whatever its items and ids.

use serde_json::{Map, Value, json};

/// Name of an item's own schema among the definitions.
const ITEM: &str = "item";

/// Returns the schema of packed responses to items of a schema, or of text.
pub(super) fn packed(item: Option<&Value>) -> Option<Value> {
    let text = json!({"type": "string"});
    let (answer, definitions) = match item {
        None => (text, None),
        // The decoy is answered by a text.
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

/// Returns the definitions by which an item's schema is nested: the schema itself, and its own definitions beside it. `None` if
/// it refers to something outside of itself, or is referred to by an address.
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

/// Rewrites the references inside a schema to where [`nest`] puts what they name.
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
            // Their keys are names, not keywords.
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
