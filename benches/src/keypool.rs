//! Pools of keys, some of which are away.

use std::time::Duration;

use llm_keypool::{KeyPool, LeaseRequest, Member, Outcome};

use crate::vendor::AtOnce;

/// A pool of keys, and the request for one.
#[derive(Debug)]
pub struct Keys {
    pool: KeyPool<()>,
    request: LeaseRequest,
}

impl Keys {
    /// Keys that all can take calls.
    pub fn open(keys: usize) -> Self {
        let members = (0..keys).map(|key| Member::new(format!("key-{key}"), ()));
        let pool = KeyPool::builder().members(members).seed(7).build().expect("the members have different names");
        Self { pool, request: LeaseRequest::new("gpt-4o") }
    }

    /// Keys of which so many wait for the end of a rate limit.
    pub fn limited(keys: usize, away: usize) -> Self {
        Self::refused(keys, away, 429)
    }

    /// Keys of which so many are rejected.
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

    /// Chooses a key, and takes that it was served.
    pub fn serve(&self) {
        let lease = self.pool.try_lease(&self.request).expect("a key is left");
        lease.report(Outcome::success());
    }
}

/// A pool of three clients.
pub fn three(client: &AtOnce) -> KeyPool<AtOnce> {
    let members = ["a", "b", "c"].map(|name| Member::new(name, client.clone()));
    KeyPool::builder().members(members).seed(7).build().expect("the members have different names")
}
