use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use llm_core::price::{PriceOptions, PriceTable, Prices, ServiceTier};

use super::{Attempt, AttemptsLayer, RequestsLayer, Snapshot, books::Books};

/// The books of a stack: see the [module's docs](crate::ledger) for terms and an example.
///
/// Clones share the same books.
#[derive(Clone)]
pub struct Ledger(Arc<Inner>);

struct Inner {
    prices: Prices,
    books: Mutex<Books>,
    hooks: Mutex<Hooks>,
    usual: Mutex<PriceOptions>,
}

type Hooks = Arc<Vec<Arc<dyn Fn(&Attempt) + Send + Sync>>>;

impl Ledger {
    /// Empty books that value usage by `prices`: a table, or a [`Prices`] shared with others.
    pub fn new(prices: impl Into<Prices>) -> Self {
        Self(Arc::new(Inner {
            prices: prices.into(),
            books: Mutex::new(Books::new()),
            hooks: Mutex::default(),
            usual: Mutex::default(),
        }))
    }

    /// The service class that a request may get which asks for none (standard unless set): that of your project's
    /// settings at the vendor. It raises the bound of such requests, not their cost, which is what the vendor says.
    pub fn default_tier(self, tier: ServiceTier) -> Self {
        self.0.usual.lock().unwrap_or_else(PoisonError::into_inner).tier = tier;
        self
    }

    /// Adds a surcharge that a request may get which does not ask for it, such as `regional`, where your project at the
    /// vendor has it. It raises the bound of requests whose model has it, not their cost, which is what the vendor says.
    pub fn default_surcharge(self, way: impl Into<Arc<str>>) -> Self {
        let mut usual = self.0.usual.lock().unwrap_or_else(PoisonError::into_inner);
        *usual = usual.clone().surcharge(way);
        drop(usual);
        self
    }

    /// At most so many tenants get a row of their own (10,000 unless set); the rest share the row `(other)`.
    ///
    /// Rows are never dropped, so the first come keep theirs. Set it before the first call.
    pub fn max_tenants(self, most: usize) -> Self {
        self.books().tenants.most = most;
        self
    }

    /// At most so many pairs of a label and its value get a row of their own (1,000 unless set), as with tenants.
    pub fn max_labels(self, most: usize) -> Self {
        self.books().labels.most = most;
        self
    }

    /// At most so many models get a row of their own (1,000 unless set), as with tenants.
    pub fn max_models(self, most: usize) -> Self {
        self.books().models.most = most;
        self
    }

    /// Tells of every attempt at a vendor, once, when it has ended and is booked: to log it, or to match it with the
    /// vendor's bill.
    ///
    /// `f` runs where the attempt ends, which may be a `drop`: it must not block or panic. It may use this ledger.
    pub fn on_attempt(self, f: impl Fn(&Attempt) + Send + Sync + 'static) -> Self {
        Arc::make_mut(&mut *self.0.hooks.lock().unwrap_or_else(PoisonError::into_inner)).push(Arc::new(f));
        self
    }

    /// The tap for the top of a stack, which books what callers get.
    pub fn requests(&self) -> RequestsLayer {
        RequestsLayer::new(self.clone())
    }

    /// The tap right above a client, which books every attempt at a vendor.
    pub fn attempts(&self) -> AttemptsLayer {
        AttemptsLayer::new(self.clone())
    }

    /// The books as they are now.
    pub fn snapshot(&self) -> Snapshot {
        let (total, rows, unknown) = {
            let books = self.books();
            let rows = [books.tenants.clone(), books.labels.clone(), books.models.clone()];
            (books.total.clone(), rows, books.unknown.clone())
        };
        Snapshot::new(self.prices().as_of(), total, rows, unknown)
    }

    /// The prices that usage is valued by, as they are now.
    pub fn prices(&self) -> PriceTable {
        self.0.prices.current()
    }

    /// Values calls from now on by `table`, and gives back the table until now.
    ///
    /// A call that is running keeps the prices it began with, so its bound and its cost are of one table. What is booked
    /// stays. If the ledger was made of a [`Prices`], all who share it see the new table.
    pub fn replace_prices(&self, table: PriceTable) -> PriceTable {
        self.0.prices.replace(table)
    }

    /// What a request may get that asks for nothing.
    pub(super) fn usual(&self) -> PriceOptions {
        self.0.usual.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// NOTE: nothing foreign may run under this lock: not a receipt's, not a claim's, no hook.
    pub(super) fn books(&self) -> MutexGuard<'_, Books> {
        // Rows are plain numbers, so a panic elsewhere leaves nothing half done that matters more than the panic.
        self.0.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn report(&self, attempt: &Attempt) {
        let hooks = Arc::clone(&self.0.hooks.lock().unwrap_or_else(PoisonError::into_inner));
        hooks.iter().for_each(|hook| hook(attempt));
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger").field("total", &self.books().total).finish_non_exhaustive()
    }
}
