use llm_core::{Origin, Usage, Usd, price::UnknownCost};

use super::{
    Attempt, Charged, Outcome, Row, Waste,
    accounts::Accounts,
    call_outcome::{BookedResponse, CallOutcome},
    keys::Keys,
    months::MonthTable,
    request_log::RequestLog,
    unknown_costs::UnknownCosts,
};

/// Accounts of a ledger, which its lock guards: the totals, the accounts of each month, and the counts of unknown
/// costs.
#[derive(Debug)]
pub(super) struct AccountTable {
    pub(super) totals: Accounts,
    pub(super) unknown: UnknownCosts,
    /// Accounts of each month, and lines of the request log; `None` if the ledger has no file.
    pub(super) months: Option<MonthTable>,
    pub(super) log: Option<RequestLog>,
    /// Number of the attempt that was booked last.
    last_attempt: u64,
}

impl AccountTable {
    pub(super) fn new() -> Self {
        Self { totals: Accounts::new(), unknown: UnknownCosts::default(), months: None, log: None, last_attempt: 0 }
    }

    /// Books the outcome of a call.
    pub(super) fn call(&mut self, keys: &Keys, outcome: &CallOutcome) {
        if let CallOutcome::Completed(response) = outcome
            && let Err(cause) = &response.list
        {
            self.unknown.of(cause).responses += 1;
        }
        self.each(keys, |row| row.call(outcome));
    }

    /// Books an attempt in the rows of its members, each with its share. `cause` is the reason why the cost of the
    /// attempt, or its upper bound, is unknown. Each row counts the attempt once.
    pub(super) fn attempt(&mut self, shares: &[(&Keys, &Attempt)], cause: Option<&UnknownCost>) {
        if let Some(cause) = cause {
            self.unknown.of(cause).attempts += 1;
        }
        self.last_attempt += 1;
        let id = self.last_attempt;
        for (keys, share) in shares {
            self.each(keys, |row| row.attempt(share, id));
        }
    }

    /// Settles an open amount, once a caller has used the response or no caller can use it any more. `lost` is the part
    /// of the amount that no caller used.
    pub(super) fn settle(&mut self, keys: &Keys, amount: Usd, lost: Usd) {
        self.each(keys, |row| {
            row.open -= amount;
            row.used += amount - lost;
            row.wasted.add(Waste::unused(keys.purpose), lost);
        });
    }

    fn each(&mut self, keys: &Keys, mut book: impl FnMut(&mut Row)) {
        self.totals.each(keys, None, &mut book);
        if let Some(months) = &mut self.months {
            months.each(keys, &self.totals, &mut book);
        }
    }
}

impl Row {
    fn call(&mut self, outcome: &CallOutcome) {
        self.calls += 1;
        match outcome {
            CallOutcome::Completed(response) => self.response(response),
            CallOutcome::Failed => self.failed += 1,
            CallOutcome::Dropped => self.dropped += 1,
        }
    }

    fn response(&mut self, response: &BookedResponse) {
        self.completed += 1;
        match response.origin {
            Origin::Vendor => self.vendor += 1,
            Origin::Cache { .. } => self.hits += 1,
            Origin::Coalesced => self.coalesced += 1,
            // An origin that a later version adds needs a count of its own.
            _ => {}
        }
        self.units += u64::from(response.units);
        // An implausible usage is left out, because it would make the total wrong forever.
        self.usage += response.usage.filter(Usage::is_plausible).unwrap_or_default();
        self.unpriced_responses += u64::from(!response.is_priced);
        match response.list {
            Ok(list) => self.list += list,
            Err(_) => {
                self.unlisted_responses += 1;
                self.unlisted += response.useful + response.saved.total();
            }
        }
        self.useful += response.useful;
        for (cause, amount) in response.saved.iter() {
            self.saved.add(cause, amount);
        }
    }

    fn attempt(&mut self, attempt: &Attempt, id: u64) {
        // The shares of one attempt are booked one after the other, so a row with the same number has counted it
        // already.
        let count = u64::from(self.last_attempt != id);
        self.last_attempt = id;
        self.attempts += count;
        self.usage_paid += attempt.usage.unwrap_or_default();
        match attempt.charged {
            Charged::Nothing => {}
            Charged::Unpriced(_) => {
                self.unpriced_attempts += count;
                self.unpriced_wasted += if attempt.outcome == Outcome::Complete { 0 } else { count };
            }
            Charged::Unconfirmed(bound) => self.unconfirmed.add(bound, count),
            Charged::Paid(cost) => {
                self.paid += cost;
                match attempt.outcome {
                    Outcome::Complete => self.open += cost,
                    Outcome::Failed => self.wasted.add(Waste::Failed, cost),
                    Outcome::Abandoned => self.wasted.add(Waste::Abandoned, cost),
                }
            }
        }
    }
}
