/// Set of ids, each at a place of its own below a bound. Inserts, removes and finds a random one in constant time.
#[derive(Debug, Default)]
pub(crate) struct SparseSet {
    /// Places and ids, in no order.
    items: Vec<(u32, u32)>,
    /// Position in `items` of what is at a place; [`ABSENT`] if nothing is.
    positions: Vec<u32>,
}

const ABSENT: u32 = u32::MAX;

impl SparseSet {
    /// Raises the bound of places.
    pub(crate) fn grow(&mut self, bound: usize) {
        self.items.reserve(bound - self.items.len());
        self.positions.resize(bound, ABSENT);
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    /// Returns the id at a position below the length.
    pub(crate) fn at(&self, position: usize) -> u32 {
        self.items[position].1
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = u32> {
        self.items.iter().map(|(_, id)| *id)
    }

    pub(crate) fn contains(&self, place: u32) -> bool {
        self.positions[place as usize] != ABSENT
    }

    /// Inserts or removes an id at its place. Returns `true` if that changed the set.
    pub(crate) fn set(&mut self, place: u32, id: u32, is_in: bool) -> bool {
        let position = self.positions[place as usize];
        if is_in == (position != ABSENT) {
            return false;
        }
        if is_in {
            self.positions[place as usize] = self.items.len() as u32;
            self.items.push((place, id));
        } else {
            self.items.swap_remove(position as usize);
            if let Some((moved, _)) = self.items.get(position as usize) {
                self.positions[*moved as usize] = position;
            }
            self.positions[place as usize] = ABSENT;
        }
        true
    }
}
