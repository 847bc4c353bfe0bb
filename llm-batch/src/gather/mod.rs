//! Engine that gathers calls, sends them in one request, and sends a failed batch again in halves. A [`Deliver`]
//! defines how several calls become one request.
//!
//! A call joins the open batch of its group, or opens one (`groups`). When the batch is full or due (`window`), the
//! callers that wait for it send it, because the engine spawns no task. `batch` holds the callers, sends their calls by
//! the [`Deliver`], gives each caller its result, and sends the calls of a faulty request again in halves. `shared`
//! bounds and counts the calls of all groups.
//!
//! No lock is held across an await. Locks are taken in this order: groups, then a batch, then the batch's deadlines or
//! the counts.

mod batch;
mod groups;
mod shared;
mod window;

pub(crate) use self::batch::{Deliver, Results};
pub(crate) use self::groups::{Groups, may_wait};
pub(crate) use self::window::Size;
