use std::sync::Arc;

use llm_core::{Origin, Savings, Usage, Usd, price::UnknownCost};

/// Outcome of a call, as the caller saw it.
#[derive(Debug)]
pub(super) enum CallOutcome {
    Completed(Box<BookedResponse>),
    Failed,
    Dropped,
}

/// Complete response, with the values that are booked.
#[derive(Debug)]
pub(super) struct BookedResponse {
    pub(super) origin: Origin,
    pub(super) units: u32,
    pub(super) usage: Option<Usage>,
    /// True if the response's cost is known.
    pub(super) is_priced: bool,
    pub(super) list: Result<Usd, UnknownCost>,
    pub(super) useful: Usd,
    pub(super) saved: Savings,
    /// Model of the response, its vendor, and the vendor's id of the request. Each is missing if it is not known.
    pub(super) response_model: Option<Arc<str>>,
    pub(super) provider: Option<Arc<str>>,
    pub(super) request_id: Option<Arc<str>>,
}
