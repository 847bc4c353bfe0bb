use llm_core::FinishReason;
use serde_json::Value;

use super::super::fields::Fields;

/// The vendor's words by their numbers, which some proxies send.
const NUMBERED: [&str; 12] = [
    "FINISH_REASON_UNSPECIFIED",
    "STOP",
    "MAX_TOKENS",
    "SAFETY",
    "RECITATION",
    "OTHER",
    "LANGUAGE",
    "BLOCKLIST",
    "PROHIBITED_CONTENT",
    "SPII",
    "MALFORMED_FUNCTION_CALL",
    "IMAGE_SAFETY",
];

/// Why a candidate ended. One that calls functions ends with `STOP` like any other.
pub(in super::super) fn finish_reason(word: Option<&Value>, called: bool) -> FinishReason {
    let word = match word {
        None | Some(Value::Null) => return FinishReason::Unknown,
        Some(Value::String(word)) => word.clone(),
        Some(other) => {
            let known = other.as_u64().and_then(|number| NUMBERED.get(usize::try_from(number).ok()?));
            known.map_or_else(|| other.to_string(), |word| (*word).to_owned())
        }
    };
    match word.as_str() {
        "STOP" if called => FinishReason::ToolCalls,
        "STOP" => FinishReason::Stop,
        "MAX_TOKENS" => FinishReason::Length,
        "SAFETY"
        | "RECITATION"
        | "BLOCKLIST"
        | "PROHIBITED_CONTENT"
        | "SPII"
        | "IMAGE_SAFETY"
        | "IMAGE_PROHIBITED_CONTENT"
        | "IMAGE_RECITATION" => FinishReason::ContentFilter,
        "" | "FINISH_REASON_UNSPECIFIED" => FinishReason::Unknown,
        _ => FinishReason::Other(word.into()),
    }
}

/// Keeps the vendor's word where ours says less: which filter it was.
pub(in super::super) fn keep_word(fields: &mut Fields, word: Option<Value>, finish: &FinishReason) {
    if let (FinishReason::ContentFilter, Some(word)) = (finish, word) {
        fields.insert("finishReason".to_owned(), word);
    }
}
