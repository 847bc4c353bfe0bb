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

/// The ledger of a stack: see the [module's docs](crate::ledger) for terms and an example.
///
/// Clones share the same accounts.
#[derive(Clone)]
pub struct Ledger(Arc<Inner>);

struct Inner {
    prices: Prices,
    accounts: Mutex<AccountTable>,
    hooks: Mutex<Hooks>,
    default_service: Mutex<PriceOptions>,
    /// Recording for a file, if the ledger has one.
    recording: OnceLock<Recording>,
    stack_faults: StackFaults,
}

/// Settings of a ledger with a file, which calls read without a lock.
#[derive(Debug)]
pub(super) struct Recording {
    pub(super) clock: Arc<dyn Clock>,
    /// True if requests are logged with their texts; `None` if they are not logged.
    pub(super) request_log: Option<bool>,
}

type Hooks = Arc<Vec<Arc<dyn Fn(&Attempt) + Send + Sync>>>;

impl Ledger {
    /// Makes an empty ledger that values usage by `prices`: a table, or a [`Prices`] shared with others.
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

    /// Sets the service class of requests that name none, as in your project's settings at the vendor. Default:
    /// standard. It raises the bound of such requests, not their cost, which is what the vendor says.
    pub fn default_tier(self, tier: ServiceTier) -> Self {
        self.0.default_service.lock().unwrap_or_else(PoisonError::into_inner).tier = tier;
        self
    }

    /// Adds a surcharge of requests that do not name it, such as `regional`, where your project at the
    /// vendor has it. It raises the bound of requests whose model has it, not their cost, which is what the vendor says.
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
    /// Rows are never dropped, so the first come keep theirs. Set it before the first call.
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

    /// Sets the number of pairs of a label and its value with a row of their own, as with tenants. Default: 1,000.
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

    /// Sets the number of models with a row of their own, as with tenants. Default: 1,000.
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

    /// Calls `f` with every attempt at a vendor, once, when it has ended and is booked: to log it, or to match it with
    /// the vendor's bill.
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
    /// `f` runs where the attempt ends, which may be a `drop`: it must not block or panic. It may use this ledger.
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

    /// Returns the current prices, which usage is valued by.
    pub fn prices(&self) -> PriceTable {
        self.0.prices.current()
    }

    /// Values calls from now on by `table`, and returns the previous table.
    ///
    /// A call that is running keeps the prices it began with, so its bound and its cost are of one table. What is booked
    /// stays. If the ledger was made of a [`Prices`], all who share it see the new table.
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

    /// Begins to record for a file. Returns false if it did so before.
    pub(super) fn record(&self, recording: Recording) -> bool {
        self.0.recording.set(recording).is_ok()
    }

    /// Returns the time now, if it is recorded.
    pub(super) fn time(&self) -> Option<SystemTime> {
        self.0.recording.get().map(|recording| recording.clock.now())
    }

    /// Returns true if requests are logged with texts, false if without, and `None` if they are not logged.
    pub(super) fn request_log(&self) -> Option<bool> {
        self.0.recording.get()?.request_log
    }

    pub(super) fn stack_faults(&self) -> &StackFaults {
        &self.0.stack_faults
    }

    /// Books an attempt by the shares of its members.
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

    /// Returns the service class and surcharges of requests that name none.
    pub(super) fn default_service(&self) -> PriceOptions {
        self.0.default_service.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Locks the accounts.
    ///
    /// NOTE: no code from outside the ledger may run under this lock: no receipt, no cost share, no hook.
    pub(super) fn account_table(&self) -> MutexGuard<'_, AccountTable> {
        // Rows are plain numbers, so a panic elsewhere leaves nothing half done that matters more than the panic.
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
