use std::collections::{BTreeSet, HashMap};

use super::Request;

/// Returns the largest number of hits that any policy could have with room for `capacity` responses if it knew all
/// later requests (Belady's MIN). Of the held responses and the new one, it evicts the one whose next use is farthest
/// away. Responses never expire here, so the number is also an upper bound for every time to live.
pub fn optimal(requests: &[Request], capacity: usize) -> u64 {
    let next = next_uses(requests);
    let (mut held, mut by_next) = (HashMap::new(), BTreeSet::new());
    let mut hits = 0;
    for (request, &next) in requests.iter().zip(&next) {
        let key = request.key();
        if let Some(now) = held.insert(key, next) {
            by_next.remove(&(now, key));
            hits += 1;
        }
        by_next.insert((next, key));
        if held.len() > capacity {
            let (_, last) = by_next.pop_last().expect("everything held has a next use");
            held.remove(&last);
        }
    }
    hits
}

/// Returns for each request the index of the next equal request, or `usize::MAX` if it never is.
fn next_uses(requests: &[Request]) -> Vec<usize> {
    let mut seen = HashMap::new();
    let mut next = vec![0; requests.len()];
    for (place, request) in requests.iter().enumerate().rev() {
        next[place] = seen.insert(request.key(), place).unwrap_or(usize::MAX);
    }
    next
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::hit_rate::Naive;

    fn requests(series: &[u32]) -> Vec<Request> {
        series.iter().map(|&prompt| Request { at: Duration::ZERO, tenant: 0, prompt }).collect()
    }

    #[test]
    fn belady_evicts_entry_needed_last() {
        // The loop is one request longer than the capacity, so that LRU has always just evicted the next request.
        let series = requests(&[1, 2, 3, 1, 2, 3, 1, 2, 3]);
        assert_eq!((optimal(&series, 2), Naive::new(2, None).hits(&series)), (4, 0));
        assert_eq!(optimal(&series, 3), 6);
        assert_eq!(optimal(&series, 0), 0);
    }

    #[test]
    fn belady_admits_no_entry_without_later_use() {
        assert_eq!(optimal(&requests(&[1, 9, 1, 8, 1]), 1), 2);
    }

    #[test]
    fn belady_is_no_worse_than_any_choice() {
        for seed in 0..200_u32 {
            let series: Vec<u32> = (0..9).map(|n| (seed.wrapping_mul(2_654_435_761) >> (3 * n)) % 4).collect();
            let series = requests(&series);
            assert_eq!(optimal(&series, 2), best(&series, &[], 2), "{series:?}");
        }
    }

    /// Returns the largest number of hits by trying every possible eviction.
    fn best(series: &[Request], held: &[u32], capacity: usize) -> u64 {
        let Some((first, rest)) = series.split_first() else { return 0 };
        let now = first.prompt;
        if held.contains(&now) {
            return 1 + best(rest, held, capacity);
        }
        let with: Vec<u32> = held.iter().copied().chain([now]).collect();
        if with.len() <= capacity {
            return best(rest, &with, capacity);
        }
        let without = |gone: u32| with.iter().copied().filter(|held| *held != gone).collect::<Vec<_>>();
        with.iter().map(|gone| best(rest, &without(*gone), capacity)).max().unwrap_or(0)
    }
}
