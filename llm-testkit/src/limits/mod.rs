//! Rate limits: those that are advertised, and those that are enforced.

mod advertised;
mod limit;
mod limiter;

pub use advertised::{RateLimits, Window};
pub use limit::Limit;
pub use limiter::Limited;
pub(crate) use limiter::{ClientAddress, Demand, Limiter, ResetSense};
