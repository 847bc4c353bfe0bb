use ::genai::{Error as GenaiError, adapter::AdapterKind, webc::Error as WebError};
use http::{HeaderMap, StatusCode};
use llm_core::{Charge, Clock, Error, ErrorKind, SystemClock, Usage};
use serde_json::Value;

use crate::{anthropic, gemini, openai, transport::with_cause};

/// Creates the error of a request that `genai` cannot express.
pub(super) fn unsupported(what: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Unsupported, format!("{what} has no place in genai"))
}

/// Returns the charge of a request that was sent: its usage if known, otherwise unknown.
pub(super) fn charge(usage: Option<Usage>) -> Charge {
    usage.map_or(Charge::Unknown, Charge::Known)
}

/// Converts an error that occurred before the request was sent, such as a missing key or an unknown adapter.
pub(super) fn unresolved(error: GenaiError) -> Error {
    match error {
        GenaiError::RequiresApiKey { .. } | GenaiError::NoAuthResolver { .. } | GenaiError::NoAuthData { .. } => {
            Error::new(ErrorKind::Authentication, "genai has no key for this model")
        }
        GenaiError::Resolver { .. } | GenaiError::ModelMapperFailed { .. } => {
            Error::new(ErrorKind::Authentication, "genai found no key or address for this model")
        }
        _ => Error::invalid("genai does not know where to ask for this model"),
    }
}

/// Converts an error of `genai`. Its message and the error itself are dropped, because they contain prompts, responses
/// and URLs.
pub(super) fn classify(error: GenaiError, kind: AdapterKind) -> Error {
    use GenaiError as G;
    match error {
        G::HttpError { status, body, headers, .. } => refused(status, &headers, &body, kind),
        G::WebModelCall { webc_error, .. } | G::WebAdapterCall { webc_error, .. } => of_call(webc_error, kind),
        G::WebStream { error, .. } => of_stream(error, kind),
        G::ChatResponse { body, .. } => inside(&body),
        G::StreamParse { .. } | G::ChatResponseGeneration { .. } | G::InvalidJsonResponseElement { .. } => malformed(),
        G::NoChatResponse { .. } | G::JsonValueExt(_) | G::SerdeJson(_) => malformed(),
        G::RequiresApiKey { .. } | G::NoAuthResolver { .. } | G::NoAuthData { .. } | G::Resolver { .. } => {
            unresolved(error)
        }
        G::ChatReqHasNoMessages { .. } | G::LastChatMessageIsNotUser { .. } | G::JsonModeWithoutInstruction => {
            Error::invalid("genai does not send a conversation of this shape")
        }
        G::MessageRoleNotSupported { .. } | G::MessageContentTypeNotSupported { .. } => {
            Error::new(ErrorKind::Unsupported, format!("genai cannot send a message of this kind to {kind}"))
        }
        G::AdapterNotSupported { feature, .. } => {
            Error::new(ErrorKind::Unsupported, format!("genai cannot ask {kind} for {feature}"))
        }
        _ => Error::new(ErrorKind::Other, "genai failed").with_charge(Charge::Unknown),
    }
}

fn of_call(error: WebError, kind: AdapterKind) -> Error {
    match error {
        WebError::ResponseFailedStatus { status, body, headers } => refused(status, &headers, &body, kind),
        WebError::Reqwest(error) => of_transport(&error),
        _ => malformed(),
    }
}

/// Converts the boxed error of a stream: a response with an error status, or a connection that failed.
fn of_stream(error: Box<dyn std::error::Error + Send + Sync>, kind: AdapterKind) -> Error {
    let error = match error.downcast::<GenaiError>() {
        Ok(error) => return classify(*error, kind),
        Err(error) => error,
    };
    let error = match error.downcast::<WebError>() {
        Ok(error) => return of_call(*error, kind),
        Err(error) => error,
    };
    match error.downcast::<reqwest::Error>() {
        Ok(error) => of_transport(&error),
        Err(_) => Error::new(ErrorKind::Incomplete, "the stream broke off").with_charge(Charge::Unknown),
    }
}

fn of_transport(error: &reqwest::Error) -> Error {
    let (kind, message, charge) = if error.is_connect() {
        (ErrorKind::Transport, with_cause("the vendor cannot be reached", error), Charge::None)
    } else if error.is_timeout() {
        (ErrorKind::Timeout, "the vendor did not answer in time".to_owned(), Charge::Unknown)
    } else if error.is_body() || error.is_decode() {
        (ErrorKind::Incomplete, "the response broke off".to_owned(), Charge::Unknown)
    } else {
        (ErrorKind::Transport, with_cause("the connection to the vendor failed", error), Charge::Unknown)
    };
    Error::new(kind, message).with_charge(charge)
}

fn refused(status: StatusCode, headers: &HeaderMap, body: &str, kind: AdapterKind) -> Error {
    let now = SystemClock.now();
    let body = body.as_bytes();
    match kind {
        AdapterKind::Anthropic => anthropic::codec::RULES.classify(status, headers, body, now, None),
        AdapterKind::Gemini | AdapterKind::GeminiIx | AdapterKind::Vertex => {
            gemini::codec::RULES.classify(status, headers, body, now, None)
        }
        _ => openai::codec::RULES.classify(status, headers, body, now, None),
    }
}

/// Converts an `error` inside a response with a success status.
fn inside(body: &Value) -> Error {
    let text = serde_json::json!({ "error": body }).to_string();
    let status = StatusCode::OK;
    openai::codec::RULES
        .classify(status, &HeaderMap::new(), text.as_bytes(), SystemClock.now(), None)
        .with_charge(Charge::Unknown)
}

fn malformed() -> Error {
    Error::new(ErrorKind::Malformed, "genai could not read the response").with_charge(Charge::Unknown)
}
