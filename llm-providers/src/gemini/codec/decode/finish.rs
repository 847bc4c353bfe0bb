use llm_core::FinishReason;
use serde_json::Value;

use super::super::{
    CallIds,
    fields::{Fields, take_word},
};
use crate::protocol;

/// The vendor's reasons for the end of a candidate, in the order of their protobuf numbers, because some proxies send
/// the number in place of the word.
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

/// Removes the reason for a candidate's end from the fields. The vendor's reason is `STOP` also for a candidate that
/// calls functions, so `calls` decides. The reason of a filter is kept among the fields, because it names the filter.
pub(crate) fn take_finish(fields: &mut Fields, calls: &CallIds) -> FinishReason {
    let Some(word) = take_word(fields, "finishReason") else { return FinishReason::Unknown };
    let numbered = word.parse::<usize>().ok().and_then(|number| NUMBERED.get(number).copied());
    match protocol::finish_reason(numbered.unwrap_or(&word)) {
        FinishReason::Stop if calls.has_malformed() => protocol::finish_reason("MALFORMED_FUNCTION_CALL"),
        FinishReason::Stop if calls.calls() > 0 => FinishReason::ToolCalls,
        FinishReason::ContentFilter => {
            let word = numbered.map_or_else(|| Value::from(word.as_str()), Value::from);
            fields.insert("finishReason".to_owned(), word);
            FinishReason::ContentFilter
        }
        reason => reason,
    }
}
