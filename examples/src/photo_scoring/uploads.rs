//! Uploads of customers with a spike, which are drawn from a seed.

use std::{ops::Range, time::Duration};

use crate::random::Random;

const MINUTE: Duration = Duration::from_secs(60);
/// Customers of one plan.
#[derive(Clone, Copy, Debug)]
pub struct Customers {
    /// Plan of these customers.
    pub plan: &'static str,
    /// Number of these customers.
    pub count: u32,
    /// Number of photos that each customer uploads a minute outside of the spike.
    pub a_minute: u32,
}

/// Keys of the application's organisation.
pub const KEYS: [&str; 4] = ["sk-a", "sk-b", "sk-c", "sk-d"];
/// Size of a run.
#[derive(Clone, Debug)]
pub struct Size {
    /// Customers of the application.
    pub customers: [Customers; 3],
    /// Length of the run, in minutes.
    pub minutes: u32,
    /// Minutes in which ten times as many photos are uploaded.
    pub spike: Range<u32>,
    /// Requests a minute that the vendor allows the application's organisation.
    pub limit: u64,
}

impl Size {
    /// Returns the plan's size: half an hour with 390 photos a minute, and 3,900 in a spike of five minutes.
    #[must_use]
    pub fn plan() -> Self {
        let customers = [
            Customers { plan: "basic", count: 40, a_minute: 3 },
            Customers { plan: "pro", count: 15, a_minute: 6 },
            Customers { plan: "unlimited", count: 3, a_minute: 60 },
        ];
        Self { customers, minutes: 30, spike: 15..20, limit: 3_500 }
    }
}

/// Upload of one photo by one customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Upload {
    /// Time since the start.
    pub at: Duration,
    /// Plan of the customer.
    pub plan: &'static str,
    /// Number of the customer among those of the plan.
    pub customer: u32,
    /// Number of the photo among those of the customer.
    pub photo: u32,
    /// True for bulk work, which may wait.
    pub is_bulk: bool,
}

/// Draws the uploads, in the order of time. A quarter of them repeat a photo that the customer uploaded before. Half of
/// the unlimited plan's are bulk work.
#[must_use]
pub fn draw(size: &Size, seed: u64) -> Vec<Upload> {
    let mut uploads = Vec::new();
    for (number, customers) in (0..).zip(&size.customers) {
        let Customers { plan, count, a_minute } = *customers;
        for customer in 0..count {
            let mut random = Random::of(seed, number * 1_000 + u64::from(customer));
            let mut photos = 0;
            for minute in 0..size.minutes {
                let times = if size.spike.contains(&minute) { 10 } else { 1 };
                for _ in 0..a_minute * times {
                    let is_again = photos > 0 && random.below(4) == 0;
                    let photo = if is_again { random.below(photos) } else { photos };
                    photos += u64::from(!is_again);
                    let at = MINUTE * minute + Duration::from_millis(random.below(60_000));
                    let is_bulk = plan == "unlimited" && random.below(2) == 0;
                    let photo = u32::try_from(photo).unwrap_or(u32::MAX);
                    uploads.push(Upload { at, plan, customer, photo, is_bulk });
                }
            }
        }
    }
    uploads.sort_unstable();
    uploads
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uploads_in_spike_are_tenfold() {
        let size = Size::plan();
        let uploads = draw(&size, 1);
        let within = |minutes: Range<u32>| {
            let is_within = |upload: &&Upload| (MINUTE * minutes.start..MINUTE * minutes.end).contains(&upload.at);
            uploads.iter().filter(is_within).count()
        };
        assert_eq!((within(0..5), within(size.spike.clone())), (1_950, 19_500));
        assert_eq!(uploads, draw(&size, 1));
    }
}
