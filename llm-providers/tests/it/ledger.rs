//! The ledger's two layers on stacks over a vendor that does what each test says.

mod attempts;
mod balance;
mod clients;
mod list_price;
mod requests;
mod stated_cost;
mod table;
mod tiers;
mod unknown_cost;
mod vendor;
