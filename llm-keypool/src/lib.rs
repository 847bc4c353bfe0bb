//! A pool of vendor keys for calls to language models: it picks the key that has room, and rests the one that has none.
//!
//! **Status: not built yet; this crate holds its contract.** It exports nothing and has no dependency.
//!
//! # What it will be
//!
//! It leases one member of the pool to each attempt, and learns from how the attempt ended:
//!
//! - Members with a key, a group and the models they serve. Vendors count per organisation or project, so several keys
//!   of one account share one quota: the pool knows groups.
//! - A choice by headroom, and pacing by what vendors report about their limits, before they refuse.
//! - A throttled member rests exactly as long as the vendor said. A wrong key, an unpaid account and a missing
//!   permission are told apart from throttling and from each other.
//! - A retry budget, so that an outage is not multiplied; fallback to further tiers of members.
//! - State shared by a whole fleet in Redis later, behind a feature; affinity to a vendor's prompt cache, and hedging,
//!   after that.
//! - The core works on its own: lease a member, report the end, with any client and no tower.
//! - A mode that observes: it counts what it would have chosen, delayed or retried, and changes nothing.
//!
//! # What it will not be
//!
//! - No limits on customers: what a tenant may use is `llm-ratelimit`'s.
//! - No HTTP client and no reader of vendors' JSON or headers: the client reads limits and errors, the pool acts on
//!   them.
//! - No key in any log, error, metric or debug output; no background task that its constructor's name does not
//!   announce.
//! - No dependency on a sibling crate; it builds on `llm-core`.

#![cfg_attr(docsrs, feature(doc_cfg))]
