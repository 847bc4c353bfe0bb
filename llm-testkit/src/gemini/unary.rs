//! Encoding of responses that are not streamed.

use crate::response::{ChatResponse, Choice, Content, Finish, arguments};
use serde_json::{Value, json};

/// Returns the body of a response that is not streamed.
pub(super) fn whole(response: &ChatResponse, usage: bool) -> Value {
    if is_blocked(response) {
        return blocked(response, usage);
    }
    let one = |(index, choice): (usize, &Choice)| {
        let mut parts = Vec::new();
        if choice.thinking > 0 && choice.shown {
            parts.push(json!({"text": choice.thoughts, "thought": true}));
        }
        parts.extend(said(choice, choice.content.generated()));
        candidate(index, parts, Some(choice))
    };
    let candidates = response.choices.iter().enumerate().map(one).collect();
    envelope(response, candidates, usage.then(|| self::usage(response, response.said(), response.thinking())))
}

/// Returns a response with these candidates, or one chunk of a stream.
pub(super) fn envelope(response: &ChatResponse, candidates: Vec<Value>, usage: Option<Value>) -> Value {
    let mut body = json!({"candidates": candidates, "modelVersion": response.model, "responseId": response.id});
    if let Some(usage) = usage {
        body["usageMetadata"] = usage;
    }
    body
}

/// Returns `true` if a filter blocks the prompt.
pub(super) fn is_blocked(response: &ChatResponse) -> bool {
    response.choices.iter().all(|choice| choice.finish == Finish::Filtered)
}

/// Returns the response to a blocked prompt, which has no candidates.
pub(super) fn blocked(response: &ChatResponse, usage: bool) -> Value {
    let mut body = json!({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "modelVersion": response.model,
        "responseId": response.id});
    if usage {
        body["usageMetadata"] = self::usage(response, 0, 0);
    }
    body
}

/// Returns a candidate with these parts. If `ended` is a choice, the candidate states its finish reason.
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

/// Returns a part with `text`, or with the complete function call if the content is a call. Returns `None` if the
/// arguments of the call are not JSON.
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

/// Returns the usage. Tokens of reasoning are not part of the candidates' tokens.
pub(super) fn usage(response: &ChatResponse, said: u64, thought: u64) -> Value {
    let text = |tokens: u64| json!([{"modality": "TEXT", "tokenCount": tokens}]);
    let mut usage = json!({
        "promptTokenCount": response.input, "candidatesTokenCount": said, "totalTokenCount": response.input + said + thought,
        "promptTokensDetails": text(response.input), "serviceTier": "standard",
    });
    if thought > 0 {
        usage["thoughtsTokenCount"] = json!(thought);
    }
    if response.cached > 0 {
        usage["cachedContentTokenCount"] = json!(response.cached);
        usage["cacheTokensDetails"] = text(response.cached);
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
