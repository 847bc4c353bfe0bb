//! Refusals, before a format encodes them.

use crate::fault::{RefusalKind, RetryForm};
use crate::limits::Limited;
use std::time::Duration;

/// Refusal of a call.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Refusal {
    pub(crate) cause: Cause,
    /// Name of the wrong or missing parameter; `None` if the cause is no parameter.
    pub(crate) param: Option<String>,
    pub(crate) message: String,
}

/// Cause of a refusal. Each format has its own status and names for it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cause {
    Invalid,
    Missing,
    Malformed,
    NoKey,
    UnknownKey,
    UnknownModel,
    UnknownPath,
    WrongMethod,
    /// Content that a filter blocks.
    Filtered,
    Limited {
        code: String,
        retry_after: Duration,
        form: RetryForm,
    },
    Scripted(RefusalKind),
}

impl Refusal {
    pub(crate) fn new(cause: Cause, message: impl Into<String>) -> Self {
        Self { cause, param: None, message: message.into() }
    }

    /// Creates the refusal of a call with a wrong parameter.
    pub(crate) fn invalid(param: &str, message: impl Into<String>) -> Self {
        Self { param: Some(param.into()), ..Self::new(Cause::Invalid, message) }
    }

    /// Creates the refusal of a call without a necessary parameter.
    pub(crate) fn missing(param: &str) -> Self {
        Self { cause: Cause::Missing, ..Self::invalid(param, format!("missing parameter '{param}'")) }
    }

    pub(crate) fn malformed(error: &serde_json::Error) -> Self {
        Self::new(Cause::Malformed, format!("the body is not JSON: {error}"))
    }

    pub(crate) fn no_key() -> Self {
        Self::new(Cause::NoKey, "no key in the headers")
    }

    pub(crate) fn unknown_key() -> Self {
        Self::new(Cause::UnknownKey, "the key is not known here")
    }

    pub(crate) fn unknown_model(model: &str) -> Self {
        Self { param: Some("model".into()), ..Self::new(Cause::UnknownModel, format!("no model '{model}'")) }
    }

    pub(crate) fn unknown_path(path: &str) -> Self {
        Self::new(Cause::UnknownPath, format!("nothing at '{path}'"))
    }

    pub(crate) fn wrong_method() -> Self {
        Self::new(Cause::WrongMethod, "this path serves another method")
    }

    pub(crate) fn limited(code: &str, retry_after: Duration, form: RetryForm) -> Self {
        let message = match code {
            "rate_limit_exceeded" => "rate limit reached, slow down",
            "slow_down" => "traffic grew too fast, slow down",
            _ => "the quota is used up, check plan and billing",
        };
        Self::new(Cause::Limited { code: code.into(), retry_after, form }, message)
    }

    /// Creates the refusal of a call that exceeds an enforced limit. `code` is the error code of the limit in the
    /// format.
    pub(crate) fn over(limited: &Limited, code: &str, form: RetryForm) -> Self {
        let (message, form) = match limited.retry_after {
            Some(_) => ("rate limit reached, slow down", form),
            None => ("request too large for the rate limit", RetryForm::Silent),
        };
        let retry_after = limited.retry_after.unwrap_or_default();
        Self::new(Cause::Limited { code: code.into(), retry_after, form }, message)
    }

    pub(crate) fn of_kind(kind: RefusalKind) -> Self {
        let message = match kind {
            RefusalKind::Overloaded => "the model is overloaded",
            RefusalKind::ServerError => "the model failed while it answered",
            RefusalKind::ContextTooLong => "the prompt is longer than the model's context",
            RefusalKind::Forbidden => "the key may not do this",
            RefusalKind::NoAccess => "the model does not exist or the key has no access to it",
            RefusalKind::NoCredit => "the balance is used up",
        };
        Self::new(Cause::Scripted(kind), message)
    }

    /// Returns `true` if a retry may succeed. Some formats state this in a header.
    pub(crate) fn is_passing(&self) -> bool {
        match &self.cause {
            Cause::Limited { form, .. } => *form != RetryForm::Silent,
            Cause::Scripted(kind) => matches!(kind, RefusalKind::Overloaded | RefusalKind::ServerError),
            _ => false,
        }
    }
}
