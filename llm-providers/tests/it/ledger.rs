//! The ledger's two layers on stacks over a planned vendor.

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
