//! How often would a cache have had the answer? Recorded or generated series of questions go through the real layer while
//! the clock follows their times, beside an independent count and the best that any policy could do.

mod belady;
mod generator;
mod lru;
mod replay;
mod report;
mod survival;
mod traces;
mod workload;

pub use self::belady::optimal;
pub use self::generator::Zipf;
pub use self::lru::Naive;
pub use self::replay::{Keeping, Layer};
pub use self::report::{CAPACITIES, TTLS, measure};
pub use self::survival::{Scan, Survival, survival};
pub use self::traces::{TraceError, read};
pub use self::workload::{Asked, Workload};
