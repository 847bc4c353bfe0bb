//! Building blocks for authors of layers, clients and operations. Applications do not need them.
//!
//! | to | use |
//! |---|---|
//! | write a layer | [`LlmService`], [`oneshot`], [`Oneshot`], [`ResponseFuture`], [`Streamed`], [`ProviderService`] |
//! | implement tower's service | [`always_ready`], [`provider_services`] |
//! | observe how a response ends | [`End`], [`StreamCut`] |
//! | share one response among callers | [`Shared`], [`Live`], [`Broadcast`], [`Reader`], [`Complete`] |
//! | write the canonical bytes of a request | [`Fingerprinter`], [`SerializeError`] |
//! | exchange information about a call with other layers | [`SentFlag`], [`AttemptPermit`], [`FailedAttempt`], [`NestedRetry`], [`Purpose`], [`Extensions`] |
//! | take an option of one call from the application | [`CallOption`], [`Unread`] |
//! | send a call to one of several keys or vendors | [`MemberId`], [`NoFallback`], [`Pinned`] |
//! | retry a call | [`RetryBudget`], [`RetryToken`], [`Backoff`] |
//! | share a deadline among callers | [`SharedDeadline`], [`DeadlineHandle`], [`CallDeadline`] |
//! | send several calls as one | [`BatchLimits`], [`call_merged`], [`call_items`], [`Members`], [`Member`], [`LateEnd`] |
//! | account for a call | [`Accounting`], [`CostShare`], [`SideCall`] |
//! | add headers for an HTTP client | [`Extensions::insert_with_headers`], [`Error::with_header_fields`](crate::Error::with_header_fields), [`HeaderFields`] |
//! | report a vendor's limits | [`VendorLimits`], [`VendorLimit`], [`LimitScope`], [`LimitWindow`] |

#[doc(hidden)]
pub use tower_service::Service;

pub use crate::batch_limits::BatchLimits;
pub use crate::broadcast::{Broadcast, Reader};
pub use crate::call::{
    AttemptPermit, CallDeadline, CallOption, DeadlineHandle, LateEnd, MemberId, NestedRetry, NoFallback, Pinned,
    Purpose, SentFlag, SharedDeadline, Unread,
};
pub use crate::error::{FailedAttempt, LimitScope, LimitWindow};
pub use crate::extensions::{Extensions, HeaderFields};
pub use crate::fingerprint::{Fingerprinter, SerializeError};
pub use crate::future::ResponseFuture;
pub use crate::limits::{VendorLimit, VendorLimits};
pub use crate::llm_service::{LlmService, Oneshot, oneshot};
pub use crate::merged::{Member, Members, call_items, call_merged};
pub use crate::operation::{Complete, Streamed};
pub use crate::output::{End, Live, Shared, StreamCut};
pub use crate::provider::ProviderService;
pub use crate::receipt::{Accounting, CostShare, SideCall};
pub use crate::retry::{Backoff, RetryBudget, RetryToken};
#[doc(inline)]
pub use crate::{__always_ready as always_ready, __provider_services as provider_services};
