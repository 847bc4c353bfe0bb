/// Set of the numbers below a bound, in which a random one is found at once. Inserts and removes in constant time.
#[derive(Debug, Default)]
pub(crate) struct SparseSet {
    dense: Vec<u32>,
    /// Position of each number in `dense`; [`ABSENT`] without one.
    positions: Vec<u32>,
}

const ABSENT: u32 = u32::MAX;

impl SparseSet {
    /// Raises the bound.
    pub(crate) fn grow(&mut self, bound: usize) {
        self.dense.reserve(bound - self.dense.len());
        self.positions.resize(bound, ABSENT);
    }

    pub(crate) fn items(&self) -> &[u32] {
        &self.dense
    }

    pub(crate) fn contains(&self, number: u32) -> bool {
        self.positions[number as usize] != ABSENT
    }

    /// Inserts or removes a number. Returns `true` if that changed the set.
    pub(crate) fn set(&mut self, number: u32, is_in: bool) -> bool {
        let at = self.positions[number as usize];
        if is_in == (at != ABSENT) {
            return false;
        }
        if is_in {
            self.positions[number as usize] = self.dense.len() as u32;
            self.dense.push(number);
        } else {
            self.dense.swap_remove(at as usize);
            if let Some(moved) = self.dense.get(at as usize) {
                self.positions[*moved as usize] = at;
            }
            self.positions[number as usize] = ABSENT;
        }
        true
    }
}
