//! Tests of the words for units, and of limits that no limiter can enforce.

use llm_core::price::{ModelPrice, Price, PriceTable, Rate};
use llm_ratelimit::{BuildError, Limit, Limiter, Plan, Plans, Quota, QuotaError, Unit, UnknownPrice};

use crate::support::{AtOnce, ask, cost, nanos, used};

/// Quotas as people write them, the unit and amount of each, and its printed form.
const WRITTEN: [(&str, Unit, u64, &str); 17] = [
    ("1000 Tokens/minute", Unit::Tokens, 1_000, "1000 tokens/minute"),
    ("1000 TOKENS/Minute", Unit::Tokens, 1_000, "1000 tokens/minute"),
    ("500 tok/s", Unit::Tokens, 500, "500 tokens/second"),
    ("1m TPM/minute", Unit::Tokens, 1_000_000, "1000000 tokens/minute"),
    ("1m tpm/min", Unit::Tokens, 1_000_000, "1000000 tokens/minute"),
    ("2m TPM", Unit::Tokens, 2_000_000, "2000000 tokens/minute"),
    ("100k Input  tokens/minute", Unit::Input, 100_000, "100000 input tokens/minute"),
    ("100k ITPM", Unit::Input, 100_000, "100000 input tokens/minute"),
    ("8k Output tok/minute Burst 2k", Unit::Output, 8_000, "8000 output tokens/minute burst 2000"),
    ("10 req/minute", Unit::Requests, 10, "10 requests/minute"),
    ("10 Calls/day", Unit::Requests, 10, "10 requests/day"),
    ("500 RPM", Unit::Requests, 500, "500 requests/minute"),
    ("20 Concurrent", Unit::Requests, 20, "20 concurrent"),
    ("5 USD/month", Unit::Money, 5_000_000_000, "$5.00/month"),
    ("5 dollars/month", Unit::Money, 5_000_000_000, "$5.00/month"),
    ("0.5 usd/hour burst 0.25", Unit::Money, 500_000_000, "$0.50/hour burst $0.25"),
    ("1 Dollar/Day In europe/berlin", Unit::Money, 1_000_000_000, "$1.00/day in Europe/Berlin"),
];

/// Misspelt limits, and the known word that is most similar to each one's unit.
const MISSPELT: [(&str, &str); 9] = [
    ("100k tokns/minute", "tokens"),
    ("100k tokesn/minute", "tokens"),
    ("100k inptu tokens/minute", "input tokens"),
    ("1m tmp/minute", "tpm"),
    ("10 rquests/minute", "requests"),
    ("5 dolars/month", "dollars"),
    ("5 UDS/month", "USD"),
    ("5 propsals/month", "Proposals"),
    ("5 tset cases/month", "test case"),
];

fn builder(limit: &str) -> llm_ratelimit::LimiterBuilder {
    Limiter::builder(Plans::uniform([limit]).expect("any word is read")).unit("Proposals").unit("test case")
}

fn price() -> Price {
    Price { input: Rate::from_nanos(150_000_000), output: Rate::from_nanos(600_000_000), ..Price::default() }
}

#[test]
fn quota_words_are_read_without_case() {
    for (text, unit, amount, printed) in WRITTEN {
        let quota: Quota = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!((quota.unit(), quota.amount(), &*quota.to_string()), (&unit, amount, printed), "{text}");
        assert_eq!(printed.parse(), Ok(quota), "{text}");
    }
    let limit: Limit = "3 Req/minute Per Label user For Model gpt-4o".parse().unwrap();
    assert_eq!(limit.to_string(), "3 requests/minute per label user for model gpt-4o");
    for text in ["1m tpm/day", "500 RPM/hour"] {
        assert!(matches!(text.parse::<Quota>(), Err(QuotaError::Rate { .. })), "{text}");
    }
}

#[test]
fn misspelt_unit_is_refused() {
    for (text, expected) in MISSPELT {
        let limiter = builder("1000000 proposals/month").build().expect("a declared unit");
        let in_plans = [
            Plans::uniform([text]).unwrap(),
            Plans::new("free", Plan::new().shared(text.parse::<Limit>().unwrap())).unwrap(),
            Plans::default().limit(text.parse::<Limit>().unwrap()).unwrap(),
            Plans::default().with("unused", Plan::new().limit(text.parse::<Limit>().unwrap())).unwrap(),
        ];
        for plans in in_plans {
            let refused = limiter.replace(&plans).expect_err(text);
            let BuildError::UnknownUnit { nearest, .. } = &refused else { panic!("{text}: {refused}") };
            assert_eq!(nearest, expected, "{text}");
            let builder = Limiter::builder(plans).unit("Proposals").unit("test case");
            assert_eq!(builder.build().expect_err(text), refused);
            assert!(refused.to_string().contains(expected) && refused.to_string().contains(".unit("), "{refused}");
        }
        assert_eq!(limiter.usage("a").at_once().iter().count(), 1, "the plans in force stay");
    }
}

#[test]
fn declared_unit_is_printed_as_written() {
    for (declared, limits) in [
        ("proposal", ["5 proposals/month", "1 Proposal/week"]),
        ("Test Cases", ["40 test cases/day", "1 TEST CASE/10s burst 3"]),
        ("Fälle", ["3 fälle/day", "3 Fälle/week in Europe/Berlin"]),
        ("pass", ["3 pass/day", "3 PASS/week"]),
    ] {
        let limiter = Limiter::builder(Plans::uniform(limits).unwrap()).unit(declared).build().unwrap();
        let printed: Vec<_> = limiter.usage("a").at_once().iter().map(|status| status.limit.to_string()).collect();
        assert_eq!(printed, limits.map(|limit| format!("{limit} per tenant")));
        let _held = limiter.try_reserve(&ask("a").units(1, declared)).unwrap();
        assert!(limiter.usage("a").at_once().iter().all(|status| status.remaining < status.amount), "{declared}");
    }
}

#[test]
fn unit_without_possible_quota_is_refused() {
    for word in ["", "tokens", "Requests", "usd", "rpm", "a/b", "cases per day", "offers for sale"] {
        let error = Limiter::builder(Plans::default()).unit(word).build().expect_err(word);
        assert_eq!(error, BuildError::Unit(word.into()));
    }
}

#[test]
fn money_limit_without_prices_is_refused() {
    let (free, known) = (Price::default(), price());
    for limit in ["$5/month", "5 usd/hour", "$1/day per model for label feature=chat"] {
        for builder in [builder(limit), builder(limit).unknown_price(UnknownPrice::Assume(free))] {
            let refused = builder.build().expect_err(limit);
            assert!(matches!(refused, BuildError::NoPrices { .. }), "{limit}: {refused}");
            assert!(refused.to_string().contains(".prices("), "{refused}");
        }
        builder(limit).unknown_price(UnknownPrice::Assume(known)).build().expect(limit);
        let limiter = builder(limit).prices(PriceTable::new("2026-01-01")).build().expect(limit);
        limiter.replace(&Plans::uniform(["$9/month"]).unwrap()).expect("it has prices");
        let refused = builder("5/month").build().unwrap().replace(&Plans::uniform([limit]).unwrap());
        assert!(matches!(refused, Err(BuildError::NoPrices { .. })), "{limit}");
    }
}

#[test]
fn unpriced_model_is_named_by_refusal() {
    let prices = PriceTable::new("2026-01-01").with("m", ModelPrice::flat(price())).unwrap();
    let limiter = builder("$5/month").prices(prices).build().unwrap();
    let demand = ask("a").tokens(10, 10).fallback_models(["m".into(), "our-deployment".into()]);
    let refused = limiter.try_reserve(&demand).unwrap_err().to_string();
    assert!(refused.contains("\"our-deployment\"") && refused.contains(".prices("), "{refused}");
    limiter.try_reserve(&demand.cost(nanos(1))).unwrap().settle(cost(1));
    limiter.try_reserve(&ask("a").tokens(10, 10)).unwrap().settle(used(1, 1));
}
