//! Accounts behind a simulated round trip, like those in another process.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::{
    Balance, LimitStatuses, Settlement, StoreError,
    account_ref::AccountRef,
    account_table::AccountTable,
    accounts::{Accounts, Decision, DecisionRequest, RoundTrip, Settled},
    hold::Hold,
    rules::Names,
    window::ImportMode,
};

/// Accounts in memory, of which each decision and each other result needs a permit from the semaphore `line`.
#[derive(Debug)]
pub(super) struct RoundTrips {
    table: AccountTable,
    line: Arc<Semaphore>,
}

impl RoundTrips {
    /// Creates accounts whose round trips take no time.
    pub(super) fn new() -> Self {
        Self::over(Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)))
    }

    /// Creates accounts of which each result needs a permit from the semaphore `line`.
    pub(super) fn over(line: Arc<Semaphore>) -> Self {
        Self { table: AccountTable::new(1_000), line }
    }

    async fn trip(&self) {
        tokio::task::yield_now().await;
        self.line.acquire().await.expect("it is never closed").forget();
    }
}

impl Accounts for RoundTrips {
    fn try_decide(&self, request: &DecisionRequest<'_>, decision: &mut Decision) {
        self.table.try_decide(request, decision);
    }

    fn decide<'a>(&'a self, request: &'a DecisionRequest<'a>, decision: &'a mut Decision) -> Option<RoundTrip<'a, ()>> {
        Some(Box::pin(async move {
            self.trip().await;
            self.table.try_decide(request, decision);
        }))
    }

    fn settle(&self, holds: &[Hold], settlement: &Settlement, now: u64, alert_shares: &[u8]) -> Settled {
        self.table.settle(holds, settlement, now, alert_shares)
    }

    fn levels<'a>(&'a self, request: DecisionRequest<'a>) -> RoundTrip<'a, LimitStatuses> {
        Box::pin(async move {
            self.trip().await;
            self.table.levels(request).await
        })
    }

    fn forget<'a>(&'a self, tenant: &'a str, names: &'a Names) -> RoundTrip<'a, ()> {
        Box::pin(async move {
            self.trip().await;
            self.table.forget(tenant, names).await;
        })
    }

    fn export<'a>(&'a self, changed: bool, names: &'a Names) -> RoundTrip<'a, Result<Vec<Balance>, StoreError>> {
        Box::pin(async move {
            self.trip().await;
            self.table.export(changed, names).await
        })
    }

    fn import<'a>(
        &'a self,
        balances: Vec<Balance>,
        mode: ImportMode,
        names: &'a Names,
    ) -> RoundTrip<'a, Result<usize, StoreError>> {
        Box::pin(async move {
            self.trip().await;
            self.table.import(balances, mode, names).await
        })
    }

    fn set_awaited(&self, account_ref: AccountRef, awaited: bool) {
        self.table.set_awaited(account_ref, awaited);
    }

    fn open(&self) -> usize {
        self.table.open()
    }

    fn len(&self) -> usize {
        self.table.len()
    }

    fn sweep(&self, now: u64) {
        self.table.sweep(now);
    }
}
