//! Scope of a limit: the calls that the limit applies to, and how it groups them into separate counters.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{Demand, Dimension};

/// Dimensions whose values are counted separately, and filters that a call must pass to be counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Scope {
    /// Dimensions whose values are counted separately, sorted.
    dimensions: Vec<Dimension>,
    /// Filters, sorted: a dimension and the value that calls must have.
    filters: Vec<(Dimension, Arc<str>)>,
}

impl Scope {
    /// Adds a dimension whose values are counted separately.
    pub(crate) fn per(&mut self, dimension: Dimension) {
        if let Err(at) = self.dimensions.binary_search(&dimension) {
            self.dimensions.insert(at, dimension);
        }
    }

    /// Adds a filter, so that only calls with this value of a dimension are counted.
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

    /// Returns `true` if a call passes all filters, so that the limit counts it.
    pub(crate) fn includes(&self, demand: &Demand, plan: &str) -> bool {
        self.filters.iter().all(|(dimension, value)| dimension.of(demand, plan) == &**value)
    }

    /// Returns the values of a call's dimensions, which identify its account.
    pub(crate) fn values<'a>(&'a self, demand: &'a Demand, plan: &'a str) -> impl Iterator<Item = &'a str> {
        self.dimensions.iter().map(|dimension| dimension.of(demand, plan))
    }

    /// Returns the value of a dimension among the values of an account.
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
