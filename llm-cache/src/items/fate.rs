//! What became of items, and so of the request that they make up.

use std::time::Duration;

use crate::{CacheStatus, Miss, Stale, inner::Inner, store::Entry};

/// What became of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Its answer was stored.
    Stored { tier: &'static str, age: Duration, stale: Option<Stale> },
    /// It was asked for.
    Asked,
    /// A call that was running already brought its answer.
    Awaited,
}

impl Fate {
    pub(crate) fn stored(cache: &Inner, entry: &Entry, stale: Option<Stale>) -> Self {
        Self::Stored { tier: entry.tier, age: entry.age(cache.now()), stale }
    }

    fn stale(self) -> Option<Stale> {
        if let Self::Stored { stale, .. } = self { stale } else { None }
    }
}

/// The status of a request, counted unless it is a miss, which is counted when its call is made. `cold` says why its
/// items were asked for, if none was at hand.
pub(crate) fn tell(cache: &Inner, fates: &[Fate], cold: Miss) -> CacheStatus {
    let status = status(fates, cold);
    match status {
        CacheStatus::Hit { tier, stale, .. } => {
            cache.counts.hits.one();
            cache.counts.far_hits.add(u64::from(tier != "memory"));
            cache.counts.stale.add(u64::from(stale.is_some()));
        }
        CacheStatus::Coalesced | CacheStatus::Miss(Miss::Items { asked: 0, .. }) => drop(cache.coalesced()),
        _ => {}
    }
    status
}

fn status(fates: &[Fate], cold: Miss) -> CacheStatus {
    let asked = fates.iter().filter(|fate| **fate == Fate::Asked).count();
    // The worst is told.
    let stale = [Stale::Error, Stale::Revalidating, Stale::Allowed];
    let stale = stale.into_iter().find(|why| fates.iter().any(|fate| fate.stale() == Some(*why)));
    let stored = fates.iter().map(|fate| match fate {
        Fate::Stored { tier, age, .. } => Some((*age, *tier)),
        _ => None,
    });
    if let Some((age, tier)) = stored.collect::<Option<Vec<_>>>().and_then(|stored| stored.into_iter().max()) {
        return CacheStatus::Hit { tier, age, stale };
    }
    match asked {
        0 if stale.is_none() => CacheStatus::Coalesced,
        all if all == fates.len() => CacheStatus::Miss(cold),
        asked => CacheStatus::Miss(Miss::Items { asked: asked as u64, stale }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_told_by_the_fates_of_its_items() {
        let stored = |seconds, stale| Fate::Stored { tier: "memory", age: Duration::from_secs(seconds), stale };
        let (new, aging, spare) =
            (stored(1, None), stored(9, Some(Stale::Revalidating)), stored(5, Some(Stale::Error)));
        let told = |fates: &[Fate]| status(fates, Miss::TooOld);
        let hit = |age, stale| CacheStatus::Hit { tier: "memory", age: Duration::from_secs(age), stale };
        let items = |asked, stale| CacheStatus::Miss(Miss::Items { asked, stale });
        assert_eq!(told(&[new, new]), hit(1, None));
        assert_eq!(told(&[aging, new, spare]), hit(9, Some(Stale::Error)));
        assert_eq!(told(&[Fate::Asked, Fate::Asked]), CacheStatus::Miss(Miss::TooOld));
        assert_eq!(told(&[Fate::Asked, new]), items(1, None));
        assert_eq!(told(&[Fate::Asked, Fate::Awaited]), items(1, None));
        assert_eq!(told(&[new, Fate::Awaited]), CacheStatus::Coalesced);
        assert_eq!(told(&[aging, Fate::Awaited]), items(0, Some(Stale::Revalidating)));
        assert_eq!(told(&[aging, Fate::Asked]), items(1, Some(Stale::Revalidating)));
    }
}
