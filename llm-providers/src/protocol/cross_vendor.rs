//! Cross-vendor fields: fields of one vendor's responses in a conversation, which another vendor would refuse or
//! misread.
//!
//! Such fields are recognised by the names listed here. All other unknown fields come from the user and are sent
//! unchanged.

use llm_core::{Error, ErrorKind, Extra, chat::Reasoning};
use serde_json::Value;

/// Fields that vendors' responses contain in parts, with the vendor that each comes from.
const FIELDS: [(&str, &str); 11] = [
    ("caller", "anthropic"),
    ("citations", "anthropic"),
    ("custom", "openai"),
    ("extra_content", "gemini's compatible endpoint"),
    ("function", "openai"),
    ("functionCall", "gemini"),
    ("reasoning_details", "openrouter"),
    (SIGNATURE, "anthropic"),
    (THOUGHT, "gemini"),
    (THOUGHT_SIGNATURES, "genai"),
    ("thoughtSignature", "gemini"),
];
/// Unknown field that Gemini's signed reasoning has.
const THOUGHT: &str = "thought";
const THOUGHT_SIGNATURES: &str = "thought_signatures";
/// Field that holds the signature of reasoning in Claude's responses.
const SIGNATURE: &str = "signature";

/// Types of blocks in Anthropic's responses, in addition to the types that end with `_tool_result`.
const ANTHROPIC: [&str; 5] = ["redacted_thinking", "server_tool_use", "mcp_tool_use", "container_upload", "compaction"];
/// Types of parts in OpenAI's format, including Mistral's.
const OPENAI: [&str; 4] = ["image_url", "input_audio", "refusal", "reference"];
/// Fields of which a Gemini part has exactly one. Gemini's parts have no `type`.
const GEMINI: [&str; 6] =
    ["codeExecutionResult", "executableCode", "fileData", "functionCall", "functionResponse", "inlineData"];

/// Returns an error if a part has an unknown field that only another vendor's responses contain. These are the names in
/// [`FIELDS`], except those in `known`, which this vendor accepts. `here` is the path of the part in the error.
pub(crate) fn refuse_fields(extra: &Extra, here: &str, known: &[&str]) -> Result<(), Error> {
    match extra.iter().find_map(|(name, _)| origin_of_field(name, known).map(|origin| (name, origin))) {
        Some((name, origin)) => Err(refusal(&format!("{here}.extra.{name}"), origin)),
        None => Ok(()),
    }
}

/// Returns the unknown fields, except those that only another vendor's responses contain.
pub(crate) fn own_fields<'e>(extra: &'e Extra, known: &'e [&str]) -> impl Iterator<Item = (&'e str, &'e Value)> {
    extra.iter().filter(|(name, _)| origin_of_field(name, known).is_none())
}

/// Returns an error for reasoning that another vendor signed.
pub(crate) fn refuse_signature(reasoning: &Reasoning, here: &str, known: &[&str]) -> Result<(), Error> {
    match signature_field(reasoning) {
        Some(name) => match origin_of_field(name, known) {
            Some(origin) => Err(refusal(&format!("{here}, reasoning with a signature ({name})"), origin)),
            None => Ok(()),
        },
        None => Ok(()),
    }
}

/// Returns the name of the field that signs reasoning, if there is one, among the names that [`refuse_fields`]
/// recognises.
pub(crate) fn signature_field(reasoning: &Reasoning) -> Option<&'static str> {
    let Reasoning { text: _, signature, extra } = reasoning;
    let has = |name: &&'static str| extra.get(name).is_some();
    let field = [THOUGHT, THOUGHT_SIGNATURES, "reasoning_details"].into_iter().find(has);
    field.or(signature.as_ref().map(|_| SIGNATURE))
}

/// Returns an error for a part of an unknown type that comes from another vendor's response. Such a part cannot be left
/// out, because it has content.
pub(crate) fn refuse_part(value: &Value, here: &str, mine: &str) -> Result<(), Error> {
    match origin_of_part(value).filter(|origin| *origin != mine) {
        Some(origin) => Err(refusal(here, origin)),
        None => Ok(()),
    }
}

/// Returns the vendor from whose response a part of an unknown type comes, by the part's `type` or field names.
fn origin_of_part(value: &Value) -> Option<&'static str> {
    match value.get("type").and_then(Value::as_str) {
        Some(kind) if ANTHROPIC.contains(&kind) || kind.ends_with("_tool_result") => Some("anthropic"),
        Some(kind) if OPENAI.contains(&kind) => Some("openai"),
        Some(_) => None,
        None => GEMINI.iter().any(|name| value.get(name).is_some()).then_some("gemini"),
    }
}

fn origin_of_field(name: &str, known: &[&str]) -> Option<&'static str> {
    let (_, origin) = FIELDS.iter().find(|(field, _)| *field == name)?;
    (!known.contains(&name)).then_some(*origin)
}

fn refusal(what: &str, origin: &str) -> Error {
    Error::new(ErrorKind::Unsupported, format!("{what}, which a response of {origin} left, has no place: remove it"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn cross_vendor_field_has_one_origin() {
        let mut extra = Extra::default();
        extra.insert("thoughtSignature", "S");
        extra.insert("mine", 1);
        let error = refuse_fields(&extra, "messages[1].parts[0]", &["citations"]).unwrap_err();
        let expected = "messages[1].parts[0].extra.thoughtSignature, which a response of gemini left";
        assert!(error.kind() == ErrorKind::Unsupported && error.message().starts_with(expected), "{error}");
        assert!(refuse_fields(&extra, "", &["thoughtSignature"]).is_ok());
        assert_eq!(own_fields(&extra, &[]).collect::<Vec<_>>(), [("mine", &json!(1))]);
    }

    #[test]
    fn cross_vendor_signature_names_its_origin() {
        let of = |field: Option<&str>, signature: Option<&str>| {
            let mut extra = Extra::default();
            field.into_iter().for_each(|field| extra.insert(field, true));
            Reasoning { text: "hm".into(), signature: signature.map(Into::into), extra }
        };
        assert_eq!(signature_field(&of(None, None)), None);
        assert_eq!(signature_field(&of(None, Some("S"))), Some("signature"));
        assert_eq!(signature_field(&of(Some("thought"), Some("S"))), Some("thought"));
        assert_eq!(signature_field(&of(Some("reasoning_details"), None)), Some("reasoning_details"));
        assert!(refuse_signature(&of(Some("thought"), Some("S")), "here", &["signature"]).is_err());
        assert!(refuse_signature(&of(None, Some("S")), "here", &["signature"]).is_ok());
    }

    #[test]
    fn cross_vendor_part_without_name_has_origin() {
        let cases = [
            (json!({"type": "server_tool_use", "id": "1"}), Some("anthropic")),
            (json!({"type": "web_search_tool_result"}), Some("anthropic")),
            (json!({"type": "input_audio", "input_audio": {}}), Some("openai")),
            (json!({"executableCode": {"code": "1"}}), Some("gemini")),
            (json!({"type": "video", "url": "u"}), None),
            (json!("odd"), None),
        ];
        for (part, origin) in cases {
            assert_eq!(origin_of_part(&part), origin, "{part}");
            assert_eq!(
                refuse_part(&part, "here", "openai").is_err(),
                !matches!(origin, None | Some("openai")),
                "{part}"
            );
        }
    }
}
