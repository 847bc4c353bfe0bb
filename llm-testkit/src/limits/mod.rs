//! Rate limits: those that are advertised, and those that are enforced.

mod advertised;
mod gate;
mod limit;

pub use advertised::{RateLimits, Window};
pub use gate::Limited;
pub(crate) use gate::{Demand, Gate};
pub use limit::Limit;
