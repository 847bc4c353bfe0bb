//! Scope of a limit: which calls count, and which of them count together.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{Demand, Dimension};

/// Dimensions whose values count separately, and filters that a call must pass to be counted at all.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Scope {
    /// Sorted.
    dimensions: Vec<Dimension>,
    /// Sorted.
    filters: Vec<(Dimension, Arc<str>)>,
}

impl Scope {
    /// Adds a dimension whose values count separately.
    pub(crate) fn per(&mut self, dimension: Dimension) {
        if let Err(at) = self.dimensions.binary_search(&dimension) {
            self.dimensions.insert(at, dimension);
        }
    }

    /// Counts only calls with this value of a dimension.
    pub(crate) fn only(&mut self, dimension: Dimension, value: Arc<str>) {
        self.filters.push((dimension, value));
        self.filters.sort();
    }

    pub(crate) fn dimensions(&self) -> &[Dimension] {
        &self.dimensions
    }

    pub(crate) fn filters(&self) -> &[(Dimension, Arc<str>)] {
        &self.filters
    }

    /// Returns true if a call is counted.
    pub(crate) fn includes(&self, demand: &Demand, plan: &str) -> bool {
        self.filters.iter().all(|(dimension, value)| dimension.of(demand, plan) == &**value)
    }

    /// Returns the values of a call's dimensions, which identify its account.
    pub(crate) fn values<'a>(&'a self, demand: &'a Demand, plan: &'a str) -> impl Iterator<Item = &'a str> {
        self.dimensions.iter().map(|dimension| dimension.of(demand, plan))
    }

    /// Returns the value of a dimension among an account's values.
    pub(crate) fn value_of<'a>(
        &self,
        dimension: &Dimension,
        mut values: impl Iterator<Item = &'a str>,
    ) -> Option<&'a str> {
        values.nth(self.dimensions.binary_search(dimension).ok()?)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for dimension in &self.dimensions {
            write!(f, " per {dimension}")?;
        }
        for (dimension, value) in &self.filters {
            match dimension {
                Dimension::Label(_) => write!(f, " for {dimension}={value}")?,
                _ => write!(f, " for {dimension} {value}")?,
            }
        }
        Ok(())
    }
}
