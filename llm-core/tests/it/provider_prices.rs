//! Tests of prices by provider, of aliases, and of causes of unknown costs.

use llm_core::{
    Amount, Estimate, Origin, Receipt, Usage, Usd,
    layer::{Accounting, SideCall},
    price::{ModelPrice, Price, PriceOptions, PriceTable, Rate, ServiceTier, TokenKind, UnknownCost},
};

const USAGE: Usage = Usage {
    input: 1_000,
    output: 100,
    cache_read: 0,
    cache_write: 0,
    cache_write_long: 0,
    audio_input: 0,
    audio_cache_read: 0,
    image_input: 0,
    tool_prompt: 0,
    reasoning: 0,
    audio_output: 0,
    image_output: 0,
    searches: 0,
};

/// Returns a provider's table with these models, at a price in dollars per million input tokens. Output tokens cost ten
/// times as much.
fn table(provider: &str, models: &[(&str, u64)]) -> PriceTable {
    let listed = models.iter().fold(PriceTable::new("2026-01-02"), |table, (model, dollars)| {
        let rate = |times: u64| Rate::from_nanos(dollars * times * 1_000_000_000);
        let price = ModelPrice::flat(Price { input: rate(1), output: rate(10), ..Price::default() });
        table.with(*model, price).expect("a right price")
    });
    listed.provider(provider)
}

/// Returns the cost of `USAGE` at a price of `dollars` dollars.
fn at(dollars: i64) -> Usd {
    Usd::from_nanos(dollars * 2_000 * 1_000)
}

fn response(provider: Option<&str>, model: &str, stated: Option<i64>) -> Accounting {
    let mut accounting = Accounting::default();
    accounting.provider = provider.map(Into::into);
    accounting.model = Some(model.into());
    accounting.cost = stated.map(Usd::from_nanos);
    accounting
}

fn cost(table: &PriceTable, asked: &str, accounting: &Accounting) -> Result<Usd, UnknownCost> {
    table.cost_of(asked, &ServiceTier::Standard, accounting, &USAGE)
}

#[test]
fn provider_row_never_prices_another_provider() {
    let table = table("groq", &[("openai/gpt-oss-120b", 3)]).merged(&self::table("openai", &[("gpt-4o", 5)]));
    let of = |provider, stated| cost(&table, "x", &response(provider, "openai/gpt-oss-120b", stated));
    assert_eq!(of(Some("groq"), None), Ok(at(3)));
    assert_eq!(of(Some("groq"), Some(7)), Ok(at(3)), "the table's own row counts");
    assert_eq!(of(Some("openrouter"), Some(7)), Ok(Usd::from_nanos(7)), "the vendor's statement");
    assert!(of(Some("openrouter"), None).is_err());
    assert_eq!(of(None, None), Ok(at(3)), "nothing says that it is another's");
}

#[test]
fn provider_row_goes_before_row_of_any() {
    let any = PriceTable::new("").with("m", ModelPrice::default()).unwrap();
    let own = table("a", &[("m", 1)]).merged(&table("b", &[("m", 2)]));
    let of = |table: &PriceTable, provider| cost(table, "m", &response(provider, "m", None));
    assert_eq!((of(&own, Some("a")), of(&own, Some("b"))), (Ok(at(1)), Ok(at(2))));
    assert_eq!(of(&own, None), Err(UnknownCost::Provider { model: "m".into() }));
    assert!(of(&own.merged(&any), Some("a")).is_err(), "one for any provider replaces them all");
}

#[test]
fn alias_prices_deployment_and_prefixed_name() {
    let table = table("openai", &[("gpt-4o-mini", 1)]);
    let table = table.alias("my-deployment", "gpt-4o-mini").alias("openai/gpt-4o-mini", "gpt-4o-mini");
    for (provider, asked, answered) in [
        ("azure", "my-deployment", "gpt-4o-mini-2024-07-18"),
        ("azure", "my-deployment", "my-deployment"),
        ("openrouter", "openai/gpt-4o-mini", "openai/gpt-4o-mini"),
        ("openrouter", "openai/gpt-4o-mini", "openai/gpt-4o-mini-2024-07-18"),
        ("openai", "gpt-4o-mini", "gpt-4o-mini-2024-07-18"),
    ] {
        assert_eq!(cost(&table, asked, &response(Some(provider), answered, None)), Ok(at(1)), "{provider} {asked}");
        let estimate = Estimate { input_bound: Some(1_000), output_bound: Some(100), ..Estimate::default() };
        for options in [PriceOptions::new(), PriceOptions::new().provider(provider)] {
            assert_eq!(table.bound_with(asked, &estimate, &options), Ok(at(1)), "{provider} {asked}");
        }
    }
    let stated = response(Some("openrouter"), "openai/gpt-4o-mini", Some(7));
    assert_eq!(
        cost(&table, "openai/gpt-4o-mini", &stated),
        Ok(Usd::from_nanos(7)),
        "the vendor's statement goes first"
    );
    let mut fallback = response(Some("azure"), "another", None);
    fallback.fallback = true;
    assert!(cost(&table, "my-deployment", &fallback).is_err(), "another model than the alias is for");
    assert_eq!(table.provider_alias("azure", "openai").price(Some("azure"), "gpt-4o-mini").map(|_| ()), Ok(()));
}

#[test]
fn alias_reads_from_json() {
    let json = r#"{"as_of": "2026-01-02", "provider": "openai", "aliases": {"mine": "m"}, "provider_aliases":
        {"azure": "openai"}, "models": {"m": {"rows": [{"input": "1", "output": "10"}]}}}"#;
    let table = PriceTable::from_json(json).unwrap();
    assert_eq!(cost(&table, "mine", &response(Some("elsewhere"), "mine", None)), Ok(at(1)));
    assert_eq!(cost(&table, "m", &response(Some("azure"), "m", None)), Ok(at(1)));
    assert!(cost(&table, "m", &response(Some("elsewhere"), "m", None)).is_err());
}

#[test]
fn unknown_model_names_alias_line() {
    let table = table("openai", &[("gpt-4o-mini", 1)]);
    let message = |provider: Option<&str>, model: &str| table.price(provider, model).unwrap_err().to_string();
    assert!(message(None, "my-deployment").contains(r#".alias("my-deployment", "…")"#));
    let prefixed = message(Some("openrouter"), "openai/gpt-4o-mini");
    assert!(prefixed.contains(r#""openai/gpt-4o-mini" at "openrouter""#), "{prefixed}");
    assert!(prefixed.contains(r#".alias("openai/gpt-4o-mini", "gpt-4o-mini")"#), "{prefixed}");
    let dated = message(Some("azure"), "gpt-4o-mini-2024-07-18");
    assert!(dated.contains(r#".alias("gpt-4o-mini-2024-07-18", "gpt-4o-mini")"#), "{dated}");
}

#[test]
fn price_of_extended_vendor_name_applies() {
    let table = table("mistral", &[("mistral-large-latest", 1), ("m", 2)]);
    let of = |asked: &str, answered: &str| cost(&table, asked, &response(Some("mistral"), answered, None)).ok();
    assert_eq!(of("mistral-large-latest", "mistral-large-2512"), Some(at(1)));
    assert_eq!(of("m", "m-0125"), Some(at(2)));
    assert_eq!(of("mistral-large-latest", "mistral-larger-2512"), None);
    assert_eq!(of("m", "mistral"), None);
}

#[test]
fn side_calls_cost_their_own_models_price() {
    let table = table("anthropic", &[("large", 10), ("small", 1)]);
    let mut accounting = response(Some("anthropic"), "large", None);
    accounting.side_calls = vec![SideCall::new(Usage::new(600, 60)).with_model("small")];
    // 600 + 600 nano-dollars at the small model's price, 400 + 400 at the large model's.
    assert_eq!(cost(&table, "large", &accounting), Ok(Usd::from_nanos(1_200 * 1_000 + 800 * 10_000)));
    accounting.side_calls = vec![SideCall::new(Usage::new(600, 60))];
    assert_eq!(cost(&table, "large", &accounting), Ok(at(10)));
    accounting.side_calls = vec![SideCall::new(Usage::new(600, 60)).with_model("unheard-of")];
    assert!(
        matches!(cost(&table, "large", &accounting), Err(UnknownCost::Model { model, .. }) if &*model == "unheard-of")
    );
    accounting.cost = Some(Usd::from_nanos(7));
    assert_eq!(cost(&table, "large", &accounting), Ok(Usd::from_nanos(7)));
}

#[test]
fn side_call_has_its_own_prompt_length() {
    let json = r#"{"as_of": "", "models": {"m": {"rows": [{"input": "1", "output": "1"},
        {"above": 1000, "input": "5", "output": "5"}]}}}"#;
    let mut accounting = response(None, "m", None);
    accounting.side_calls = vec![SideCall::new(Usage::new(900, 0))];
    let cost = |accounting: &Accounting| {
        let table = PriceTable::from_json(json).unwrap();
        table.cost_of("m", &ServiceTier::Standard, accounting, &Usage::new(1_800, 0)).unwrap().nanos()
    };
    assert_eq!(cost(&accounting), 1_800 * 1_000, "two prompts of 900");
    accounting.side_calls.clear();
    assert_eq!(cost(&accounting), 1_800 * 5_000);
}

#[test]
fn unknown_cost_names_its_cause() {
    let table = table("openai", &[("m", 1)]);
    let of = |change: fn(&mut Accounting), usage: Usage| {
        let mut accounting = response(Some("openai"), "m", None);
        change(&mut accounting);
        table.cost_of("m", &ServiceTier::Standard, &accounting, &usage).unwrap_err()
    };
    let tier = of(|accounting| accounting.service_tier = Some("Platinum".into()), USAGE);
    assert_eq!(tier, UnknownCost::Tier { model: "m".into(), tier: ServiceTier::named("platinum") });
    assert!(tier.to_string().contains("\"platinum\""), "{tier}");
    let way = of(|accounting| accounting.surcharges = vec!["mars".into()], USAGE);
    assert!(way.to_string().contains("\"mars\""), "{way}");
    let kind = of(|_| (), Usage { searches: 1, ..USAGE });
    assert_eq!(kind, UnknownCost::Kind { model: "m".into(), kind: TokenKind::Search });
}

#[test]
fn implausible_usage_has_no_cost() {
    let table = table("openai", &[("m", 1)]);
    for usage in [Usage::new(u64::MAX, 0), Usage::new(0, u64::MAX), Usage { searches: u64::MAX, ..USAGE }] {
        let cost = |accounting: &Accounting| table.cost_of("m", &ServiceTier::Standard, accounting, &usage);
        assert!(matches!(cost(&response(Some("openai"), "m", None)), Err(UnknownCost::UnusableUsage { .. })));
        let stated = response(Some("openai"), "m", Some(7));
        assert_eq!(cost(&stated), Ok(Usd::from_nanos(7)));
    }
    let most = Usage::new(Usage::MAX_PLAUSIBLE, 0);
    let response = response(Some("openai"), "m", None);
    assert!(table.cost_of("m", &ServiceTier::Standard, &response, &most).is_ok());
}

#[test]
fn price_of_cached_beyond_input_counts() {
    let table = table("openrouter", &[("m", 1)]);
    let cost = |cache_write, stated| {
        let usage = Usage { cache_read: 800, cache_write, ..USAGE };
        table.cost_of("m", &ServiceTier::Standard, &response(Some("openrouter"), "m", stated), &usage).map(Usd::nanos)
    };
    assert_eq!((cost(200, Some(7)), cost(200, None)), (Ok(at(1).nanos()), Ok(at(1).nanos())));
    assert_eq!(cost(800, Some(7)), Ok(7));
    assert_eq!(cost(800, None), Ok(1_600 * 1_000 + 1_000 * 1_000), "both are billed");
}

#[test]
fn surcharge_is_on_tokens_not_on_searches() {
    let mut model = ModelPrice::flat(Price {
        input: Rate::from_nanos(1_000_000),
        search: Some(Rate::from_nanos(5_000_000)),
        ..Price::default()
    });
    model.surcharges.insert("us".to_owned(), 2_000);
    let table = PriceTable::new("").with("m", model).unwrap();
    let usage = Usage { searches: 10, ..Usage::new(100, 0) };
    let options = PriceOptions::new().surcharge("us");
    assert_eq!(table.cost_with("m", &usage, &options).unwrap().nanos(), 2 * 100 + 10 * 5);
    let bill = table.bill("m", &usage, &options).unwrap();
    assert_eq!((bill.total.nanos(), bill.surcharges[0].amount.nanos()), (250, 100));
}

#[test]
fn search_per_request_counts_once() {
    let search = Some(Rate::from_nanos(5_000_000));
    let price = |search_per_request| Price { search, search_per_request, ..Price::default() };
    for (searches, once, each) in [(0, 0, 0), (1, 5, 5), (7, 5, 35)] {
        let usage = Usage { searches, ..Usage::default() };
        assert_eq!(price(true).cost(&usage).unwrap().nanos(), once);
        assert_eq!(price(false).cost(&usage).unwrap().nanos(), each);
    }
}

#[test]
fn paid_never_reads_as_zero_when_unknown() {
    let paid = |origin, paid: Option<Amount>| {
        let mut accounting = Accounting::default();
        (accounting.origin, accounting.paid) = (origin, paid);
        Receipt::new(accounting).paid()
    };
    let bare = paid(Origin::Vendor, None);
    assert_eq!((bare.exact(), bare.cause()), (None, Some(&UnknownCost::NoAttemptsLayer)));
    assert!(bare.to_string().starts_with("unknown (no layer prices attempts"), "{bare}");
    assert_eq!(paid(Origin::Coalesced, None).exact(), Some(Usd::ZERO));
    assert_eq!(paid(Origin::Vendor, Some(Usd::ZERO.into())).to_string(), "$0.00");
    let part = Amount::from(Usd::from_nanos(10)) + Amount::unknown(UnknownCost::NoUsage);
    assert_eq!((part.exact(), part.at_least()), (None, Usd::from_nanos(10)));
    let shares = part.split(&[1, 1]);
    assert!(shares.iter().all(|share| share.exact().is_none() && share.at_least() == Usd::from_nanos(5)));
    assert_eq!(shares.into_iter().sum::<Amount>(), part);
}
