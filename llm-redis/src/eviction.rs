//! Eviction policies of servers.

use crate::{Command, Error, Redis};

impl Redis {
    /// Returns the `maxmemory_policy` of the server, or of each primary of a Cluster: `noeviction`, `allkeys-lfu` and so on.
    ///
    /// # Errors
    ///
    /// The errors of [`Redis::run`].
    ///
    /// ```no_run
    /// # async fn example(redis: &llm_redis::Redis) -> Result<(), llm_redis::Error> {
    /// let policies = redis.eviction_policies().await?;
    /// assert!(policies.iter().all(|policy| policy == "noeviction"), "budgets may be evicted");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn eviction_policies(&self) -> Result<Vec<String>, Error> {
        let (mut policies, mut slot) = (Vec::new(), 0);
        loop {
            let mut info = Command::without_key("INFO").arg("memory");
            info.slot = self.is_cluster().then_some(slot);
            let text = self.run(info).await?.into_bytes()?.unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            let policy = text.lines().find_map(|line| line.strip_prefix("maxmemory_policy:"));
            policies
                .push(policy.ok_or_else(|| Error::unexpected("a maxmemory_policy", "without one"))?.trim().to_owned());
            let next = if self.is_cluster() { self.node_after(slot).await? } else { None };
            match next {
                Some(next) => slot = next,
                None => return Ok(policies),
            }
        }
    }
}
