use llm_core::ErrorKind;

/// Codes and types of errors for a prompt that is too long, in lower case.
const TOO_LONG_NAMES: [&str; 6] = [
    "context_length_exceeded",
    "context_window_exceeded",
    "model_context_window_exceeded",
    "exceed_context_size_error",
    "model_max_prompt_tokens_exceeded",
    "prompt_too_long",
];
/// Words for the context that a prompt must fit into, and words for a prompt that does not fit. A message with one of
/// each list reports a prompt that is too long.
const ROOM: [&str; 4] = ["context length", "context window", "context size", "context limit"];
const NO_ROOM: [&str; 8] =
    ["exceed", "maximum", "greater than", "longer than", "too long", "too large", "not enough", "overflow"];
/// Parts of messages that report a prompt that is too long in other words. A message must contain all parts of a row.
const TOO_LONG: [&[&str]; 17] = [
    &["context_length_exceeded"],
    &["prompt is too long"],
    &["prompt exceeds max"],
    &["prompt token count", "exceeds the limit"],
    &["maximum prompt length"],
    &["maximum model length"],
    &["input is too long"],
    &["input context is too long"],
    &["input token count", "exceeds the maximum"],
    &["input tokens exceed"],
    &["range of input length should be"],
    &["exceeds the maximum number of", "tokens"],
    &["exceeded model token limit"],
    &["reduce the length of the"],
    &["`max_new_tokens` must be"],
    &["`inputs` must have less than", "tokens"],
    &["too many tokens:"],
];
/// Parts of messages of errors without a status or a name, with the kind of error. A message must contain all parts of
/// a row.
const KINDS: [(&[&str], ErrorKind); 19] = [
    (&["rate limit"], ErrorKind::RateLimited),
    (&["ratelimit"], ErrorKind::RateLimited),
    (&["too many requests"], ErrorKind::RateLimited),
    (&["insufficient", "balance"], ErrorKind::QuotaExhausted),
    (&["insufficient", "credit"], ErrorKind::QuotaExhausted),
    (&["insufficient", "quota"], ErrorKind::QuotaExhausted),
    (&["exceeded", "current quota"], ErrorKind::QuotaExhausted),
    (&["api key"], ErrorKind::Authentication),
    (&["api token"], ErrorKind::Authentication),
    (&["unauthorized"], ErrorKind::Authentication),
    (&["not authenticated"], ErrorKind::Authentication),
    (&["forbidden"], ErrorKind::PermissionDenied),
    (&["permission denied"], ErrorKind::PermissionDenied),
    (&["model", "not found"], ErrorKind::NotFound),
    (&["model", "does not exist"], ErrorKind::NotFound),
    (&["overloaded"], ErrorKind::Overloaded),
    (&["at capacity"], ErrorKind::Overloaded),
    (&["timed out"], ErrorKind::Timeout),
    (&["timeout"], ErrorKind::Timeout),
];

/// Returns `true` if a code or a type reports a prompt that is too long.
pub(super) fn is_too_long_name(name: &str) -> bool {
    TOO_LONG_NAMES.contains(&name.to_ascii_lowercase().as_str())
}

/// Returns `true` if a message reports a prompt that is too long.
pub(super) fn says_too_long(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|words| message.contains(words));
    (has(&ROOM) && has(&NO_ROOM)) || TOO_LONG.iter().any(|parts| parts.iter().all(|part| message.contains(part)))
}

/// Returns the kind of error that the words of a message state.
pub(super) fn kind_of(message: &str) -> Option<ErrorKind> {
    let message = message.to_ascii_lowercase();
    let found = KINDS.iter().find(|(parts, _)| parts.iter().all(|part| message.contains(part)));
    found.map(|(_, kind)| *kind)
}
