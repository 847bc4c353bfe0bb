/// Statistics of [`RedisAccounts`](crate::RedisAccounts) since they were opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RedisStats {
    /// Number of settlements that were given up, or dropped because the outbox was full. The amounts that they would
    /// have returned count as spent.
    pub dropped_settlements: u64,
    /// Number of settlements and of reports about chunks that have not been acknowledged.
    pub pending_settlements: u64,
    /// Number of calls refused because Redis could not be reached.
    pub refused_in_outage: u64,
    /// Number of calls admitted without a limit because Redis could not be reached.
    pub allowed_in_outage: u64,
    /// Number of calls decided by local shares because Redis could not be reached.
    pub shared_in_outage: u64,
}
