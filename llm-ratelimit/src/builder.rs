//! Settings of a limiter, and the checks that refuse plans which could not be enforced.

use std::{
    fmt,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use llm_core::{Clock, price::Prices};
use tokio::sync::Notify;

use crate::{
    BuildError, Limiter, Plans, Sink, UnitName, UnknownPrice, Waiting,
    account_table::AccountTable,
    accounts::Accounts,
    build_error::{check, check_unit},
    controls::Controls,
    current_rules::CurrentRules,
    flush_watchdog::FlushWatchdog,
    inner::{Counts, Inner},
    queue::Queue,
    rules::{Names, Rules},
    time::Time,
};

/// Settings of a [`Limiter`].
///
/// ```
/// use llm_core::price::{Price, Rate};
/// use llm_ratelimit::{BuildError, Limiter, Plans, UnknownPrice};
///
/// let plans = Plans::uniform(["5 proposals/month", "$3/day"])?;
/// let price = Price { input: Rate::from_nanos(150_000_000), output: Rate::from_nanos(600_000_000), ..Price::default() };
/// let limiter = Limiter::builder(plans).unit("proposal").unknown_price(UnknownPrice::Assume(price)).build()?;
///
/// let misspelt = Plans::uniform(["100k tokns/minute"])?;
/// assert!(matches!(limiter.replace(&misspelt), Err(BuildError::UnknownUnit { nearest, .. }) if nearest == "tokens"));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub struct LimiterBuilder {
    plans: Plans,
    units: Vec<UnitName>,
    clock: Option<Arc<dyn Clock>>,
    prices: Option<Prices>,
    unknown_price: UnknownPrice,
    waiting: Option<Waiting>,
    shadow: bool,
    sinks: Vec<Arc<dyn Sink>>,
    alert_shares: Vec<u8>,
    max_accounts: usize,
    close_within: Duration,
    /// Accounts to use; `None` for accounts in memory.
    pub(crate) accounts: Option<Box<dyn Accounts>>,
}

impl Limiter {
    /// Creates the settings of a limiter with these plans.
    pub fn builder(plans: Plans) -> LimiterBuilder {
        LimiterBuilder::new(plans)
    }
}

impl LimiterBuilder {
    fn new(plans: Plans) -> Self {
        Self {
            plans,
            units: Vec::new(),
            clock: None,
            prices: None,
            unknown_price: UnknownPrice::Refuse,
            waiting: None,
            shadow: false,
            sinks: Vec::new(),
            alert_shares: vec![50, 80, 100],
            max_accounts: 250_000,
            close_within: Duration::from_secs(30),
            accounts: None,
        }
    }

    /// Lets calls wait for room. By default they are refused at once.
    ///
    /// [`Limiter::reserve`] and the layer wait, [`Limiter::try_reserve`] never does. A call waits only if there can be
    /// room later. A call that is larger than a limit, is shed, or has no price is refused at once. So is a call that
    /// would wait outside of a tokio runtime with timers ([`Reason::NoRuntime`](crate::Reason::NoRuntime)).
    ///
    /// ```
    /// use std::time::Duration;
    /// use llm_ratelimit::{Demand, Limiter, Plans, Settlement, Waiting};
    ///
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    /// # runtime.block_on(async {
    /// let plans = Plans::uniform(["1 concurrent"])?;
    /// let limiter = Limiter::builder(plans).waiting(Waiting::at_most(Duration::from_secs(10))).build()?;
    /// let first = limiter.reserve(&Demand::new("acme", "gpt-4o-mini")).await?;
    /// let demand = Demand::new("acme", "gpt-4o-mini");
    /// let (second, ()) = tokio::join!(limiter.reserve(&demand), async { first.settle(Settlement::Unknown) });
    /// assert!(second.is_ok(), "it waited until the first call had ended");
    /// # Ok::<_, Box<dyn std::error::Error>>(()) })?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn waiting(mut self, waiting: Waiting) -> Self {
        self.waiting = Some(waiting);
        self
    }

    /// Declares a unit that the application sells, for limits such as `5 proposals/month`. Upper and lower case and a
    /// plural `s` make no difference. Plans with a limit on a unit that is neither built in nor declared are refused,
    /// because no call would count there.
    pub fn unit(mut self, name: &str) -> Self {
        self.units.push(UnitName::new(name));
        self
    }

    /// Sets the prices of models, for limits that count money. Plans with such limits are refused without prices,
    /// unless [`unknown_price`](Self::unknown_price) sets a cost. If every [`Demand`](crate::Demand) states its cost,
    /// pass an empty table. A demand without a cost reserves the largest cost of its tokens at the dearest of its
    /// models.
    pub fn prices(mut self, prices: impl Into<Prices>) -> Self {
        self.prices = Some(prices.into());
        self
    }

    /// Sets the cost of a call whose model has no price. By default such a call is refused
    /// ([`Reason::Unpriced`](crate::Reason::Unpriced)) if its tenant has a limit that counts money.
    pub fn unknown_price(mut self, policy: UnknownPrice) -> Self {
        self.unknown_price = policy;
        self
    }

    /// Switches to shadow mode: calls are decided and counted, but the layer sends every call at once (see
    /// [`RateLimit`](crate::RateLimit)). Calendar windows count a call that would be refused, so that they show the
    /// real usage. Buckets and slots do not, so that later calls are decided as if that call had been refused.
    ///
    /// ```
    /// use llm_ratelimit::{Limiter, Plans};
    ///
    /// let limiter = Limiter::builder(Plans::uniform(["1/day"])?).shadow().build()?;
    /// assert!(limiter.is_shadow());
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn shadow(mut self) -> Self {
        self.shadow = true;
        self
    }

    /// Adds a receiver of the events that usage in a calendar window has reached an [alert share](Self::alert_shares).
    /// Several receivers get every event, in the order in which they were added. Buckets and limits on concurrent calls
    /// have no events.
    pub fn sink(mut self, sink: impl Sink) -> Self {
        self.sinks.push(Arc::new(sink));
        self
    }

    /// Sets the shares of a limit on a calendar window at which an [`Event`](crate::Event) is emitted, in percent from
    /// 1 to 255. The default is 50, 80 and 100; an empty list means no events. Shares above 100 report usage beyond the
    /// limit. Each share is reported once in a window. After a restart with a
    /// [`BalancePersister`](crate::BalancePersister) or a change of plans, only shares above the highest reported one
    /// are reported.
    ///
    /// ```
    /// use llm_ratelimit::{BuildError, Event, Limiter, Plans};
    ///
    /// let builder = || Limiter::builder(Plans::uniform(["10k tokens/day"]).expect("it is a limit"));
    /// let limiter = builder().alert_shares([75, 95]).sink(|event: &Event| println!("{}", event.text())).build()?;
    /// # let _ = limiter;
    /// assert_eq!(builder().alert_shares([0, 95]).build().unwrap_err(), BuildError::AlertShare);
    /// # Ok::<_, BuildError>(())
    /// ```
    pub fn alert_shares(mut self, percents: impl IntoIterator<Item = u8>) -> Self {
        self.alert_shares = percents.into_iter().collect();
        self.alert_shares.sort_unstable();
        self.alert_shares.dedup();
        self
    }

    /// Sets the largest number of accounts: 250,000 by default. There is an account for each tenant, model, label, …
    /// that is counted separately. An account takes about 280 bytes if names have 36 characters, and 80 more for every
    /// limit after the first. An account with debt is never removed. If there is no room for another account, calls are
    /// counted in a few shared accounts, and all calls that are counted in one of these share its limits.
    pub fn max_accounts(mut self, accounts: usize) -> Self {
        self.max_accounts = accounts;
        self
    }

    /// Sets the time for which [`Limiter::close`] waits for running calls: 30 s by default. With zero it does not wait.
    /// Calls that are still open settle as usual when they end.
    pub fn close_within(mut self, longest: Duration) -> Self {
        self.close_within = longest;
        self
    }

    /// Sets the wall clock. By default the system's clock is read every 10 ms, and the time in between is added from a
    /// monotonic clock. Buckets and calendar windows follow the wall clock, while a waiting call sleeps by tokio's
    /// time.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Some(Arc::new(clock));
        self
    }

    /// Builds the limiter.
    ///
    /// # Errors
    ///
    /// [`BuildError::UnknownUnit`], [`BuildError::NoPrices`] and [`BuildError::TooLarge`] for plans with a limit that could not
    /// be enforced, [`BuildError::Unit`] for a unit that cannot be declared, [`BuildError::AlertShare`] for an alert share of
    /// zero.
    pub fn build(self) -> Result<Limiter, BuildError> {
        self.units.iter().try_for_each(check_unit)?;
        if self.alert_shares.contains(&0) {
            return Err(BuildError::AlertShare);
        }
        let greatest = self.accounts.as_ref().map_or(u64::MAX, |accounts| accounts.greatest_limit());
        check(&self.plans, &self.units, self.unknown_price.has_prices(self.prices.as_ref()), greatest)?;
        let inner = Arc::new(self.inner());
        let limiter = Arc::downgrade(&inner);
        inner.accounts.connect(Box::new(move |settled| {
            if let Some(inner) = limiter.upgrade() {
                inner.conclude_settlement(settled);
            }
        }));
        Ok(Limiter(inner))
    }

    /// Keeps the accounts in Redis, where several processes share them, instead of in memory.
    /// [`max_accounts`](Self::max_accounts) then has no effect. [`Limiter::reserve`] and the layer make a round trip to
    /// decide, unless the chunks that this process has leased suffice. [`Limiter::try_reserve`] refuses a call whose
    /// decision needs a round trip ([`Reason::Remote`](crate::Reason::Remote)).
    #[cfg(feature = "redis")]
    pub fn redis(mut self, accounts: crate::RedisAccounts) -> Self {
        self.accounts = Some(Box::new(accounts));
        self
    }

    fn inner(self) -> Inner {
        let Self {
            plans,
            units,
            clock,
            prices,
            unknown_price,
            waiting,
            shadow,
            sinks,
            alert_shares,
            max_accounts,
            close_within,
            accounts,
        } = self;
        let names = Names::default();
        Inner {
            accounts: accounts.unwrap_or_else(|| Box::new(AccountTable::new(max_accounts))),
            rules: CurrentRules::new(Rules::new(&plans, &names)),
            names,
            units,
            queue: Queue::new(waiting),
            time: Time::of(clock),
            prices,
            unknown_price,
            controls: Controls::default(),
            flush_watchdog: FlushWatchdog::default(),
            shadow,
            sinks,
            alert_shares,
            counts: Counts::default(),
            closed: AtomicBool::new(false),
            settled: Notify::new(),
            close_within,
        }
    }
}

impl fmt::Debug for LimiterBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LimiterBuilder").field("plans", &self.plans).finish_non_exhaustive()
    }
}
