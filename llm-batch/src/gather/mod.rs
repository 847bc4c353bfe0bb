//! Gathers calls, sends them together and halves what fails, for any way to make one request of several calls.
//!
//! A call joins the open batch of its group, or opens one (`groups`). The batch is sent when it is full or due (`window`), by the
//! callers that wait for it, because no task runs. `batch` holds them, sends their calls by a [`Deliver`], gives each caller its
//! result, and sends in halves the calls whose request was at fault. `shared` bounds and counts the calls of all groups.
//!
//! No lock is held over an await. They are taken in one order: groups, then a batch, then its deadlines or the counts.

mod batch;
mod groups;
mod shared;
mod window;

pub(crate) use self::batch::{Deliver, Results};
pub(crate) use self::groups::{Groups, may_wait};
pub(crate) use self::window::Size;
