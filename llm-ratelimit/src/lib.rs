//! Limits and budgets per tenant for calls to language models, as a tower layer and as a library of its own.
//!
//! **Status: not built yet; this crate holds its contract.** It exports nothing and has no dependency.
//!
//! # What it will be
//!
//! Before a call it *reserves* what the call may use, and after the call it *settles* what was used:
//!
//! - Quotas over requests, tokens, money (integer nano-dollars), concurrent calls, and units that the application
//!   sells, as token buckets or as calendar windows in a time zone. Several quotas over several scopes (tenant, plan,
//!   model, provider, label, global) are decided together, all or nothing.
//! - Whatever way a call ends, its reservation is settled. A call known not to have been sent costs nothing; one that
//!   was sent and whose usage is unknown keeps its whole reservation as spent; slots always come back.
//! - Money is never overspent where the estimate is an upper bound. Otherwise the excess of calls already running is
//!   debt, which the next window pays.
//! - A refusal states the true time to wait. A wait is bounded by the call's deadline, fair between tenants, and woken
//!   rather than polled.
//! - Books in memory or in a file that a killed process leaves intact; in Redis later, behind a feature.
//! - The core works on its own: reserve a demand, then settle it, with any client and no tower.
//! - A mode that observes: it counts what it would have refused or delayed, and lets every call pass.
//!
//! # What it will not be
//!
//! - No pacing by vendors' own limits, and no choice of key: that is `llm-keypool`'s.
//! - No cache and no retries. Above a cache it counts what a customer bought, below it what is spent; where it stands
//!   is the application's choice.
//! - No reader of vendors' JSON or headers, no floating-point money, no background task that its constructor's name
//!   does not announce.
//! - No dependency on a sibling crate; it builds on `llm-core`.
