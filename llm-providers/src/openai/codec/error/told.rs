use serde_json::Value;

/// What the body of a refusal says, whichever server wrote it.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Told {
    pub(super) message: Option<String>,
    pub(super) code: Option<String>,
    pub(super) kind: Option<String>,
    /// An HTTP status inside the body, as OpenRouter sends in answers with status 200.
    pub(super) status: Option<u16>,
    /// A reason in details, as Google gives (`API_KEY_INVALID`) and OpenRouter's moderation.
    pub(super) reason: Option<String>,
}

impl Told {
    /// Reads a body: `{"error": {…}}` of OpenAI, `{"error": "…"}` of Ollama, `{"detail": …}` and `{"message": …}` of
    /// Mistral, any of them in a list; otherwise plain text.
    pub(super) fn read(body: &[u8]) -> Self {
        match serde_json::from_slice::<Value>(body) {
            Ok(Value::Array(mut list)) if list.len() == 1 => Self::of_body(&list.remove(0)),
            Ok(value) => Self::of_body(&value),
            Err(_) => Self { message: plain(&String::from_utf8_lossy(body)), ..Self::default() },
        }
    }

    fn of_body(body: &Value) -> Self {
        if let Some(error) = body.get("error").filter(|error| !error.is_null()) {
            return Self::of_error(error);
        }
        match body.get("detail") {
            Some(detail) => Self { message: Some(detailed(detail)), ..Self::default() },
            None => Self::of_error(body),
        }
    }

    /// Reads an error object, or a bare message.
    pub(super) fn of_error(error: &Value) -> Self {
        if let Value::String(message) = error {
            return Self { message: Some(message.clone()), ..Self::default() };
        }
        let text = |name: &str| error.get(name).and_then(Value::as_str).map(str::to_owned);
        let code = error.get("code");
        let number = code.and_then(|code| code.as_u64().or_else(|| code.as_str()?.parse().ok()));
        let status = number.and_then(|code| u16::try_from(code).ok()).filter(|code| (400..600).contains(code));
        // Azure says what its filter found within; its code for bad requests says nothing.
        let inner = error.get("innererror").and_then(|inner| inner.get("code")?.as_str());
        let code = code.and_then(Value::as_str).filter(|code| inner.is_none() || *code == "content_filter").or(inner);
        let message = match error.get("message") {
            Some(Value::Object(message)) => message.get("detail").map(detailed),
            _ => text("message"),
        };
        // OpenRouter's own message is empty of content where a vendor of its own refused.
        let upstream = error.pointer("/metadata/raw").and_then(Value::as_str).filter(|raw| !raw.is_empty());
        let message = match (message, upstream) {
            (Some(message), Some(raw)) if message != raw => Some(format!("{message}: {raw}")),
            (message, raw) => message.or_else(|| raw.map(str::to_owned)),
        };
        let kind = text("type").or_else(|| text("status"));
        Self { message, code: code.and_then(short), kind, status, reason: reason(error) }
    }

    /// Whether its code or its type is one of these.
    pub(super) fn is(&self, names: &[&str]) -> bool {
        [&self.code, &self.kind].into_iter().flatten().any(|name| names.contains(&name.as_str()))
    }

    /// Whether the message has this in it, in any case.
    pub(super) fn says(&self, words: &str) -> bool {
        self.message.as_deref().is_some_and(|message| message.to_ascii_lowercase().contains(words))
    }
}

/// Mistral's and FastAPI's `detail`: a text, or a list of what is wrong where.
fn detailed(detail: &Value) -> String {
    let wrong = |item: &Value| {
        let at: Vec<_> = item["loc"].as_array()?.iter().map(|step| step.to_string().replace('"', "")).collect();
        Some(format!("{}: {}", at.join("."), item["msg"].as_str()?))
    };
    match detail {
        Value::String(text) => text.clone(),
        Value::Array(list) => list
            .iter()
            .map(|item| wrong(item).unwrap_or_else(|| item.to_string()))
            .reduce(|all, next| all + "; " + &next)
            .unwrap_or_default(),
        other => other.to_string(),
    }
}

fn reason(error: &Value) -> Option<String> {
    let mut details = error.get("details").and_then(Value::as_array).into_iter().flatten();
    if let Some(reason) = details.find_map(|detail| detail.get("reason")?.as_str()) {
        return short(reason);
    }
    error.pointer("/metadata/reasons").and_then(Value::as_array).map(|_| "moderation".to_owned())
}

/// A code as it may stand in our error: short, and one word.
fn short(code: &str) -> Option<String> {
    let word = code.len() <= 100 && code.bytes().all(|b| b.is_ascii_graphic());
    (word && !code.is_empty()).then(|| code.to_owned())
}

fn plain(text: &str) -> Option<String> {
    let text = text.trim();
    if text.is_empty() {
        return None;
    }
    if text.starts_with('<') {
        return Some("a page of HTML or XML came instead of an answer: is a proxy between?".to_owned());
    }
    Some(text.to_owned())
}
