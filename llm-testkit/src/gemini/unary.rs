//! Answers in one piece.

use crate::answer::{Answer, Choice, Content, Finish, arguments};
use serde_json::{Value, json};

/// The answer in one piece.
pub(super) fn whole(answer: &Answer, usage: bool) -> Value {
    if is_blocked(answer) {
        return blocked(answer, usage);
    }
    let one = |(index, choice): (usize, &Choice)| {
        let mut parts = Vec::new();
        if choice.thinking > 0 && choice.shown {
            parts.push(json!({"text": choice.thoughts, "thought": true}));
        }
        parts.extend(said(choice, choice.content.generated()));
        candidate(index, parts, Some(choice))
    };
    let candidates = answer.choices.iter().enumerate().map(one).collect();
    response(answer, candidates, usage.then(|| self::usage(answer, answer.said(), answer.thinking())))
}

/// A response, or one of a stream of them.
pub(super) fn response(answer: &Answer, candidates: Vec<Value>, usage: Option<Value>) -> Value {
    let mut body = json!({"candidates": candidates, "modelVersion": answer.model, "responseId": answer.id});
    if let Some(usage) = usage {
        body["usageMetadata"] = usage;
    }
    body
}

/// Whether nothing is said because of what the prompt is.
pub(super) fn is_blocked(answer: &Answer) -> bool {
    answer.choices.iter().all(|choice| choice.finish == Finish::Filtered)
}

/// A response without candidates.
pub(super) fn blocked(answer: &Answer, usage: bool) -> Value {
    let mut body = json!({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "modelVersion": answer.model,
        "responseId": answer.id});
    if usage {
        body["usageMetadata"] = self::usage(answer, 0, 0);
    }
    body
}

/// Some parts of a candidate; with why it ends, if `ended`.
pub(super) fn candidate(index: usize, parts: Vec<Value>, ended: Option<&Choice>) -> Value {
    let mut candidate = json!({"content": {"parts": parts, "role": "model"}, "index": index});
    if let Some(choice) = ended {
        candidate["finishReason"] = json!(finish(choice));
        if is_malformed(choice) {
            candidate["finishMessage"] = json!("the function call is not valid");
        }
    }
    candidate
}

/// What is said, as a part: `text` of it, or the whole call of a function, if it is one.
pub(super) fn said(choice: &Choice, text: &str) -> Option<Value> {
    let mut part = match &choice.content {
        Content::Text(_) => return Some(json!({"text": text})),
        Content::Tool { hash, name, arguments: text } => {
            json!({"functionCall": {"id": format!("{hash:016x}"), "name": name, "args": arguments(text)?}})
        }
    };
    if choice.thinking > 0 {
        part["thoughtSignature"] = json!(choice.signature());
    }
    Some(part)
}

/// What was used: thoughts are no part of the candidates' tokens.
pub(super) fn usage(answer: &Answer, said: u64, thought: u64) -> Value {
    let text = |tokens: u64| json!([{"modality": "TEXT", "tokenCount": tokens}]);
    let mut usage = json!({
        "promptTokenCount": answer.input, "candidatesTokenCount": said, "totalTokenCount": answer.input + said + thought,
        "promptTokensDetails": text(answer.input), "serviceTier": "standard",
    });
    if thought > 0 {
        usage["thoughtsTokenCount"] = json!(thought);
    }
    if answer.cached > 0 {
        usage["cachedContentTokenCount"] = json!(answer.cached);
        usage["cacheTokensDetails"] = text(answer.cached);
    }
    usage
}

fn is_malformed(choice: &Choice) -> bool {
    choice.finish == Finish::Tool && arguments(choice.content.generated()).is_none()
}

fn finish(choice: &Choice) -> &'static str {
    match choice.finish {
        _ if is_malformed(choice) => "MALFORMED_FUNCTION_CALL",
        Finish::Stop | Finish::Sequence(_) | Finish::Tool => "STOP",
        Finish::Length => "MAX_TOKENS",
        Finish::Filtered => "PROHIBITED_CONTENT",
    }
}
