//! Limiter that is opened by a URL, with the persister that the URL needs.

use crate::{BalancePersister, BuildError, Limiter, LimiterBuilder, NoRuntime, Store, StoreError, store::Address};

/// Limiter that was opened by a URL, with the persister of its balances if the URL names a file.
/// [`LimiterBuilder::open`] returns it.
///
/// Close it before the process ends, so that the last settlements are written. If it is dropped instead, they are
/// written in the background, as long as the process lives.
#[derive(Debug)]
pub struct OpenLimiter {
    limiter: Limiter,
    persister: Option<BalancePersister>,
}

/// Error of opening a limiter by a URL, or of closing one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The settings or plans are invalid.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The URL is invalid, the file cannot be opened, or balances cannot be written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The Redis server cannot be used.
    #[cfg(feature = "redis")]
    #[error(transparent)]
    Redis(#[from] crate::RedisError),
    /// There is no tokio runtime with timers.
    #[error(transparent)]
    Runtime(#[from] NoRuntime),
}

impl OpenLimiter {
    /// Returns the limiter. Clone it for each layer.
    pub fn limiter(&self) -> &Limiter {
        &self.limiter
    }

    /// Returns the persister if the URL names a file. Use it for
    /// [`RateLimitLayer::durable_reservations`](crate::RateLimitLayer::durable_reservations) and
    /// [`BalancePersister::forget`].
    pub fn persister(&self) -> Option<&BalancePersister> {
        self.persister.as_ref()
    }

    /// Closes the limiter ([`Limiter::close`]), and writes the remaining changes. Returns the number of reservations
    /// that are still open.
    ///
    /// # Errors
    ///
    /// [`OpenError::Runtime`], and [`OpenError::Store`], in which case the last changes are lost.
    pub async fn close(self) -> Result<usize, OpenError> {
        let open = self.limiter.close().await?;
        if let Some(persister) = self.persister {
            persister.close().await?;
        }
        Ok(open)
    }
}

impl LimiterBuilder {
    /// Builds the limiter with its accounts at the place that a URL names, so that an environment variable can decide
    /// where they are:
    ///
    /// | address | accounts | needs |
    /// |---|---|---|
    /// | `memory:` | in this process, for as long as it lives | |
    /// | `file:///path/to/balances` | in this process; calendar windows outlive it in a file, which one process has open | feature `file` |
    /// | `redis://user:password@host:port/db?instances=4` | on a server, which so many processes share | feature `redis` |
    ///
    /// `rediss://` is Redis with TLS (feature `redis-tls`), and `redis+cluster://host:port,host:port` a Cluster (feature
    /// `redis-cluster`). Parameters of a server are `instances` (required: the number of processes, which decides the share of
    /// each in an outage), `prefix` (of its keys), `lease` and `decision_timeout` (`500ms`, `10s`). For other settings use
    /// `RedisAccounts::builder` and `LimiterBuilder::redis`.
    ///
    /// For a file, the method reads it, which blocks until the disk has answered, and **starts a thread**, as
    /// [`BalancePersisterBuilder::start`](crate::BalancePersisterBuilder::start) does. For a server, it **spawns
    /// tasks**, as `RedisAccountsBuilder::open` does.
    ///
    /// ```
    /// use llm_ratelimit::{Demand, Limiter, Plans};
    ///
    /// # tokio_test::block_on(async {
    /// let address = std::env::var("LLM_LIMITS_URL").unwrap_or_else(|_| "memory:".to_owned());
    /// let opened = Limiter::builder(Plans::uniform(["10/minute", "$3/day"])?)
    ///     .prices(llm_ratelimit::llm_core::price::PriceTable::default())
    ///     .open(&address)
    ///     .await?;
    /// let reservation = opened.limiter().reserve(&Demand::new("acme", "gpt-4o-mini").cost("$0.01".parse()?)).await?;
    /// drop(reservation);
    /// opened.close().await?;
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// [`OpenError`] says what happened and what to do. Of the URL, an error shows only the scheme, the host and the
    /// path.
    pub async fn open(self, address: &str) -> Result<OpenLimiter, OpenError> {
        match Address::read(address)? {
            Address::Memory => Ok(OpenLimiter { limiter: self.build()?, persister: None }),
            Address::File(_) => {
                let store = Store::open(address)?;
                let limiter = self.build()?;
                let persister = BalancePersister::builder(store).start(&limiter)?;
                Ok(OpenLimiter { limiter, persister: Some(persister) })
            }
            #[cfg(feature = "redis")]
            Address::Redis(address) => {
                let accounts = crate::RedisAccounts::open(address).await?;
                Ok(OpenLimiter { limiter: self.redis(accounts).build()?, persister: None })
            }
            #[cfg(not(feature = "redis"))]
            Address::Redis(_) => Err(StoreError::Feature { scheme: "redis", feature: "redis" }.into()),
        }
    }
}
