//! Model of the organisations' requests: how many each sends, when, how many at once, and which repeat.

use std::time::Duration;

use crate::random::Random;

/// Length of a window of [`Client::rates`].
pub(super) const WINDOW: Duration = Duration::from_secs(600);
/// Number of windows in a pattern: 14 days.
pub(super) const WINDOWS: usize = 14 * 144;

const HOUR: u64 = 3_600;
const DAY: u64 = 24 * HOUR;

/// Behaviour of organisations.
#[derive(Clone, Debug)]
pub struct Model {
    /// Source of the numbers.
    pub source: String,
    /// Patterns of clients, the busiest first.
    pub clients: Vec<Client>,
    /// Numbers of scenarios that are requested at once. One of them is drawn for each change.
    pub changes: Vec<usize>,
    /// Ages of the latest equal request, one for each request of the source; `None` for a new text. One of them is
    /// drawn for each request.
    pub ages: Vec<Option<Duration>>,
}

/// Pattern of one client over two weeks.
#[derive(Clone, Debug)]
pub struct Client {
    /// Rate of requests in each window of ten minutes, in any unit.
    pub rates: Vec<f64>,
    /// Coefficient of variation of the times between the client's requests.
    pub cv: f64,
}

impl Client {
    /// Returns the sum of the rates.
    #[must_use]
    pub fn total(&self) -> f64 {
        self.rates.iter().sum()
    }
}

impl Model {
    /// Returns the model that is used without traces. Its numbers are rounded from the public traces.
    #[must_use]
    pub fn stated(seed: u64) -> Self {
        let mut random = Random::of(seed, 1);
        let mut clients = Vec::new();
        for rank in 1..=160_u32 {
            let weight = f64::from(rank).powf(-1.2);
            let rates = (0..WINDOWS).map(|window| weight * activity(window) * (0.5 + random.unit()));
            clients.push(Client { rates: rates.collect(), cv: 1.2 });
        }
        let shares = [(6, 0, 0), (14, 1, HOUR), (21, HOUR, DAY), (32, DAY, 7 * DAY), (42, 7 * DAY, 30 * DAY)];
        let ages = (0..10_000_u64).map(|at| {
            let percent = at / 100;
            let (_, least, most) = shares.into_iter().find(|(below, ..)| percent < *below)?;
            Some(Duration::from_secs(least + random.below(most - least + 1)))
        });
        Self {
            source: "a stated model: 160 patterns (rank^-1.2; a working day of nine hours, a tenth outside), times between \
                     changes of variation 1.2, 1 to 158 scenarios a change (median 5), repeated after at most an hour 14 %, \
                     a day 21 %, a week 32 %, 30 days 42 %"
                .to_owned(),
            ages: ages.collect(),
            clients,
            changes: vec![1, 1, 1, 2, 2, 2, 3, 4, 4, 5, 5, 6, 8, 10, 13, 16, 20, 27, 42, 158],
        }
    }

    /// Returns the mean number of scenarios that are requested at once.
    #[must_use]
    pub fn mean_change(&self) -> f64 {
        self.changes.iter().sum::<usize>() as f64 / self.changes.len().max(1) as f64
    }
}

/// Returns the activity in a window: 1 from 8 to 17 o'clock on five days of the week, otherwise a tenth.
fn activity(window: usize) -> f64 {
    let (day, hour) = (window / 144, window % 144 / 6);
    if day % 7 < 5 && (8..17).contains(&hour) { 1.0 } else { 0.1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stated_model_has_its_stated_shares() {
        let model = Model::stated(1);
        let total: f64 = model.clients.iter().map(Client::total).sum();
        let top: f64 = model.clients.iter().take(16).map(Client::total).sum();
        assert!((0.6..0.8).contains(&(top / total)), "{}", top / total);
        let within = |most: u64| model.ages.iter().flatten().filter(|age| age.as_secs() <= most).count();
        assert_eq!((within(0), within(DAY), within(7 * DAY)), (600, 2_100, 3_200));
        assert!((12.0..18.0).contains(&model.mean_change()));
    }
}
