//! Cross-vendor fields: one vendor's responses leave them in a conversation, another vendor would refuse or misread them.
//!
//! Such fields are known by their names: fields without a name here are the user's, and pass through.

use llm_core::{Error, ErrorKind, Extra, chat::Reasoning};
use serde_json::Value;

/// Fields that answers leave in parts, and whose answers.
const MARKS: [(&str, &str); 11] = [
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
/// Unknown fields of Gemini's signed reasoning.
const THOUGHT: &str = "thought";
const THOUGHT_SIGNATURES: &str = "thought_signatures";
/// Claude's seal.
const SIGNATURE: &str = "signature";

/// Kinds of blocks in Anthropic's answers, beside those that end like a tool's result.
const ANTHROPIC: [&str; 5] = ["redacted_thinking", "server_tool_use", "mcp_tool_use", "container_upload", "compaction"];
/// Kinds of parts in OpenAI's format, Mistral's among them.
const OPENAI: [&str; 4] = ["image_url", "input_audio", "refusal", "reference"];
/// Fields of which a part of Gemini's holds one. Its parts have no `type`.
const GEMINI: [&str; 6] =
    ["codeExecutionResult", "executableCode", "fileData", "functionCall", "functionResponse", "inlineData"];

/// Refuses further fields of a part, at `here`, that another vendor's answer left in it: those that have a maker, and
/// are not among the names that this one knows.
pub(crate) fn refuse(extra: &Extra, here: &str, known: &[&str]) -> Result<(), Error> {
    match extra.iter().find_map(|(name, _)| foreign(name, known).map(|maker| (name, maker))) {
        Some((name, maker)) => Err(left(&format!("{here}.extra.{name}"), maker)),
        None => Ok(()),
    }
}

/// The further fields without those that another vendor's answer left.
pub(crate) fn own<'e>(extra: &'e Extra, known: &'e [&str]) -> impl Iterator<Item = (&'e str, &'e Value)> {
    extra.iter().filter(|(name, _)| foreign(name, known).is_none())
}

/// Refuses reasoning that another vendor sealed.
pub(crate) fn refuse_seal(reasoning: &Reasoning, here: &str, known: &[&str]) -> Result<(), Error> {
    match sealed(reasoning) {
        Some(name) => match foreign(name, known) {
            Some(maker) => Err(left(&format!("{here}, reasoning with a seal ({name})"), maker)),
            None => Ok(()),
        },
        None => Ok(()),
    }
}

/// By which mark reasoning is sealed, if it is: one of the names that [`refuse`] knows.
pub(crate) fn sealed(reasoning: &Reasoning) -> Option<&'static str> {
    let Reasoning { text: _, signature, extra } = reasoning;
    let marked = |name: &&'static str| extra.get(name).is_some();
    let mark = [THOUGHT, THOUGHT_SIGNATURES, "reasoning_details"].into_iter().find(marked);
    mark.or(signature.as_ref().map(|_| SIGNATURE))
}

/// Refuses a part without a name here that another vendor's answer left: it says something, so it cannot be left out.
pub(crate) fn refuse_other(value: &Value, here: &str, mine: &str) -> Result<(), Error> {
    match maker(value).filter(|maker| *maker != mine) {
        Some(maker) => Err(left(here, maker)),
        None => Ok(()),
    }
}

/// Returns the origin vendor of a part without a name here, by its shape.
fn maker(value: &Value) -> Option<&'static str> {
    match value.get("type").and_then(Value::as_str) {
        Some(kind) if ANTHROPIC.contains(&kind) || kind.ends_with("_tool_result") => Some("anthropic"),
        Some(kind) if OPENAI.contains(&kind) => Some("openai"),
        Some(_) => None,
        None => GEMINI.iter().any(|name| value.get(name).is_some()).then_some("gemini"),
    }
}

fn foreign(name: &str, known: &[&str]) -> Option<&'static str> {
    let (_, maker) = MARKS.iter().find(|(mark, _)| *mark == name)?;
    (!known.contains(&name)).then_some(*maker)
}

fn left(what: &str, maker: &str) -> Error {
    Error::new(ErrorKind::Unsupported, format!("{what}, which an answer of {maker} left, has no place: take it out"))
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
        let error = refuse(&extra, "messages[1].parts[0]", &["citations"]).unwrap_err();
        let told = "messages[1].parts[0].extra.thoughtSignature, which an answer of gemini left";
        assert!(error.kind() == ErrorKind::Unsupported && error.message().starts_with(told), "{error}");
        assert!(refuse(&extra, "", &["thoughtSignature"]).is_ok());
        assert_eq!(own(&extra, &[]).collect::<Vec<_>>(), [("mine", &json!(1))]);
    }

    #[test]
    fn cross_vendor_signature_names_its_origin() {
        let of = |mark: Option<&str>, signature: Option<&str>| {
            let mut extra = Extra::default();
            mark.into_iter().for_each(|mark| extra.insert(mark, true));
            Reasoning { text: "hm".into(), signature: signature.map(Into::into), extra }
        };
        assert_eq!(sealed(&of(None, None)), None);
        assert_eq!(sealed(&of(None, Some("S"))), Some("signature"));
        assert_eq!(sealed(&of(Some("thought"), Some("S"))), Some("thought"));
        assert_eq!(sealed(&of(Some("reasoning_details"), None)), Some("reasoning_details"));
        assert!(refuse_seal(&of(Some("thought"), Some("S")), "here", &["signature"]).is_err());
        assert!(refuse_seal(&of(None, Some("S")), "here", &["signature"]).is_ok());
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
        for (part, whose) in cases {
            assert_eq!(maker(&part), whose, "{part}");
            assert_eq!(
                refuse_other(&part, "here", "openai").is_err(),
                !matches!(whose, None | Some("openai")),
                "{part}"
            );
        }
    }
}
