//! Tests of dimensions as data: a label may have the name of any word in a limit's text.

use llm_core::Labels;
use llm_ratelimit::{Demand, Dimension, Limit, Limiter, Plans, Quota};

use crate::support::{AtOnce, noon, used};

const NAMES: [&str; 7] =
    ["developer", "developer tenant", "per tenant", "x per tenant", "tenant", "a for label x=y", "label tenant"];

fn limiter(limits: impl IntoIterator<Item = Limit>) -> Limiter {
    let plans = limits.into_iter().fold(Plans::default(), |plans, limit| plans.limit(limit).expect("limits differ"));
    Limiter::builder(plans).clock(noon()).build().expect("the limits are right")
}

fn daily(amount: u64) -> Limit {
    let quota: Quota = format!("{amount}/day").parse().expect("it is a quota");
    Limit::new(quota)
}

fn label(name: &str) -> Dimension {
    Dimension::Label(name.into())
}

fn demand<'a>(tenant: &str, labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> Demand {
    let mut all = Labels::default();
    labels.into_iter().for_each(|(name, value)| all.insert(name, value).expect("labels may be named so"));
    Demand::new(tenant, "m").labels(all)
}

fn spend(limiter: &Limiter, demand: &Demand) -> bool {
    limiter.try_reserve(demand).map(|reservation| reservation.settle(used(0, 0))).is_ok()
}

#[test]
fn forget_leaves_labels_named_like_dimensions() {
    for name in NAMES {
        let limiter = limiter([daily(1).per(label(name)).per(label("zone"))]);
        let call = demand("other", [(name, "v"), ("zone", "acme")]);
        assert!(spend(&limiter, &call), "{name}");
        limiter.forget("acme").at_once();
        assert!(!spend(&limiter, &call), "{name}: acme is a zone here, not a tenant");
        assert_eq!(limiter.balances().at_once().iter().find_map(|balance| balance.tenant()), None, "{name}");
    }
}

#[test]
fn forget_tells_tenants_from_labels() {
    for name in NAMES {
        let limiter = limiter([daily(1).per(label(name)).per(Dimension::Tenant)]);
        let call = demand("acme", [(name, "other")]);
        assert!(spend(&limiter, &call), "{name}");
        assert_eq!(limiter.balances().at_once()[0].tenant(), Some("acme"), "{name}");
        limiter.forget("other").at_once();
        assert!(!spend(&limiter, &call), "{name}");
        limiter.forget("acme").at_once();
        assert!(spend(&limiter, &call), "{name}");
    }
}

#[test]
fn scopes_of_equal_texts_count_apart() {
    let limiter = limiter([daily(9).per(label("a")).only(label("x"), "y"), daily(1).per(label("a for label x=y"))]);
    let filtered = demand("acme", [("a", "1"), ("x", "y")]);
    assert!(spend(&limiter, &filtered));
    assert!(!spend(&limiter, &filtered), "all calls without the odd label count together");
    let odd = |value| demand("acme", [("a for label x=y", value)]);
    assert!(spend(&limiter, &odd("1")) && !spend(&limiter, &odd("1")) && spend(&limiter, &odd("2")));
}

#[test]
fn balances_restore_scopes_of_odd_names() {
    for name in NAMES {
        let limits = || [daily(2).per(label(name)).only(label("x"), "per tenant ")];
        let (first, second) = (limiter(limits()), limiter(limits()));
        let call = demand("acme", [(name, "v"), ("x", "per tenant ")]);
        assert!(spend(&first, &call));
        let json = serde_json::to_string(&first.balances().at_once()).unwrap();
        second.restore(serde_json::from_str::<Vec<llm_ratelimit::Balance>>(&json).unwrap()).at_once();
        assert!(spend(&second, &call) && !spend(&second, &call), "{name}: one of two was spent before");
        let balance = &second.balances().at_once()[0];
        assert_eq!(balance.dimensions(), [label(name)]);
        assert_eq!(balance.filters().collect::<Vec<_>>(), [(&label("x"), "per tenant ")]);
    }
}
