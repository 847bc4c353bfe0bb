//! Tests of the ledger's two layers in stacks over a vendor that follows a plan.

mod attempts;
mod balance;
mod clients;
mod file;
mod killed_job;
mod list_price;
#[cfg(feature = "metrics")]
mod metrics;
mod requests;
mod stack_faults;
mod stated_cost;
mod table;
mod tiers;
mod unknown_cost;
mod vendor;
