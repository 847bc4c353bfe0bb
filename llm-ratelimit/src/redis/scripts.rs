//! Scripts of the server. Each may run twice. `library.lua` says what they store.

use std::sync::LazyLock;

use llm_redis::Script;

use super::layout::MOST;

/// Takes, leases or reads what a call needs.
pub(super) static DECIDE: LazyLock<Script> = LazyLock::new(|| script(include_str!("scripts/decide.lua")));
/// Turns what a reservation holds into what was used.
pub(super) static SETTLE: LazyLock<Script> = LazyLock::new(|| script(include_str!("scripts/settle.lua")));
/// Renews reservations.
pub(super) static RENEW: LazyLock<Script> = LazyLock::new(|| script(include_str!("scripts/renew.lua")));
/// Forgets what counters count, but for what is reserved.
pub(super) static FORGET: LazyLock<Script> = LazyLock::new(|| script(include_str!("scripts/forget.lua")));
/// Takes over a window as [`ImportMode`](crate::window::ImportMode) says.
pub(super) static IMPORT: LazyLock<Script> = LazyLock::new(|| script(include_str!("scripts/import.lua")));

fn script(text: &str) -> Script {
    Script::new(&[include_str!("scripts/library.lua"), text].concat())
}

/// Returns an amount or a time as scripts calculate with it; -1 for none.
#[expect(clippy::cast_precision_loss, reason = "it is at most 2^53")]
pub(super) fn double(number: impl Into<Option<u64>>) -> f64 {
    number.into().map_or(-1.0, |number| number.min(MOST + 1) as f64)
}

/// Writes numbers as scripts read them.
pub(super) fn bytes(numbers: &[f64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}
