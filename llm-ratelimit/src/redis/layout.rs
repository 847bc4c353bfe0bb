//! Names of accounts in Redis, and their counters as they are stored there.

use std::hash::{BuildHasher, Hash, Hasher};

use llm_redis::{HashTag, Key, KeySpace, Value};

use crate::{
    Balance, Calendar, Demand,
    account_ref::AccountRef,
    bucket::{Rate, Volume},
    counter::Level,
    rules::Group,
    scope::Scope,
    window::Window,
};

/// The largest number that scripts calculate with.
pub(super) const MOST: u64 = (1 << 53) - 1;
/// The name of the keys that hold accounts, by which they are listed.
pub(super) const ACCOUNTS: &str = "limits";

/// Number of a reservation or a lease among those of all processes.
pub(super) type Id = [u8; 16];

/// The keys of accounts that one script may use together.
#[derive(Debug)]
pub(super) struct Tag {
    pub(super) accounts: Key,
    pub(super) ends: Key,
    /// Channel on which room is announced to other processes.
    pub(super) channel: Key,
}

/// A counter as the server holds it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Stored {
    /// Level in microseconds of drain, and the amount that processes have leased.
    Bucket(f64, f64),
    Window(Window),
    Slots(u64),
}

impl Tag {
    fn new(tag: &HashTag) -> Self {
        Self { accounts: tag.key(ACCOUNTS), ends: tag.key("limit-ends"), channel: tag.key("limit-room") }
    }

    /// Returns the tag of all that is counted by tenant, for one tenant.
    pub(super) fn of_tenant(key_space: &KeySpace, tenant: &str) -> Self {
        Self::new(&key_space.hashed_tag(&[b"llm-ratelimit", b"tenant", tenant.as_bytes()]))
    }

    /// Returns the tag of an account that several tenants share.
    pub(super) fn of_shared(key_space: &KeySpace, account: &str) -> Self {
        Self::new(&key_space.hashed_tag(&[b"llm-ratelimit", b"shared", account.as_bytes()]))
    }
}

/// Returns the beginning of the fields of an account: a list in JSON without its last item and its end, so that no two
/// of them can look the same.
pub(super) fn account_name<'a>(scope: &Scope, values: impl Iterator<Item = &'a str>, catch_all: bool) -> String {
    let name = (scope, values.collect::<Vec<_>>(), catch_all);
    let name = serde_json::to_string(&name).expect("texts can be written as JSON");
    name[..name.len() - 1].to_owned()
}

/// Returns the field of a counter of an account.
pub(super) fn field(account: &str, counter: &str) -> String {
    let counter = serde_json::to_string(counter).expect("a text can be written as JSON");
    [account, ",", &counter, "]"].concat()
}

/// Returns the scope, the values, whether it is the catch-all account, and the counter that a field names; `None` if it
/// names no counter.
pub(super) fn parse_field(field: &[u8]) -> Option<(Scope, Vec<String>, bool, String)> {
    if field.first() == Some(&b'[') { serde_json::from_slice(field).ok() } else { None }
}

/// Returns the account of a call in a group.
pub(super) fn account_of(group: &Group, demand: &Demand, plan: &str) -> String {
    account_name(&group.scope, group.scope.values(demand, plan), false)
}

/// Returns the place of a call's account in a group among those of this process.
#[inline]
pub(super) fn account_ref(group: &Group, demand: &Demand, plan: &str) -> AccountRef {
    let mut hasher = foldhash::fast::FixedState::default().build_hasher();
    hasher.write_u32(group.id);
    for value in group.scope.values(demand, plan) {
        value.hash(&mut hasher);
    }
    AccountRef::from_hash(hasher.finish())
}

impl Stored {
    /// Parses a value of the server; `None` if it is no counter of this layout. What a later version added behind it is left
    /// out.
    pub(super) fn parse(value: &[u8]) -> Option<Self> {
        let (kind, rest) = value.split_first()?;
        match kind {
            b'b' => {
                let number = |at: usize| Some(f64::from_le_bytes(rest.get(at..at + 8)?.try_into().ok()?));
                Some(Self::Bucket(number(0)?, number(40)?))
            }
            b's' => {
                let [held] = numbers(rest)?;
                Some(Self::Slots(held))
            }
            b'w' => {
                let [ends, _, before, spent, reserved, carried, debt, limit, alerted] = numbers(rest)?;
                let (until, before) = (ends.saturating_mul(1_000), before.saturating_mul(1_000));
                let alerted = u8::try_from(alerted).ok()?;
                Some(Self::Window(Window { until, before, spent, reserved, carried, debt, limit, alerted }))
            }
            _ => None,
        }
    }

    /// Returns the level of a counter with this rate, if it is a bucket.
    pub(super) fn level(&self, rate: Option<Rate>) -> Level {
        match (self, rate) {
            (Self::Bucket(micros, leased), Some(rate)) => Level::Bucket(volume(micros + leased * unit(rate), rate)),
            (Self::Bucket(..), None) => Level::Unused,
            (Self::Window(window), _) => Level::Window {
                used: window.carried.saturating_add(window.spent),
                reserved: window.reserved,
                debt: window.owed(),
                until: window.until,
            },
            (Self::Slots(held), _) => Level::Slots(*held),
        }
    }
}

/// Parses the first so many numbers of a list.
fn numbers<const N: usize>(list: &[u8]) -> Option<[u64; N]> {
    let numbers: Vec<u64> = list.split(|byte| *byte == b' ').take(N).map_while(number).collect();
    numbers.try_into().ok()
}

pub(super) fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Writes a window as the server holds it.
pub(super) fn window_value(window: &Window, ordinal: u64) -> String {
    let Window { until, before, spent, reserved, carried, debt, limit, alerted } = window;
    let (until, before) = (until / 1_000, before / 1_000);
    let amounts = [*spent, *reserved, *carried, *debt, *limit].map(|amount| amount.min(MOST));
    let [spent, reserved, carried, debt, limit] = amounts;
    format!("w{until} {ordinal} {before} {spent} {reserved} {carried} {debt} {limit} {alerted}")
}

/// Returns the number of a balance's window: zero if its counter does not name a calendar.
pub(super) fn ordinal(balance: &Balance) -> u64 {
    let calendar = balance.counter.rsplit_once("/calendar ").and_then(|(_, calendar)| Calendar::parse(calendar));
    calendar.map_or(0, |calendar| calendar.bounds(balance.until().saturating_sub(1)).ordinal)
}

/// Returns the microseconds in which an amount of one drains.
#[expect(clippy::cast_precision_loss, reason = "the script calculates with the same")]
pub(super) fn unit(rate: Rate) -> f64 {
    rate.period as f64 / 1_000.0 / rate.amount.max(1) as f64
}

/// Returns the volume of a level in microseconds of drain. A level that is an amount as exactly as the script
/// calculates is that amount.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rounded")]
fn volume(micros: f64, rate: Rate) -> Volume {
    let unit = unit(rate);
    let nearest = (micros / unit).round();
    if (micros - nearest * unit).abs() < 0.01 {
        return Volume::new(nearest as u64, rate);
    }
    Volume::from_nanos((micros * 1_000.0) as u128, rate)
}

/// Returns the windows among the fields and values of a hash.
pub(super) fn balances(hash: Vec<Value>) -> Vec<Balance> {
    let mut items = hash.into_iter().map(|value| value.into_bytes().ok().flatten().unwrap_or_default());
    let mut balances = Vec::new();
    while let (Some(field), Some(value)) = (items.next(), items.next()) {
        let Some((scope, values, catch_all, counter)) = parse_field(&field) else { continue };
        if let Some(Stored::Window(window)) = Stored::parse(&value) {
            balances.push(Balance { scope, values, catch_all, counter, window });
        }
    }
    balances
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn window_value_round_trips() {
        let window = Window {
            until: 1_795_305_600_000_000_000,
            before: 1_795_219_200_000_000_000,
            spent: 1,
            reserved: 2,
            carried: 3,
            debt: 4,
            limit: MOST,
            alerted: 80,
        };
        let value = window_value(&window, 20_773);
        assert_eq!(Stored::parse(value.as_bytes()), Some(Stored::Window(window.clone())));
        let of_later_version = Stored::parse([&value, " 7 later"].concat().as_bytes());
        assert_eq!(of_later_version, Some(Stored::Window(window)));
        assert_eq!(Stored::parse(b"s3 later"), Some(Stored::Slots(3)));
        for wrong in ["", "x", "w1 2", "s", "sx", "b123", "w1 2 3 4 5 6 7 8 999"] {
            assert_eq!(Stored::parse(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn field_names_its_account_and_counter() {
        let scope = Scope::default();
        let account = account_name(&scope, ["a\"b", "c"].into_iter(), false);
        let values = vec!["a\"b".to_owned(), "c".to_owned()];
        let named = parse_field(field(&account, "tokens/60s").as_bytes());
        assert_eq!(named, Some((scope, values, false, "tokens/60s".to_owned())));
        assert_eq!(parse_field(b"r12345678"), None);
    }
}
