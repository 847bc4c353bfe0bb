//! Calls that are not served, in no vendor's words yet.

use crate::fault::{RefusalKind, RetryForm};
use crate::limits::Limited;
use std::time::Duration;

/// Why a call is not served.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Refusal {
    pub(crate) cause: Cause,
    /// The parameter that is to blame.
    pub(crate) param: Option<String>,
    pub(crate) message: String,
}

/// What kind of refusal it is; each format has its own status and names for it.
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
    /// What would be said must not be.
    Filtered,
    Limited {
        code: String,
        retry_after: Duration,
        form: RetryForm,
    },
    RefusalKind(RefusalKind),
}

impl Refusal {
    pub(crate) fn new(cause: Cause, message: impl Into<String>) -> Self {
        Self { cause, param: None, message: message.into() }
    }

    /// It is about the parameter `param`.
    pub(crate) fn invalid(param: &str, message: impl Into<String>) -> Self {
        Self { param: Some(param.into()), ..Self::new(Cause::Invalid, message) }
    }

    /// The parameter `param` is missing.
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

    /// For a limit that is enforced. `code` is the format's word for it.
    pub(crate) fn over(limited: &Limited, code: &str, form: RetryForm) -> Self {
        let (message, form) = match limited.retry_after {
            Some(_) => ("rate limit reached, slow down", form),
            None => ("request too large for the rate limit", RetryForm::Silent),
        };
        let retry_after = limited.retry_after.unwrap_or_default();
        Self::new(Cause::Limited { code: code.into(), retry_after, form }, message)
    }

    pub(crate) fn trouble(trouble: RefusalKind) -> Self {
        let message = match trouble {
            RefusalKind::Overloaded => "the model is overloaded",
            RefusalKind::ServerError => "the model failed while it answered",
            RefusalKind::ContextTooLong => "the prompt is longer than the model's context",
            RefusalKind::Forbidden => "the key may not do this",
            RefusalKind::NoCredit => "the balance is used up",
        };
        Self::new(Cause::RefusalKind(trouble), message)
    }

    /// Whether waiting cures it, for formats that say so.
    pub(crate) fn is_passing(&self) -> bool {
        match &self.cause {
            Cause::Limited { form, .. } => *form != RetryForm::Silent,
            Cause::RefusalKind(trouble) => matches!(trouble, RefusalKind::Overloaded | RefusalKind::ServerError),
            _ => false,
        }
    }
}
