use llm_core::{ErrorKind, LimitScope, LimitWindow};
use serde_json::Value;

/// What a refusal comes down to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Meaning {
    pub(super) kind: ErrorKind,
    pub(super) scope: Option<LimitScope>,
}

/// What the body of a refusal says.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) message: Option<String>,
    /// The code among the details.
    pub(super) code: Option<String>,
    /// The type.
    pub(super) kind: Option<String>,
    pub(super) request_id: Option<String>,
}

/// Words of the messages that have no code of their own, in lower case.
const MONEY: [&str; 3] =
    ["reached your specified api usage limits", "credit balance is too low", "reached your api usage limits"];
const TOO_LONG: [&str; 3] = ["prompt is too long", "exceed context limit", "exceeds the maximum context"];
const FILTERED: [&str; 1] = ["content filtering policy"];

impl Told {
    /// Reads a body: the vendor's own, or a proxy's plain text.
    pub(super) fn read(body: &[u8]) -> Self {
        let Ok(body) = serde_json::from_slice::<Value>(body) else {
            return Self { message: plain(&String::from_utf8_lossy(body)), ..Self::default() };
        };
        let id = body.get("request_id").and_then(Value::as_str).filter(|id| is_id(id));
        let error = body.get("error").filter(|error| !error.is_null()).unwrap_or(&body);
        Self { request_id: id.map(str::to_owned), ..Self::of_error(error) }
    }

    /// Reads an error object, or a bare message.
    pub(super) fn of_error(error: &Value) -> Self {
        if let Value::String(message) = error {
            return Self { message: Some(message.clone()), ..Self::default() };
        }
        let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
        let short = |name: &String| !name.is_empty() && name.len() <= 100 && name.bytes().all(|b| b.is_ascii_graphic());
        let code = error.get("details").and_then(|details| details.get("error_code"));
        Self {
            message: text(error.get("message")).or_else(|| text(error.get("detail"))),
            code: text(code).filter(short),
            kind: text(error.get("type")).filter(short),
            request_id: None,
        }
    }

    /// The status that an error of this type has where it comes alone; 500 where the type has no name here.
    pub(super) fn status(&self) -> u16 {
        match self.kind.as_deref() {
            Some("invalid_request_error") => 400,
            Some("authentication_error") => 401,
            Some("billing_error") => 402,
            Some("permission_error") => 403,
            Some("not_found_error") => 404,
            Some("conflict_error") => 409,
            Some("request_too_large") => 413,
            Some("rate_limit_error") => 429,
            Some("timeout_error") => 504,
            Some("overloaded_error") => 529,
            _ => 500,
        }
    }

    fn says(&self, words: &[&str]) -> bool {
        let message = self.message.as_deref().unwrap_or_default().to_ascii_lowercase();
        words.iter().any(|words| message.contains(words))
    }
}

impl Meaning {
    /// Of a status and what the body says.
    pub(super) fn of(status: u16, told: &Told) -> Self {
        let plain = |kind| Self { kind, scope: None };
        let is = |kind: &str| told.kind.as_deref() == Some(kind);
        let code = told.code.as_deref().unwrap_or_default();
        // A failure of the vendor is one, whatever its body says.
        let refused = status < 500;
        let money = code.ends_with("spend_limit_reached") || is("billing_error") || told.says(&MONEY);
        if refused && (status == 402 || money) {
            return Self { kind: ErrorKind::QuotaExhausted, scope: Some(LimitScope::Group(LimitWindow::Money)) };
        }
        match status {
            429 => {
                let window = if told.says(&["per day", "daily"]) { LimitWindow::Day } else { LimitWindow::Minute };
                let scope = match code {
                    "ramp_limit_exceeded" => LimitScope::Group(LimitWindow::Minute),
                    _ => LimitScope::Model(window),
                };
                Self { kind: ErrorKind::RateLimited, scope: Some(scope) }
            }
            400..=499 if told.says(&TOO_LONG) => plain(ErrorKind::ContextTooLong),
            400..=499 if told.says(&FILTERED) => plain(ErrorKind::ContentFiltered),
            status => plain(Self::by_status(status)),
        }
    }

    fn by_status(status: u16) -> ErrorKind {
        match status {
            401 => ErrorKind::Authentication,
            403 => ErrorKind::PermissionDenied,
            300..=399 | 404 | 405 | 410 => ErrorKind::NotFound,
            408 | 504 => ErrorKind::Timeout,
            503 | 529 => ErrorKind::Overloaded,
            409 | 500.. => ErrorKind::Server,
            _ => ErrorKind::InvalidRequest,
        }
    }
}

/// Whether it may be an id of a request.
pub(super) fn is_id(id: &str) -> bool {
    !id.is_empty() && id.len() <= 200 && id.bytes().all(|b| b.is_ascii_graphic())
}

fn plain(text: &str) -> Option<String> {
    match text.trim() {
        "" => None,
        page if page.starts_with('<') => {
            Some("a page of HTML or XML came instead of an answer: is a proxy between?".to_owned())
        }
        text => Some(text.to_owned()),
    }
}
