/// Counters of [`RedisAccounts`](crate::RedisAccounts) since they were opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RedisStats {
    /// Settlements that were given up or found the outbox full. What they would give back counts as spent.
    pub dropped_settlements: u64,
    /// Settlements that wait to be acknowledged.
    pub pending_settlements: u64,
    /// Calls refused because Redis could not be reached.
    pub refused_in_outage: u64,
    /// Calls that passed without a limit because Redis could not be reached.
    pub allowed_in_outage: u64,
    /// Calls decided by local shares because Redis could not be reached.
    pub shared_in_outage: u64,
}
