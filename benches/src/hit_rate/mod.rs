//! Measures the cache's hit rate on recorded or generated series of requests. The requests go through the real layer
//! while a manual clock follows their times. The results are compared with an independent count and with the optimum
//! that any policy could reach.

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
pub use self::replay::{CacheSettings, Layer};
pub use self::report::{CAPACITIES, TTLS, measure};
pub use self::survival::{Scan, Survival, survival};
pub use self::traces::{TraceError, read};
pub use self::workload::{Request, Workload};
