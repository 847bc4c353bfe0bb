//! Names of the accounts in Redis, and the format of their counters.

use std::{
    hash::{BuildHasher, Hash, Hasher},
    ops::Deref,
};

use llm_redis::{HashTag, Key, KeySpace, Value};

use super::scripts::{bytes, double};
use crate::{
    Balance, Calendar, Demand, Dimension,
    account_ref::AccountRef,
    bucket::{Bucket, Rate},
    counter::{DecisionTime, State},
    quota::Span,
    rules::{Group, Rule},
    scope::Scope,
    window::Window,
};

/// Name that all keys of accounts share, so that they can be listed.
pub(super) const ACCOUNTS: &str = "limits";

/// Identifier of a reservation, unique among all processes.
pub(super) type Id = [u8; 16];

/// Keys of those accounts that one script may use together, because they have the same hash tag.
#[derive(Debug)]
pub(super) struct Tag {
    pub(super) accounts: Key,
    pub(super) ends: Key,
    /// Channel on which a process announces room to the others.
    pub(super) channel: Key,
}

impl Tag {
    fn new(tag: &HashTag) -> Self {
        Self { accounts: tag.key(ACCOUNTS), ends: tag.key("limit-ends"), channel: tag.key("limit-room") }
    }

    /// Returns the keys that a script needs, in the order in which all scripts expect them.
    pub(super) fn keys(&self) -> [&Key; 3] {
        [&self.accounts, &self.ends, &self.channel]
    }

    /// Returns the keys of all accounts that count one tenant's calls.
    pub(super) fn of_tenant(key_space: &KeySpace, tenant: &str) -> Self {
        Self::new(&key_space.hashed_tag(&[b"llm-ratelimit", b"tenant", tenant.as_bytes()]))
    }

    /// Returns the keys of an account that several tenants share.
    pub(super) fn of_shared(key_space: &KeySpace, account: &str) -> Self {
        Self::new(&key_space.hashed_tag(&[b"llm-ratelimit", b"shared", account.as_bytes()]))
    }
}

/// Returns the beginning of the field names of an account, which is a JSON list without its last item and closing
/// bracket, so that no two accounts have the same beginning.
pub(super) fn account_name<'a>(scope: &Scope, values: impl Iterator<Item = &'a str>, catch_all: bool) -> String {
    let name = (scope, values.collect::<Vec<_>>(), catch_all);
    let name = serde_json::to_string(&name).expect("texts can be written as JSON");
    name[..name.len() - 1].to_owned()
}

/// Returns the name of the field that holds one counter of an account.
pub(super) fn field(account: &str, counter: &str) -> String {
    let counter = serde_json::to_string(counter).expect("a text can be written as JSON");
    [account, ",", &counter, "]"].concat()
}

/// Returns the scope, the values, whether the account is the catch-all account, and the counter from a field's name;
/// `None` if the name has another format.
pub(super) fn parse_field(field: &[u8]) -> Option<(Scope, Vec<String>, bool, String)> {
    if field.first() == Some(&b'[') { serde_json::from_slice(field).ok() } else { None }
}

/// Returns the name of the account that counts a call in a group.
pub(super) fn account_of(group: &Group, demand: &Demand, plan: &str) -> String {
    account_name(&group.scope, group.scope.values(demand, plan), false)
}

/// Returns this process's reference to the account that counts a call in a group.
#[inline]
pub(super) fn account_ref(group: &Group, demand: &Demand, plan: &str) -> AccountRef {
    let mut hasher = foldhash::fast::FixedState::default().build_hasher();
    hasher.write_u32(group.id);
    for value in group.scope.values(demand, plan) {
        value.hash(&mut hasher);
    }
    AccountRef::from_hash(hasher.finish())
}

/// Parses a counter as the server stores it; `None` if it does not have this layout. Numbers that a later version
/// appended are ignored.
pub(super) fn state(value: &[u8], rule: &Rule, at: DecisionTime) -> Option<State> {
    let quota = rule.limit.quota();
    match (value.first()?, quota.span()) {
        (b'b', Span::Bucket { period, burst }) => {
            let [level, .., leased] = doubles::<6>(value)?;
            let rate = quota.rate(*period, *burst, at.per_mille);
            Some(State::Bucket(Bucket::of_volume(volume(level + leased * unit(rate), rate), rate, at.now)))
        }
        (b'w', Span::Calendar(_)) => window(value).map(State::Window),
        (b's', Span::Concurrent) => doubles(value).map(|[held]| State::Slots(whole(held))),
        _ => None,
    }
}

/// Parses a window as the server stores it.
pub(super) fn window(value: &[u8]) -> Option<Window> {
    let value = value.strip_prefix(b"w").map(|_| value)?;
    let [until, _, before, spent, reserved, carried, debt, limit, alerted] = doubles(value)?.map(whole);
    let (until, before, alerted) =
        (until.saturating_mul(1_000), before.saturating_mul(1_000), u8::try_from(alerted).ok()?);
    Some(Window { until, before, spent, reserved, carried, debt, limit, alerted })
}

/// Encodes a window as the server stores it. Without a calendar, its ordinal is 0.
pub(super) fn window_value(window: &Window, calendar: Option<&Calendar>) -> Vec<u8> {
    let Window { until, before, spent, reserved, carried, debt, limit, alerted } = *window;
    let ordinal = calendar.map_or(0, |calendar| calendar.bounds(until.saturating_sub(1)).ordinal);
    let numbers =
        [until / 1_000, ordinal, before / 1_000, spent, reserved, carried, debt, limit, alerted.into()].map(double);
    [b"w", &*bytes(&numbers)].concat()
}

/// Returns the calendar that the name of a balance's counter contains, if any.
pub(super) fn calendar(balance: &Balance) -> Option<Calendar> {
    Calendar::parse(balance.counter.rsplit_once("/calendar ")?.1)
}

/// Parses the numbers that follow the letter for the kind of counter.
fn doubles<const N: usize>(value: &[u8]) -> Option<[f64; N]> {
    let (numbers, _) = value.get(1..)?.as_chunks::<8>();
    let numbers: Vec<f64> = numbers.iter().take(N).map(|number| f64::from_le_bytes(*number)).collect();
    numbers.try_into().ok()
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the server holds whole numbers")]
pub(super) fn whole(number: f64) -> u64 {
    number as u64
}

/// Returns the time in which an amount of 1 drains, in microseconds.
#[expect(clippy::cast_precision_loss, reason = "the script calculates with the same")]
fn unit(rate: Rate) -> f64 {
    rate.period as f64 / 1_000.0 / rate.amount.max(1) as f64
}

/// Converts a bucket's level from microseconds of draining to a volume. A level within the script's rounding error of a
/// whole amount becomes that amount.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rounded")]
fn volume(micros: f64, rate: Rate) -> u128 {
    let unit = unit(rate);
    let nearest = (micros / unit).round();
    if (micros - nearest * unit).abs() < 0.01 {
        return u128::from(nearest as u64) * u128::from(rate.period);
    }
    ((micros * 1_000.0) as u128).saturating_mul(rate.amount.into())
}

/// Returns the balances of all windows in a hash.
pub(super) fn balances(hash: Vec<Value>) -> Vec<Balance> {
    let mut balances = Vec::new();
    for (field, value) in entries(hash) {
        let Some((scope, values, catch_all, counter)) = parse_field(&field) else { continue };
        if let Some(window) = window(&value) {
            balances.push(Balance { scope, values, catch_all, counter, window });
        }
    }
    balances
}

/// Returns the names of those fields of a hash that count a tenant's calls.
pub(super) fn fields_of(hash: Vec<Value>, tenant: &str) -> Vec<Box<[u8]>> {
    let is_theirs = |field: &[u8]| {
        let Some((scope, values, catch_all, _)) = parse_field(field) else { return false };
        let of = scope.value_of(&Dimension::Tenant, values.iter().map(String::as_str));
        !catch_all && of == Some(tenant)
    };
    entries(hash).filter(|(field, _)| is_theirs(field)).map(|(field, _)| (*field).into()).collect()
}

/// Returns the fields of a hash with their values.
fn entries(hash: Vec<Value>) -> impl Iterator<Item = (impl Deref<Target = [u8]>, impl Deref<Target = [u8]>)> {
    let mut items = hash.into_iter().map(|value| value.into_bytes().ok().flatten().unwrap_or_default());
    std::iter::from_fn(move || Some((items.next()?, items.next()?)))
}

#[cfg(test)]
mod tests {
    use super::{super::scripts::MOST, *};

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
        let value = window_value(&window, Calendar::parse("day").as_ref());
        assert_eq!(super::window(&value), Some(window.clone()));
        assert_eq!(super::window(&[&value, &b" 7 later"[..]].concat()), Some(window));
        for wrong in [&b""[..], b"x", b"w1 2", &value[..70], &[b"b", &value[1..]].concat()] {
            assert_eq!(super::window(wrong), None, "{wrong:?}");
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
