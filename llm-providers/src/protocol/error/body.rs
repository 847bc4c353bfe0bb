use llm_core::ErrorKind;
use serde_json::Value;

use super::words;
use crate::protocol::{
    fields::Fields,
    readable,
    wait::{self, BodyWaits},
};

/// Body of an error response, in the form of any of the known servers.
///
/// It reads `{"error": {…}}` of OpenAI, Anthropic and Google, `{"error": "…"}` of Ollama, `{"object": "error", …}` of
/// vLLM, `{"detail": …}` of FastAPI, `{"errors": […]}` and `{"message": …}` of gateways, any of them in a list;
/// otherwise plain text.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct ErrorBody {
    pub(crate) message: Option<String>,
    /// Anthropic's code in the details, otherwise the error's own code.
    pub(crate) code: Option<String>,
    /// Type of the error, or Google's canonical name.
    pub(crate) kind: Option<String>,
    /// HTTP status that the body states.
    pub(crate) status: Option<u16>,
    /// Reason in the details, as Google states it (`API_KEY_INVALID`).
    pub(crate) reason: Option<String>,
    /// True if OpenRouter's moderation refused the prompt.
    pub(crate) flagged: bool,
    /// Ids and values of Google's quotas that were exceeded.
    pub(crate) quotas: Vec<(String, Option<String>)>,
    /// Fields that state waiting times, as pairs of a name in lower case and a value.
    pub(crate) waits: Vec<(String, String)>,
    pub(crate) request_id: Option<String>,
}

impl ErrorBody {
    /// Reads the body of an error response.
    pub(crate) fn read(body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(body);
        match serde_json::from_str::<Value>(&readable(&text)) {
            Ok(Value::Array(mut list)) if list.len() == 1 => Self::of(&list.remove(0)),
            Ok(value) => Self::of(&value),
            Err(_) => Self { message: plain(&text), ..Self::default() },
        }
    }

    /// Reads the error that a successful response contains in place of the field `content`; `None` if it contains no
    /// error.
    pub(crate) fn in_response(fields: &Fields, content: &str) -> Option<Self> {
        let has_content = match fields.get(content) {
            None | Some(Value::Null) => None,
            Some(Value::Array(list)) => Some(!list.is_empty()),
            Some(_) => Some(true),
        };
        match has_content {
            Some(true) => None,
            Some(false) => Self::in_event(fields),
            // The body lacks the field `content`, so a message alone counts as an error.
            None => Self::in_event(fields).or_else(|| {
                let body = Self::of_fields(fields);
                body.message.is_some().then_some(body)
            }),
        }
    }

    /// Reads the error in a chunk, which may be beside the field `content` or in place of it; `None` if there is no
    /// error.
    pub(crate) fn in_chunk(fields: &Fields, content: &str) -> Option<Self> {
        Self::in_event(fields).or_else(|| Self::in_response(fields, content))
    }

    /// Reads the error in an event of a stream, whatever other fields it has; `None` if there is no error.
    pub(crate) fn in_event(fields: &Fields) -> Option<Self> {
        let is = |name: &str| fields.get(name).and_then(Value::as_str) == Some("error");
        let stated = fields.get("error").is_some_and(states_error) || fields.get("detail").is_some_and(states_error);
        (stated || is("object") || is("type")).then(|| Self::of_fields(fields))
    }

    /// Reads a body or an error object.
    pub(crate) fn of(body: &Value) -> Self {
        match body {
            Value::Object(fields) => Self::of_fields(fields),
            Value::String(message) => Self { message: Some(message.clone()), ..Self::default() },
            _ => Self::default(),
        }
    }

    fn of_fields(fields: &Fields) -> Self {
        let error = fields.get("error").filter(|error| states_error(error));
        let inner = match error.or_else(|| fields.get("errors")) {
            Some(Value::Array(list)) => list.first(),
            Some(error) => Some(error),
            None => fields.get("detail").filter(|detail| detail.get("message").is_some()),
        };
        let mut body = match inner {
            Some(Value::Object(error)) => Self::of_error(error),
            Some(Value::String(message)) => Self { message: Some(message.clone()), ..Self::of_error(fields) },
            _ => Self::of_error(fields),
        };
        body.request_id = body.request_id.or_else(|| word(fields, "request_id"));
        wait::collect(fields, &mut body.waits);
        body
    }

    fn of_error(error: &Fields) -> Self {
        let code = error.get("code");
        let numbers = [code, error.get("status"), error.get("status_code"), error.get("statusCode")];
        let status = numbers.into_iter().flatten().find_map(status_number);
        // FastAPI states the faults of a request as a list, without a status, which is 422.
        let status = status.or_else(|| error.get("detail")?.is_array().then_some(422));
        // Azure states the result of its content filter in the object `innererror`, whose code is more specific than
        // the outer code.
        let inner = error.get("innererror").and_then(|inner| inner.get("code")?.as_str());
        let own = code.and_then(Value::as_str).filter(|code| inner.is_none() || *code == "content_filter").or(inner);
        let detailed = error.get("details").and_then(|details| details.get("error_code")?.as_str());
        let mut body = Self {
            message: message(error),
            code: detailed.or(own).and_then(short),
            kind: word(error, "type").filter(|kind| kind != "error").or_else(|| word(error, "status")),
            status,
            flagged: error.get("metadata").is_some_and(|metadata| metadata.get("reasons").is_some_and(Value::is_array)),
            ..Self::default()
        };
        for detail in error.get("details").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object)
        {
            body.detail(detail);
        }
        body
    }

    /// Returns `true` if the code, the type or the reason is one of `names`.
    pub(crate) fn is(&self, names: &[&str]) -> bool {
        [&self.code, &self.kind, &self.reason].into_iter().flatten().any(|name| names.contains(&name.as_str()))
    }

    /// Returns the parts of the body that may state a waiting time.
    pub(crate) fn waits(&self) -> BodyWaits<'_> {
        BodyWaits { message: self.message.as_deref(), fields: &self.waits }
    }

    /// Returns `true` if the message contains one of `words`, in upper or lower case.
    pub(crate) fn says(&self, words: &[&str]) -> bool {
        let message = self.message.as_deref().unwrap_or_default().to_ascii_lowercase();
        words.iter().any(|words| message.contains(words))
    }

    /// Returns `true` if the error says that the prompt is longer than the model's context.
    pub(crate) fn is_too_long(&self) -> bool {
        [&self.code, &self.kind].into_iter().flatten().any(|name| words::is_too_long_name(name))
            || self.message.as_deref().is_some_and(words::says_too_long)
    }

    /// Returns the kind of error that the words of the message state.
    pub(crate) fn kind_in_words(&self) -> Option<ErrorKind> {
        self.message.as_deref().and_then(words::kind_of)
    }

    /// Returns the vendor's name for the error: its code, type or reason.
    pub(crate) fn name(&self) -> Option<&str> {
        [&self.code, &self.reason, &self.kind].into_iter().flatten().next().map(String::as_str)
    }

    fn detail(&mut self, detail: &Fields) {
        if self.reason.is_none() {
            self.reason = word(detail, "reason");
        }
        let kind = detail.get("@type").and_then(Value::as_str).unwrap_or_default();
        match kind.rsplit(['.', '/']).next().unwrap_or_default() {
            "RequestInfo" => self.request_id = word(detail, "requestId"),
            "QuotaFailure" => {
                let violations = detail.get("violations").and_then(Value::as_array).into_iter().flatten();
                for violation in violations.filter_map(Value::as_object) {
                    let id = word(violation, "quotaId").or_else(|| word(violation, "quotaMetric"));
                    self.quotas.extend(id.map(|id| (id, word(violation, "quotaValue"))));
                }
            }
            _ => {}
        }
    }
}

/// Returns `true` if a field states an error. Servers also put null, `false` and empty values beside successful
/// responses.
fn states_error(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(failed) => *failed,
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        Value::Number(_) => true,
    }
}

fn message(error: &Fields) -> Option<String> {
    let own = ["message", "msg", "detail", "error_description"].into_iter().find_map(|name| match error.get(name)? {
        Value::Null => None,
        // Mistral puts FastAPI's list of faults into an object `message`.
        Value::Object(message) if name == "message" => message.get("detail").map(detailed),
        value if name == "detail" || value.is_string() => Some(detailed(value)),
        _ => None,
    });
    // If a vendor behind OpenRouter refused the request, the vendor's message is in `raw`, and OpenRouter's own is
    // generic.
    let raw = error.get("metadata").and_then(|metadata| metadata.get("raw")?.as_str()).filter(|raw| !raw.is_empty());
    match (own, raw) {
        (Some(message), Some(raw)) if message != raw => Some(format!("{message}: {raw}")),
        (message, raw) => message.or_else(|| raw.map(str::to_owned)),
    }
}

/// Reads the field `detail` of Mistral and FastAPI: a text, or a list of faults with their places in the request.
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

fn status_number(value: &Value) -> Option<u16> {
    let number = value.as_u64().or_else(|| value.as_str()?.parse().ok())?;
    u16::try_from(number).ok().filter(|status| (400..600).contains(status))
}

fn word(fields: &Fields, name: &str) -> Option<String> {
    short(fields.get(name)?.as_str()?)
}

/// Returns a text if it is short and a single word, as codes are.
fn short(text: &str) -> Option<String> {
    let word = !text.is_empty() && text.len() <= 200 && text.bytes().all(|byte| byte.is_ascii_graphic());
    word.then(|| text.to_owned())
}

fn plain(text: &str) -> Option<String> {
    match text.trim() {
        "" => None,
        page if page.starts_with('<') => {
            Some("a page of HTML or XML came instead of a response: is a proxy between?".to_owned())
        }
        text => Some(text.to_owned()),
    }
}
