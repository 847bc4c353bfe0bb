//! Scripts that run on the server. Each may safely run twice. `library.lua` describes the stored data.

use std::sync::LazyLock;

use llm_redis::Script;

/// Largest whole number that scripts can calculate with exactly.
pub(super) const MOST: u64 = (1 << 53) - 1;

/// Reserves, leases or reads the amounts that a call needs.
pub(super) static DECIDE: LazyLock<Script> = LazyLock::new(|| script(include_str!("scripts/decide.lua")));
/// Replaces the amounts of a reservation by the used amounts.
pub(super) static SETTLE: LazyLock<Script> = LazyLock::new(|| script(include_str!("scripts/settle.lua")));
/// Renews reservations.
pub(super) static RENEW: LazyLock<Script> = LazyLock::new(|| script(include_str!("scripts/renew.lua")));
/// Clears counters, except for the amounts of open reservations in windows and slots.
pub(super) static FORGET: LazyLock<Script> = LazyLock::new(|| script(include_str!("scripts/forget.lua")));
/// Imports a window in an [`ImportMode`](crate::window::ImportMode).
pub(super) static IMPORT: LazyLock<Script> = LazyLock::new(|| script(include_str!("scripts/import.lua")));

fn script(text: &str) -> Script {
    Script::new(&[include_str!("scripts/library.lua"), text].concat())
}

/// Converts an amount or a time to the number type of scripts; `None` becomes -1.
#[expect(clippy::cast_precision_loss, reason = "it is at most 2^53")]
pub(super) fn double(number: impl Into<Option<u64>>) -> f64 {
    number.into().map_or(-1.0, |number| number.min(MOST + 1) as f64)
}

/// Encodes numbers as little-endian doubles, which scripts unpack.
pub(super) fn bytes(numbers: &[f64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}
