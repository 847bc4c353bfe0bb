use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Settings for the comparison of packed responses with responses to the same prompts alone.
///
/// A sampled share of the items in full packs is also requested alone. If the two responses are not
/// [equivalent](super::Packer::equivalent), they disagree. The number of prompts in a request grows while the share of
/// items that disagree stays below the tolerated share.
///
/// ```
/// use llm_batch::pack::Check;
///
/// // One item of a hundred is asked alone, and one of twenty may disagree.
/// let check = Check::new(0.01, 0.05);
/// # drop(check);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Check {
    pub(super) sampled: f64,
    pub(super) tolerated: f64,
}

/// Number of prompts in a request for one packer and model, and the disagreement that was measured.
///
/// ```
/// use llm_batch::pack::{Check, PackLayer};
/// # let service = tower::service_fn(|_: llm_core::Call<llm_core::ChatRequest>| async {
/// #     Err::<llm_core::Reply<llm_core::ChatResponse>, _>(llm_core::Error::invalid("no vendor"))
/// # });
/// use tower_layer::Layer;
///
/// let pack = PackLayer::new(Check::new(0.01, 0.05)).layer(service);
/// for size in pack.sizes() {
///     println!("{} {}: {} prompts, {} of {} disagree", size.packer, size.model, size.size, size.disagreed, size.compared);
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PackSize {
    /// Name of the packer.
    pub packer: &'static str,
    /// Name of the model.
    pub model: Arc<str>,
    /// Largest number of prompts in a request; 1 if prompts for this model are not packed.
    pub size: usize,
    /// Number of comparisons of packed with lone responses since this size has been in use.
    pub compared: u64,
    /// Number of these comparisons in which the responses disagreed.
    pub disagreed: u64,
    /// Numbers of comparisons and of disagreements at all sizes, by the item's position in the packed prompt.
    pub by_place: Vec<(u64, u64)>,
}

/// Sizes of all packers and models.
#[derive(Debug)]
pub(super) struct Sizes {
    start: usize,
    most: usize,
    check: Check,
    judged: Mutex<BTreeMap<(&'static str, Arc<str>), Judged>>,
}

/// State of one packer and model.
#[derive(Debug, Default)]
struct Judged {
    size: usize,
    compared: u64,
    disagreed: u64,
    by_place: Vec<(u64, u64)>,
    /// Largest size whose disagreement was judged as tolerable; `None` if no size was.
    good: Option<usize>,
    /// Number of consecutive packs whose form was refused. `off_until` is the time until which nothing is packed after
    /// too many refusals.
    refused: u32,
    off_until: Option<Instant>,
    /// Sizes whose disagreement was too high, each with the time until which it is not tried again.
    failed: BTreeMap<usize, Instant>,
}

impl Check {
    /// Creates a check that also requests the share `sampled_share` of the items in full packs alone, and tolerates the
    /// share `tolerated` of disagreement. Both are between 0 and 1; other values count as the nearest of these.
    ///
    /// If nothing is sampled, the number of prompts in a request stays at its start value.
    pub const fn new(sampled_share: f64, tolerated: f64) -> Self {
        Self { sampled: sampled_share.clamp(0.0, 1.0), tolerated: tolerated.clamp(0.0, 1.0) }
    }

    /// Returns `true` if a random number falls into the sampled share.
    pub(super) fn samples(&self, random: u64) -> bool {
        ((random >> 11) as f64) < self.sampled * (1_u64 << 53) as f64
    }
}

impl Sizes {
    /// Largest number of pairs of packer and model. All sizes are dropped before a further pair is added.
    const MOST: usize = 1_024;

    pub(super) fn new(start: usize, most: usize, check: Check) -> Self {
        // A start size of 1 turns packing off.
        let most = if start <= 1 { 1 } else { most.max(start) };
        Self { start: start.max(1), most, check, judged: Mutex::default() }
    }

    /// Returns the largest number of prompts in a request for a packer and model. Moves to the next size if the current
    /// size is good.
    pub(super) fn size(&self, packer: &'static str, model: &Arc<str>) -> usize {
        self.with(packer, model, |judged| judged.next_size(self.most))
    }

    /// Records a comparison from a full pack of `size` prompts, and judges that size.
    pub(super) fn compare(&self, packer: &'static str, model: &Arc<str>, size: usize, place: usize, agrees: bool) {
        self.with(packer, model, |judged| judged.compare(self.check.tolerated, size, place, agrees));
    }

    /// Records that a pack got a usable answer, or that the vendor refused its form or the model did not follow it.
    pub(super) fn note_form(&self, packer: &'static str, model: &Arc<str>, is_answered: bool) {
        self.with(packer, model, |judged| judged.note_form(is_answered));
    }

    /// Returns the sizes in use for all packers and models.
    pub(super) fn all(&self) -> Vec<PackSize> {
        let size = |((packer, model), judged): (&(&'static str, Arc<str>), &Judged)| PackSize {
            packer,
            model: Arc::clone(model),
            size: if judged.is_off() { 1 } else { judged.size },
            compared: judged.compared,
            disagreed: judged.disagreed,
            by_place: judged.by_place.clone(),
        };
        self.lock().iter().map(size).collect()
    }

    fn with<R>(&self, packer: &'static str, model: &Arc<str>, f: impl FnOnce(&mut Judged) -> R) -> R {
        let (mut all, key) = (self.lock(), (packer, Arc::clone(model)));
        if all.len() >= Self::MOST && !all.contains_key(&key) {
            all.clear();
        }
        f(all.entry(key).or_insert_with(|| Judged { size: self.start, ..Judged::default() }))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(&'static str, Arc<str>), Judged>> {
        self.judged.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Judged {
    /// Number of comparisons after which a size is judged for the first time.
    const COMPARISONS: u64 = 200;
    /// Number of consecutive refused packs after which packing pauses.
    const REFUSALS: u32 = 3;
    /// Pause before a size that failed is tried again, and before packing is tried again after refusals.
    const PAUSE: Duration = Duration::from_secs(24 * 60 * 60);

    /// Returns the size to use. The size grows by one if the current size is good and the next size may be tried; it is
    /// 1 during a pause.
    fn next_size(&mut self, most: usize) -> usize {
        if self.is_off() {
            return 1;
        }
        // Size 1 is always good, because a prompt that is sent alone needs no comparison.
        let is_good = self.size == 1 || self.good == Some(self.size);
        let larger = self.size + 1;
        let is_paused = || self.failed.get(&larger).is_some_and(|until| Instant::now() < *until);
        if is_good && larger <= most && !is_paused() {
            self.change(larger);
        }
        self.size
    }

    /// Records a comparison, and judges the size.
    ///
    /// A size is judged after 200 comparisons. Without a decision it is judged again whenever the number of comparisons
    /// has doubled. Judging more often would let chance decide. A size is good if the upper Wilson bound of the
    /// disagreement at 95 % is below the tolerated share, and is then not judged again. It fails if the lower bound at
    /// 99.9 % is above that share. With a lower bound at 95 %, about one of fifty good sizes would fail by chance, and
    /// would not be tried again for a day.
    fn compare(&mut self, tolerated: f64, size: usize, place: usize, agrees: bool) {
        let disagrees = u64::from(!agrees);
        if self.by_place.len() <= place {
            self.by_place.resize(place + 1, (0, 0));
        }
        let (compared, disagreed) = self.by_place[place];
        self.by_place[place] = (compared + 1, disagreed + disagrees);
        if size != self.size {
            return;
        }
        self.compared += 1;
        self.disagreed += disagrees;
        let is_look =
            self.compared.is_multiple_of(Self::COMPARISONS) && (self.compared / Self::COMPARISONS).is_power_of_two();
        if self.good >= Some(size) || !is_look {
            return;
        }
        let ((_, high), (low, _)) =
            (wilson(self.disagreed, self.compared, 1.96), wilson(self.disagreed, self.compared, 3.29));
        if high < tolerated {
            self.good = Some(size);
        } else if low > tolerated {
            self.failed.insert(size, Instant::now() + Self::PAUSE);
            self.change(self.good.unwrap_or(size / 2).max(1));
        }
    }

    /// Records that a pack got a usable answer, or that its form was refused. After a pause, a single further refusal
    /// causes the next pause.
    fn note_form(&mut self, is_answered: bool) {
        self.refused = if is_answered { 0 } else { self.refused.saturating_add(1) };
        if self.refused >= Self::REFUSALS {
            self.off_until = Some(Instant::now() + Self::PAUSE);
        }
    }

    /// Returns `true` while nothing is packed, because the form was refused.
    fn is_off(&self) -> bool {
        self.off_until.is_some_and(|until| Instant::now() < until)
    }

    fn change(&mut self, size: usize) {
        (self.size, self.compared, self.disagreed) = (size, 0, 0);
    }
}

/// Returns the lower and the upper Wilson bound of the share `part / of`, at a number of standard deviations: 1.96 for
/// 95 %, 3.29 for 99.9 %.
fn wilson(part: u64, of: u64, deviations: f64) -> (f64, f64) {
    let (part, of) = (part as f64, of as f64);
    let (share, spread) = (part / of, deviations * deviations / of);
    let (middle, half) = (share + spread / 2.0, deviations * (share * (1.0 - share) / of + spread / of / 4.0).sqrt());
    ((middle - half) / (1.0 + spread), (middle + half) / (1.0 + spread))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the size after `packs` packs. The item at position n disagrees with a probability of n hundredths.
    fn grown(seed: u64, packs: usize) -> usize {
        let mut judged = Judged { size: 4, ..Judged::default() };
        let mut state = seed;
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % 100
        };
        for _ in 0..packs {
            let size = judged.next_size(64);
            (0..size).for_each(|place| judged.compare(0.05, size, place, random() >= place as u64));
        }
        judged.size
    }

    #[test]
    fn size_ends_near_the_largest_tolerable() {
        // In packs of 11 prompts, the items at the positions 0 to 10 disagree in 5 of 100 comparisons on average.
        for seed in 1..=20 {
            let size = grown(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed), 20_000);
            assert!((10..=12).contains(&size), "seed {seed}: {size}");
        }
    }

    #[test]
    fn wilson_bounds_are_those_of_the_formula() {
        for (part, of, low, high) in [(0, 200, 0.0, 0.0188), (10, 200, 0.0274, 0.0896), (200, 200, 0.9812, 1.0)] {
            let bounds = wilson(part, of, 1.96);
            assert!((bounds.0 - low).abs() < 0.0001 && (bounds.1 - high).abs() < 0.0001, "{bounds:?}");
        }
    }

    #[test]
    fn check_shares_are_clamped() {
        let check = Check::new(7.0, -1.0);
        assert_eq!((check.sampled, check.tolerated), (1.0, 0.0));
        assert!(check.samples(u64::MAX) && !Check::new(0.0, 0.5).samples(0));
    }
}
