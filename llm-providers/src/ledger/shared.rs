use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::SystemTime,
};

use llm_core::Clock;
use llm_core::price::{PriceOptions, PriceTable, Prices, ServiceTier, UnknownCost};

use super::{
    Attempt, Snapshot,
    account_table::AccountTable,
    keys::Keys,
    stack_faults::{ATTEMPTS_WITHOUT_REQUESTS, StackFault, StackFaults},
};

/// Ledger of a stack, which counts costs and savings. The documentation of the [module](crate::ledger) has its terms
/// and an example.
///
/// Clones share the same accounts.
#[derive(Clone)]
pub struct Ledger(Arc<Inner>);

struct Inner {
    prices: Prices,
    accounts: Mutex<AccountTable>,
    hooks: Mutex<Hooks>,
    default_service: Mutex<PriceOptions>,
    /// Settings of the file, if the ledger has one.
    recording: OnceLock<Recording>,
    stack_faults: StackFaults,
}

/// Settings of a ledger's file, which calls read without taking a lock.
#[derive(Debug)]
pub(super) struct Recording {
    pub(super) clock: Arc<dyn Clock>,
    /// True if the request log includes texts; `None` if there is no log.
    pub(super) request_log: Option<bool>,
}

type Hooks = Arc<Vec<Arc<dyn Fn(&Attempt) + Send + Sync>>>;

impl Ledger {
    /// Creates an empty ledger that values usage by `prices`: a table, or [`Prices`] that other holders share.
    pub fn new(prices: impl Into<Prices>) -> Self {
        Self(Arc::new(Inner {
            prices: prices.into(),
            accounts: Mutex::new(AccountTable::new()),
            hooks: Mutex::default(),
            default_service: Mutex::default(),
            recording: OnceLock::new(),
            stack_faults: StackFaults::default(),
        }))
    }

    /// Sets the service class for requests that name none. Use the class in the settings of your project at the vendor.
    /// Default: standard. It raises the upper bound for such requests, but not their cost, because the vendor states
    /// the class that it served.
    pub fn default_tier(self, tier: ServiceTier) -> Self {
        self.0.default_service.lock().unwrap_or_else(PoisonError::into_inner).tier = tier;
        self
    }

    /// Adds a surcharge, such as `regional`, for requests that do not name it. Use this if the settings of your project
    /// at the vendor cause the surcharge. It raises the upper bound for requests whose model has the surcharge, but not
    /// their cost, because the vendor states the surcharges that it applied.
    ///
    /// ```
    /// use llm_providers::{Ledger, prices};
    ///
    /// let ledger = Ledger::new(prices::openai()).default_surcharge("regional");
    /// ```
    pub fn default_surcharge(self, way: impl Into<Arc<str>>) -> Self {
        let mut service = self.0.default_service.lock().unwrap_or_else(PoisonError::into_inner);
        *service = service.clone().surcharge(way);
        drop(service);
        self
    }

    /// Sets the number of tenants with a row of their own; the others share the row `(other)`. Default: 10,000.
    ///
    /// Rows are never removed, so the first tenants keep theirs. Set the bound before the first call.
    ///
    /// ```
    /// use llm_providers::{Ledger, prices};
    ///
    /// let ledger = Ledger::new(prices::openai()).max_tenants(100);
    /// ```
    pub fn max_tenants(self, most: usize) -> Self {
        self.account_table().totals.tenants.most = most;
        self
    }

    /// Sets the number of label values (pairs of a name and a value) that have a row of their own, as
    /// [`max_tenants`](Self::max_tenants) does for tenants. Default: 1,000.
    ///
    /// ```
    /// use llm_providers::{Ledger, prices};
    ///
    /// let ledger = Ledger::new(prices::openai()).max_labels(100);
    /// ```
    pub fn max_labels(self, most: usize) -> Self {
        self.account_table().totals.labels.most = most;
        self
    }

    /// Sets the number of models that have a row of their own, as [`max_tenants`](Self::max_tenants) does for tenants.
    /// Default: 1,000.
    ///
    /// ```
    /// use llm_providers::{Ledger, prices};
    ///
    /// let ledger = Ledger::new(prices::openai()).max_models(20);
    /// ```
    pub fn max_models(self, most: usize) -> Self {
        self.account_table().totals.models.most = most;
        self
    }

    /// Sets a function that is called once with every attempt at a vendor, after the attempt has ended and is booked.
    /// Use it to log attempts, or to match them with the vendor's bill.
    ///
    /// ```
    /// use llm_providers::{Charged, Ledger, prices};
    ///
    /// let ledger = Ledger::new(prices::openai()).on_attempt(|attempt| {
    ///     if let Charged::Paid(cost) = attempt.charged {
    ///         println!("{}: {cost} for {:?}", attempt.tenant, attempt.request_id);
    ///     }
    /// });
    /// # let _ = ledger;
    /// ```
    ///
    /// `f` runs where the attempt ends, which may be inside a `drop`, so it must not block or panic. It may use this
    /// ledger.
    pub fn on_attempt(self, f: impl Fn(&Attempt) + Send + Sync + 'static) -> Self {
        Arc::make_mut(&mut *self.0.hooks.lock().unwrap_or_else(PoisonError::into_inner)).push(Arc::new(f));
        self
    }

    /// Returns a copy of the accounts.
    ///
    /// ```
    /// use llm_providers::{Ledger, prices};
    ///
    /// let ledger = Ledger::new(prices::openai());
    /// assert_eq!(ledger.snapshot().total().calls, 0);
    /// ```
    pub fn snapshot(&self) -> Snapshot {
        let (accounts, unknown) = {
            let table = self.account_table();
            (table.totals.clone(), table.unknown.clone())
        };
        Snapshot::new(self.prices().as_of(), accounts, unknown).with_faults(self.stack_faults().all())
    }

    /// Returns the current prices, by which usage is valued.
    pub fn prices(&self) -> PriceTable {
        self.0.prices.current()
    }

    /// Replaces the prices for calls that begin from now on, and returns the previous table.
    ///
    /// A running call keeps the prices with which it began, so that its bound and its cost come from one table. Booked
    /// amounts do not change. If the ledger was created with [`Prices`], all holders of these prices use the new table.
    ///
    /// ```
    /// use llm_providers::{Ledger, prices};
    ///
    /// let ledger = Ledger::new(prices::openai());
    /// let previous = ledger.replace_prices(prices::all());
    /// assert_eq!(previous.as_of(), prices::openai().as_of());
    /// ```
    pub fn replace_prices(&self, table: PriceTable) -> PriceTable {
        self.0.prices.replace(table)
    }

    /// Connects the ledger to a file. Returns `false` if it already has one.
    pub(super) fn record(&self, recording: Recording) -> bool {
        self.0.recording.set(recording).is_ok()
    }

    /// Returns the time now; `None` if the ledger has no file.
    pub(super) fn time(&self) -> Option<SystemTime> {
        self.0.recording.get().map(|recording| recording.clock.now())
    }

    /// Returns `true` if requests are logged with texts, `false` if without, and `None` if they are not logged.
    pub(super) fn request_log(&self) -> Option<bool> {
        self.0.recording.get()?.request_log
    }

    pub(super) fn stack_faults(&self) -> &StackFaults {
        &self.0.stack_faults
    }

    /// Books an attempt in the rows of its members, each with its share.
    pub(super) fn book_attempt(&self, shares: &[(&Keys, &Attempt)], cause: Option<&UnknownCost>) {
        let (attempts, calls) = {
            let mut table = self.account_table();
            table.attempt(shares, cause);
            (table.totals.total.attempts, table.totals.total.calls)
        };
        if calls == 0 && attempts >= ATTEMPTS_WITHOUT_REQUESTS {
            self.stack_faults().note(StackFault::NoRequestsLayer);
        }
    }

    /// Returns the service class and surcharges for requests that name none.
    pub(super) fn default_service(&self) -> PriceOptions {
        self.0.default_service.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Locks the accounts.
    ///
    /// NOTE: no code from outside the ledger (a receipt, a cost share, a hook) may run under this lock.
    pub(super) fn account_table(&self) -> MutexGuard<'_, AccountTable> {
        // A poisoned lock is used, because rows are plain numbers, so that a panic leaves at most one booking
        // incomplete.
        self.0.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn report(&self, attempt: &Attempt) {
        let hooks = Arc::clone(&self.0.hooks.lock().unwrap_or_else(PoisonError::into_inner));
        hooks.iter().for_each(|hook| hook(attempt));
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger").field("total", &self.account_table().totals.total).finish_non_exhaustive()
    }
}
