use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Check of packed responses against responses to the same requests alone.
///
/// A share of the items of full packs is asked alone, too; items of smaller packs are not. If the two responses are not
/// [equivalent](super::Packer::equivalent), they disagree; the tolerated share of disagreement decides how many prompts a request
/// may hold.
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

/// Size that one packer uses with one model, and the disagreement that was seen at it.
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
    /// The model.
    pub model: Arc<str>,
    /// Most prompts of a request; 1 if the model's prompts are not packed.
    pub size: usize,
    /// Comparisons at this size.
    pub compared: u64,
    /// Those of them that disagreed.
    pub disagreed: u64,
    /// Comparisons, and those that disagreed, of all sizes, by the place of the item in its prompt.
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

/// Size of one packer and model.
#[derive(Debug, Default)]
struct Judged {
    size: usize,
    compared: u64,
    disagreed: u64,
    by_place: Vec<(u64, u64)>,
    /// Largest size whose disagreement is tolerable.
    good: Option<usize>,
    /// Packs in a row whose form was refused, and the time until which nothing is packed because of it.
    refused: u32,
    off_until: Option<Instant>,
    /// Sizes that failed, with the time until which they are not tried again.
    failed: BTreeMap<usize, Instant>,
}

impl Check {
    /// Creates a check that asks this share of the items of full packs alone, and tolerates this share of disagreement. Both are
    /// shares of 1; others count as the nearest one.
    ///
    /// With nothing sampled, sizes stay as they start.
    pub const fn new(sampled_share: f64, tolerated: f64) -> Self {
        Self { sampled: sampled_share.clamp(0.0, 1.0), tolerated: tolerated.clamp(0.0, 1.0) }
    }

    /// Returns `true` for the sampled share of random numbers.
    pub(super) fn samples(&self, random: u64) -> bool {
        ((random >> 11) as f64) < self.sampled * (1_u64 << 53) as f64
    }
}

impl Sizes {
    /// Number of packers and models beyond which all sizes are forgotten.
    const MOST: usize = 1_024;

    pub(super) fn new(start: usize, most: usize, check: Check) -> Self {
        // A size of 1 is off.
        let most = if start <= 1 { 1 } else { most.max(start) };
        Self { start: start.max(1), most, check, judged: Mutex::default() }
    }

    /// Returns the most prompts of a request.
    pub(super) fn size(&self, packer: &'static str, model: &Arc<str>) -> usize {
        self.with(packer, model, |judged| judged.next_size(self.most))
    }

    /// Takes a comparison of a full pack of `size`, and judges the size.
    pub(super) fn compare(&self, packer: &'static str, model: &Arc<str>, size: usize, place: usize, agrees: bool) {
        self.with(packer, model, |judged| judged.compare(self.check.tolerated, size, place, agrees));
    }

    /// Notes that the vendor gave a pack an answer, or none at all, as one that refuses the form.
    pub(super) fn note_form(&self, packer: &'static str, model: &Arc<str>, is_answered: bool) {
        self.with(packer, model, |judged| judged.note_form(is_answered));
    }

    /// Returns the sizes in use.
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
    /// Fewest comparisons by which a size is judged.
    const COMPARISONS: u64 = 200;
    /// Packs in a row that are refused before nothing is packed.
    const REFUSALS: u32 = 3;
    /// Time for which a size that failed, or a form that was refused, is not tried again.
    const PAUSE: Duration = Duration::from_secs(24 * 60 * 60);

    /// Returns the size, which is the next larger one if this one is good and that one may be tried.
    fn next_size(&mut self, most: usize) -> usize {
        if self.is_off() {
            return 1;
        }
        // A prompt alone is right.
        let is_good = self.size == 1 || self.good == Some(self.size);
        let larger = self.size + 1;
        let is_paused = || self.failed.get(&larger).is_some_and(|until| Instant::now() < *until);
        if is_good && larger <= most && !is_paused() {
            self.change(larger);
        }
        self.size
    }

    /// Takes a comparison.
    ///
    /// A size is judged by 200 comparisons and, while Wilson's bounds are on both sides of what is tolerated, again whenever their
    /// number has doubled: with more looks chance would decide. A size that was judged good is not judged again. It is good if
    /// all of the bounds at 95 % are tolerable. It fails only if none of those at 99.9 % is, because with many looks at 95 %
    /// one of fifty good sizes would fail by chance, for a day.
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

    /// Notes that a pack has an answer, or that its form was refused. After the pause, one more refusal is enough.
    fn note_form(&mut self, is_answered: bool) {
        self.refused = if is_answered { 0 } else { self.refused.saturating_add(1) };
        if self.refused >= Self::REFUSALS {
            self.off_until = Some(Instant::now() + Self::PAUSE);
        }
    }

    /// Returns `true` if nothing is packed, because the form was refused.
    fn is_off(&self) -> bool {
        self.off_until.is_some_and(|until| Instant::now() < until)
    }

    fn change(&mut self, size: usize) {
        (self.size, self.compared, self.disagreed) = (size, 0, 0);
    }
}

/// Returns Wilson's bounds of a share at so many standard deviations: 1.96 at 95 %, 3.29 at 99.9 %.
fn wilson(part: u64, of: u64, deviations: f64) -> (f64, f64) {
    let (part, of) = (part as f64, of as f64);
    let (share, spread) = (part / of, deviations * deviations / of);
    let (middle, half) = (share + spread / 2.0, deviations * (share * (1.0 - share) / of + spread / of / 4.0).sqrt());
    ((middle - half) / (1.0 + spread), (middle + half) / (1.0 + spread))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the size after so many packs, whose items disagree by a hundredth of their place each.
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
        // In packs of 11, places 0 to 10 disagree by 5 in 100 on average.
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
