use std::{collections::HashMap, sync::Arc};

use super::{Row, keys::Keys};

/// Separator between the name and the value of a label in the key of its row.
pub(super) const SEPARATOR: &str = "\0";

/// Rows of one period: the total, and those of tenants, models and labels.
#[derive(Clone, Debug)]
pub(super) struct Accounts {
    pub(super) total: Row,
    pub(super) tenants: Rows,
    pub(super) labels: Rows,
    pub(super) models: Rows,
    /// Buffer for the key of a label's row, so that looking up a row allocates nothing.
    label: String,
}

/// Map of rows whose number is bounded.
#[derive(Clone, Debug)]
pub(super) struct Rows {
    pub(super) known: HashMap<Arc<str>, Row>,
    /// Row that all names beyond the bound share; `None` if the bound was never reached.
    pub(super) other: Option<Row>,
    pub(super) most: usize,
}

/// Kinds of names that have rows, as the builder of a ledger's file lists them.
#[derive(Clone, Debug, Default)]
pub(super) struct Choice {
    pub(super) tenants: bool,
    pub(super) models: bool,
    pub(super) labels: Vec<Arc<str>>,
}

impl Accounts {
    pub(super) fn new() -> Self {
        Self::with_bounds([10_000, 1_000, 1_000])
    }

    /// Creates empty accounts with the same bounds.
    pub(super) fn blank(&self) -> Self {
        Self::with_bounds([self.tenants.most, self.labels.most, self.models.most])
    }

    fn with_bounds([tenants, labels, models]: [usize; 3]) -> Self {
        Self {
            total: Row::default(),
            tenants: Rows::new(tenants),
            labels: Rows::new(labels),
            models: Rows::new(models),
            label: String::new(),
        }
    }

    /// Copies the bounds of other accounts.
    pub(super) fn bound_as(&mut self, other: &Self) {
        self.tenants.most = other.tenants.most;
        self.labels.most = other.labels.most;
        self.models.most = other.models.most;
    }

    /// Applies `book` to the total, and to the rows of the chosen kinds of names, or of all kinds if there is no
    /// choice.
    pub(super) fn each(&mut self, keys: &Keys, choice: Option<&Choice>, book: &mut impl FnMut(&mut Row)) {
        book(&mut self.total);
        if choice.is_none_or(|choice| choice.tenants) {
            book(self.tenants.row(&keys.tenant));
        }
        if choice.is_none_or(|choice| choice.models) {
            book(self.models.row(&keys.model));
        }
        let is_chosen = |name: &str| choice.is_none_or(|choice| choice.labels.iter().any(|chosen| **chosen == *name));
        for (name, value) in keys.labels.iter().filter(|(name, _)| is_chosen(name)) {
            self.label.clear();
            self.label.extend([name, SEPARATOR, value]);
            book(self.labels.row(&self.label));
        }
    }
}

impl Rows {
    fn new(most: usize) -> Self {
        Self { known: HashMap::new(), other: None, most }
    }

    fn row(&mut self, name: &str) -> &mut Row {
        if !self.known.contains_key(name) {
            if self.known.len() >= self.most {
                return self.other.get_or_insert_default();
            }
            self.known.insert(name.into(), Row::default());
        }
        self.known.get_mut(name).expect("it was found or added just now")
    }
}
