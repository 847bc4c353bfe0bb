//! Policies for storing, serving, replacing and invalidating entries.
//!
//! | file | setting | decision |
//! |---|---|---|
//! | `cache_if.rs` | `CacheBuilder::cache_if` | responses that are stored and served |
//! | `directive.rs` | `Directive`, `CacheBuilder::directive_policy` | options of a call, and their limits |
//! | `freshness.rs` | `CacheBuilder::ttl`, `stale_if_error`, `Background::revalidate` | entries that are fresh, stale or expired |
//! | `invalidation.rs`, `tag.rs` | `Cache::invalidate`, `Directive::tag` | invalid entries and running calls |
//! | `negative_cache.rs` | `CacheBuilder::negative_ttl` | requests whose error is remembered |
//! | `variants.rs` | `CacheBuilder::variants` | which of several responses is served next |
//! | `verification.rs` | `Background::verify` | hits whose request is sent again |
//!
//! The policies do no I/O and read no clock: callers pass the time.

mod cache_if;
mod directive;
mod freshness;
mod invalidation;
mod negative_cache;
mod tag;
mod variants;
mod verification;

pub(crate) use self::{
    cache_if::CacheIf,
    freshness::{Freshness, Verdict},
    invalidation::{InvalidationEpochs, Timestamp},
    negative_cache::{NegativeCache, Remembered},
    variants::Variants,
    verification::VerificationSampler,
};
pub use self::{
    directive::{Directive, DirectivePolicy},
    freshness::{Ttl, TtlRule},
    tag::Tag,
    verification::{Mismatch, Verification},
};
