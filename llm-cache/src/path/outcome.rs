//! Outcomes of items, and the status of their request.
//!
//! | items | status |
//! |---|---|
//! | all stored | `Hit`, with the largest age and the worst reason for a stale one |
//! | none sent, none stale | `Coalesced` |
//! | all sent | `Miss`, with the reason if all have the same |
//! | any others | `Miss(Items)`, with the number that was sent |

use std::time::Duration;

use crate::{CacheStatus, Miss, Stale, entries::Stored, inner::Inner};

/// Outcome of one item of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ItemOutcome {
    /// Stored response.
    Stored { tier: &'static str, age: Duration, stale: Option<Stale> },
    /// Response of a call that the request led.
    Led,
    /// Response of a call that another request led.
    Joined,
}

impl ItemOutcome {
    pub(super) fn stored<C>(stored: &Stored<C>, stale: Option<Stale>) -> Self {
        Self::Stored { tier: stored.entry.tier, age: stored.age, stale }
    }
}

/// Returns the status of a request, and counts it. A miss is counted when its call is sent, and not here. `miss` is the
/// reason for the call, if no item was served.
pub(super) fn record(cache: &Inner, items: impl Iterator<Item = ItemOutcome> + Clone, miss: Miss) -> CacheStatus {
    let status = status(items, miss);
    let counts = &cache.counts;
    match status {
        CacheStatus::Hit { tier, stale, .. } => {
            counts.hits.one();
            counts.remote_hits.add(u64::from(tier != "memory"));
            counts.stale.add(u64::from(stale.is_some()));
        }
        CacheStatus::Coalesced | CacheStatus::Miss(Miss::Items { sent: 0, .. }) => counts.coalesced.one(),
        _ => {}
    }
    status
}

fn status(items: impl Iterator<Item = ItemOutcome> + Clone, miss: Miss) -> CacheStatus {
    // Of several reasons for serving expired entries, the worst one is reported.
    let severity = |stale: &Stale| match stale {
        Stale::Allowed => 0,
        Stale::Revalidating => 1,
        Stale::Error => 2,
    };
    let (mut oldest, mut stored, mut led, mut all) = (None, 0, 0, 0);
    let mut worst: Option<Stale> = None;
    for item in items {
        all += 1;
        match item {
            ItemOutcome::Stored { tier, age, stale } => {
                stored += 1;
                oldest = oldest.max(Some((age, tier)));
                worst = worst.into_iter().chain(stale).max_by_key(severity);
            }
            ItemOutcome::Led => led += 1,
            ItemOutcome::Joined => {}
        }
    }
    match oldest {
        Some((age, tier)) if stored == all => CacheStatus::Hit { tier, age, stale: worst },
        _ if led == 0 && worst.is_none() => CacheStatus::Coalesced,
        _ if led == all => CacheStatus::Miss(miss),
        _ => CacheStatus::Miss(Miss::Items { sent: led, stale: worst }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cache_status_reports_worst_item_outcome() {
        let stored = |seconds, stale| ItemOutcome::Stored { tier: "memory", age: Duration::from_secs(seconds), stale };
        let (new, revalidating, stale_if_error) =
            (stored(1, None), stored(9, Some(Stale::Revalidating)), stored(5, Some(Stale::Error)));
        let of = |outcomes: &[ItemOutcome]| status(outcomes.iter().copied(), Miss::TooOld);
        let hit = |age, stale| CacheStatus::Hit { tier: "memory", age: Duration::from_secs(age), stale };
        let items = |sent, stale| CacheStatus::Miss(Miss::Items { sent, stale });
        assert_eq!(of(&[new, new]), hit(1, None));
        assert_eq!(of(&[revalidating, new, stale_if_error]), hit(9, Some(Stale::Error)));
        assert_eq!(of(&[ItemOutcome::Led, ItemOutcome::Led]), CacheStatus::Miss(Miss::TooOld));
        assert_eq!(of(&[ItemOutcome::Led, new]), items(1, None));
        assert_eq!(of(&[ItemOutcome::Led, ItemOutcome::Joined]), items(1, None));
        assert_eq!(of(&[new, ItemOutcome::Joined]), CacheStatus::Coalesced);
        assert_eq!(of(&[revalidating, ItemOutcome::Joined]), items(0, Some(Stale::Revalidating)));
        assert_eq!(of(&[revalidating, ItemOutcome::Led]), items(1, Some(Stale::Revalidating)));
    }
}
