use std::{future::Future, sync::Arc};

use llm_core::{
    Error, ErrorKind,
    layer::{AttemptPermit, LimitScope, LimitWindow, SharedDeadline},
};

/// Sends the items of several callers as one request.
pub(crate) trait Deliver<I, O>: Clone + Send + 'static {
    /// Returns one result for each item, in order. If the request fails, each is its error.
    fn deliver(self, items: Vec<I>, deadline: SharedDeadline) -> impl Future<Output = Vec<Result<O, Error>>> + Send;

    /// Returns the input tokens that a response says its item took; `None` if it does not say.
    fn used(response: &O) -> Option<u64>;
}

/// An item of one caller.
pub(crate) struct Entry<I> {
    pub(crate) item: I,
    /// Number of inputs inside.
    pub(crate) items: usize,
    /// Estimated input tokens.
    pub(crate) tokens: u64,
    pub(crate) model: Arc<str>,
    /// Permit that is requested before a further attempt.
    pub(crate) permit: Option<AttemptPermit>,
}

/// Returns `true` if the request itself is at fault, so that a part of it may succeed. After an error of the vendor, halves
/// would only multiply the load.
pub(crate) fn is_of_request(error: &Error) -> bool {
    use ErrorKind::{ContentFiltered, ContextTooLong, InvalidRequest, Malformed};
    use LimitScope::{Group, Key, Model};
    let too_large = matches!(
        error.scope(),
        Some(Key(LimitWindow::Request) | Model(LimitWindow::Request) | Group(LimitWindow::Request))
    );
    too_large
        || error.status() == Some(413)
        || matches!(error.kind(), InvalidRequest | ContextTooLong | ContentFiltered | Malformed)
}
