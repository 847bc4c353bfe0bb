//! Pools of keys, of which some are unavailable.

use std::time::Duration;

use llm_keypool::{KeyPool, LeaseRequest, Member, Outcome};

use crate::vendor::AtOnce;

/// Pool of keys, and a request for a key.
#[derive(Debug)]
pub struct Keys {
    pool: KeyPool<()>,
    request: LeaseRequest,
}

impl Keys {
    /// Creates a pool of `keys` keys that are all available.
    pub fn open(keys: usize) -> Self {
        let members = (0..keys).map(|key| Member::new(format!("key-{key}"), ()));
        let pool = KeyPool::builder().members(members).seed(7).build().expect("the members have different names");
        Self { pool, request: LeaseRequest::new("gpt-4o") }
    }

    /// Creates a pool of `keys` keys, of which `away` are rate-limited.
    pub fn limited(keys: usize, away: usize) -> Self {
        Self::refused(keys, away, 429)
    }

    /// Creates a pool of `keys` keys, of which the vendor rejected `away`.
    pub fn rejected(keys: usize, away: usize) -> Self {
        Self::refused(keys, away, 401)
    }

    fn refused(keys: usize, away: usize, status: u16) -> Self {
        let keys = Self::open(keys);
        for _ in 0..away {
            let scope = llm_core::layer::LimitScope::Model(llm_core::layer::LimitWindow::Day);
            let outcome = Outcome::status(status, Some(Duration::from_secs(800)));
            let error = outcome.error().expect("it is a refusal").clone().with_scope(scope);
            keys.pool.try_lease(&keys.request).expect("a key is left").report(error.into());
        }
        keys
    }

    /// Leases a key, and reports a success to the pool.
    pub fn serve(&self) {
        let lease = self.pool.try_lease(&self.request).expect("a key is left");
        lease.report(Outcome::success());
    }
}

/// Creates a pool of three members that all use `client`.
pub fn three(client: &AtOnce) -> KeyPool<AtOnce> {
    let members = ["a", "b", "c"].map(|name| Member::new(name, client.clone()));
    KeyPool::builder().members(members).seed(7).build().expect("the members have different names")
}
