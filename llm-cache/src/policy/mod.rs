//! Policies: which entries are stored, served, replaced and invalidated.

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
