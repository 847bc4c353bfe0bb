use serde_json::Value;

/// What the body of a refusal says.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Told {
    pub(super) message: Option<String>,
    /// The HTTP status inside the body.
    pub(super) number: Option<u16>,
    /// The canonical name, such as `RESOURCE_EXHAUSTED`.
    pub(super) status: Option<String>,
    /// Of an `ErrorInfo`, such as `API_KEY_INVALID`.
    pub(super) reason: Option<String>,
    /// The ids and the values of quotas that were exceeded.
    pub(super) quotas: Vec<(String, Option<String>)>,
    pub(super) retry_delay: Option<String>,
    pub(super) request_id: Option<String>,
}

impl Told {
    /// Reads a body: `{"error": {…}}`, or that in a list; otherwise plain text.
    pub(super) fn read(body: &[u8]) -> Self {
        match serde_json::from_slice::<Value>(body) {
            Ok(Value::Array(mut list)) if list.len() == 1 => Self::of_body(&list.remove(0)),
            Ok(value) => Self::of_body(&value),
            Err(_) => Self { message: plain(&String::from_utf8_lossy(body)), ..Self::default() },
        }
    }

    fn of_body(body: &Value) -> Self {
        Self::of_error(body.get("error").filter(|error| !error.is_null()).unwrap_or(body))
    }

    /// Reads an error object, or a bare message.
    pub(super) fn of_error(error: &Value) -> Self {
        if let Value::String(message) = error {
            return Self { message: Some(message.clone()), ..Self::default() };
        }
        let number = error.get("code").and_then(Value::as_u64).and_then(|code| u16::try_from(code).ok());
        let mut told = Self {
            message: error.get("message").and_then(Value::as_str).map(str::to_owned),
            number: number.filter(|code| (400..600).contains(code)),
            status: word(error, "status"),
            ..Self::default()
        };
        for detail in error.get("details").and_then(Value::as_array).into_iter().flatten() {
            told.detail(detail);
        }
        told
    }

    /// Whether the message has this in it, in any case.
    pub(super) fn says(&self, words: &str) -> bool {
        self.message.as_deref().is_some_and(|message| message.to_ascii_lowercase().contains(words))
    }

    /// Whether the canonical name or the reason is one of these.
    pub(super) fn is(&self, names: &[&str]) -> bool {
        [&self.status, &self.reason].into_iter().flatten().any(|name| names.contains(&name.as_str()))
    }

    fn detail(&mut self, detail: &Value) {
        let kind = detail.get("@type").and_then(Value::as_str).unwrap_or_default();
        match kind.rsplit(['.', '/']).next().unwrap_or_default() {
            "ErrorInfo" => self.reason = word(detail, "reason"),
            "RetryInfo" => self.retry_delay = detail.get("retryDelay").and_then(Value::as_str).map(str::to_owned),
            "RequestInfo" => self.request_id = word(detail, "requestId"),
            "QuotaFailure" => {
                for violation in detail.get("violations").and_then(Value::as_array).into_iter().flatten() {
                    let id = word(violation, "quotaId").or_else(|| word(violation, "quotaMetric"));
                    self.quotas.extend(id.map(|id| (id, word(violation, "quotaValue"))));
                }
            }
            _ => {}
        }
    }
}

/// A text as it may stand in our error: short, and one word.
fn word(of: &Value, name: &str) -> Option<String> {
    let text = of.get(name)?.as_str()?;
    let word = !text.is_empty() && text.len() <= 200 && text.bytes().all(|b| b.is_ascii_graphic());
    word.then(|| text.to_owned())
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
