//! Service classes, bills, and tables that are refused.

use proptest::prelude::*;

use super::*;
use crate::{Estimate, Usage, Usd};

/// Prices in nano-dollars: standard 1,000 and 2,000, above 1,000 tokens twice that; batch half of it; flex only for short
/// prompts; priority thrice.
const TABLE: &str = r#"{"as_of": "2026-01-02", "models": {"m": {
    "max_output": 100,
    "rows": [{"input": "1", "cache_read": "0.1", "output": "2"}, {"above": 1000, "input": "2", "output": "4"}],
    "tiers": {
        "batch": [{"input": "0.5", "output": "1"}, {"above": 1000, "input": "1", "output": "2"}],
        "flex": [{"input": "0.5", "output": "1"}],
        "priority": [{"input": "3", "output": "6"}, {"above": 1000, "input": "6", "output": "12"}],
        "turbo": [{"input": "0.1", "output": "0.1"}, {"above": 1000, "input": "0.1", "output": "0.1"}]
    },
    "surcharges": {"us": 1100, "fast": 2000}}}}"#;

fn table() -> PriceTable {
    PriceTable::from_json(TABLE).unwrap()
}

fn cost(tier: ServiceTier, input: u64) -> Option<i64> {
    table().cost_with("m", &Usage::new(input, 10), &tier.into()).ok().map(Usd::nanos)
}

#[test]
fn price_tier_has_its_own_rows() {
    assert_eq!(cost(ServiceTier::Standard, 1_000), Some(1_000 * 1_000 + 10 * 2_000));
    assert_eq!(cost(ServiceTier::Batch, 1_000), Some(1_000 * 500 + 10 * 1_000));
    assert_eq!(cost(ServiceTier::Batch, 1_001), Some(1_001 * 1_000 + 10 * 2_000));
    assert_eq!(cost(ServiceTier::Priority, 1_001), Some(1_001 * 6_000 + 10 * 12_000));
    assert_eq!(cost(ServiceTier::named("turbo"), 1_000), Some(1_000 * 100 + 10 * 100));
}

#[test]
fn price_unlisted_tier_is_unknown() {
    assert_eq!(cost(ServiceTier::named("scale"), 1), None);
    assert!(table().cost_with("other", &Usage::new(1, 1), &PriceOptions::new()).is_err());
    assert!(table().bill("m", &Usage::new(1, 1), &ServiceTier::named("scale").into()).is_err());
}

#[test]
fn price_tier_beyond_rows_is_unknown() {
    assert_eq!(cost(ServiceTier::Flex, 1_000), Some(1_000 * 500 + 10 * 1_000));
    assert_eq!(cost(ServiceTier::Flex, 1_001), None);
}

#[test]
fn service_tier_is_read_in_any_case() {
    for word in ["standard", "default", "auto", "standard_only", "on_demand", "", "STANDARD"] {
        assert_eq!(ServiceTier::named(word), ServiceTier::Standard, "{word}");
    }
    assert_eq!(ServiceTier::named("Flex"), ServiceTier::Flex);
    assert_eq!(ServiceTier::named("batch"), ServiceTier::Batch);
    assert_eq!(ServiceTier::named("priority"), ServiceTier::Priority);
    assert_eq!(ServiceTier::named("Scale"), ServiceTier::Other("scale".into()));
}

#[test]
fn price_factor_is_rounded_once() {
    let options = PriceOptions::new().per_mille(1_100);
    let usage = Usage { cache_read: 3, ..Usage::new(4, 1) };
    // (1 × 1,000 + 3 × 100 + 1 × 2,000) × 1.1
    assert_eq!(table().cost_with("m", &usage, &options).unwrap().nanos(), 3_630);
    let odd = Price { input: Rate::from_nanos(1), ..Price::default() };
    let table = PriceTable::new("").with("odd", ModelPrice::flat(odd)).unwrap();
    assert_eq!(table.cost_with("odd", &Usage::new(1_000_000, 0), &options).unwrap().nanos(), 2, "1.1 nano-dollars");
}

#[test]
fn bill_has_line_per_surcharge() {
    let usage = Usage { cache_read: 3, ..Usage::new(4, 1) };
    let options = PriceOptions::from(ServiceTier::Standard).surcharge("us").surcharge("fast").surcharge("us");
    // (1 × 1,000 + 3 × 100 + 1 × 2,000) × 1.1 × 2
    assert_eq!(table().cost_with("m", &usage, &options).unwrap().nanos(), 7_260);
    let bill = table().bill("m", &usage, &options).unwrap();
    let stated: Vec<_> = bill.surcharges.iter().map(|line| (&*line.way, line.per_mille, line.amount.nanos())).collect();
    assert_eq!(stated, [("us", 1_100, 330), ("fast", 2_000, 3_630)]);
    assert_eq!(bill.lines.iter().map(|line| line.amount.nanos()).collect::<Vec<_>>(), [1_000, 300, 2_000]);
    assert!(bill.to_string().contains("\n  us                      all × 1.100  $0.00000033\n"), "{bill}");
    let estimate = Estimate { input_bound: Some(4), output_bound: Some(1), ..Estimate::default() };
    assert_eq!(table().bound_with("m", &estimate, &options).unwrap().nanos(), (4 * 1_000 + 2_000) * 22 / 10);
}

#[test]
fn price_unlisted_surcharge_is_unknown() {
    let options = PriceOptions::new().surcharge("eu");
    let unknown = UnknownCost::Surcharge { model: "m".into(), way: "eu".into() };
    assert_eq!(table().cost_with("m", &Usage::new(1, 1), &options), Err(unknown.clone()));
    assert_eq!(table().bill("m", &Usage::new(1, 1), &options), Err(unknown.clone()));
    let estimate = Estimate { input_bound: Some(1), output_bound: Some(1), ..Estimate::default() };
    assert_eq!(table().bound_with("m", &estimate, &options), Err(unknown));
}

#[test]
fn bill_names_unpriced_kinds() {
    let usage = Usage { searches: 3, image_output: 4, ..Usage::new(10, 10) };
    let unknown = UnknownCost::Kind { model: "m".into(), kind: TokenKind::ImageOutput };
    assert_eq!(table().cost("m", &usage), Err(unknown), "never as if it were free");
    let bill = table().bill("m", &usage, &PriceOptions::new()).unwrap();
    assert_eq!(bill.unpriced, [(TokenKind::ImageOutput, 4), (TokenKind::Search, 3)]);
    assert_eq!(bill.total.nanos(), 10 * 1_000 + 6 * 2_000, "what has a price");
    let text = bill.to_string();
    assert!(text.contains("\n  searches                  3 without a known price\n"), "{text}");
    assert!(text.ends_with("\n  total, at least  $0.000022"), "{text}");
    let priced = table()
        .with("m", ModelPrice::flat(Price { search: Some(Rate::from_nanos(10_000_000_000_000)), ..Price::default() }));
    let found = Usage { searches: 3, ..Usage::default() };
    assert_eq!(priced.unwrap().cost("m", &found).unwrap().to_string(), "$0.03", "$10 for a thousand");
}

#[test]
fn price_bound_is_of_dearer_tier() {
    let estimate = Estimate { input_bound: Some(1_000), output_bound: Some(10), ..Estimate::default() };
    let bound = |tier: &str, most| {
        let estimate = Estimate { input_bound: Some(most), ..estimate };
        table().bound_with("m", &estimate, &ServiceTier::named(tier).into()).ok().map(Usd::nanos)
    };
    let standard = Some(1_000 * 1_000 + 10 * 2_000);
    assert_eq!(table().bound("m", &estimate).ok().map(Usd::nanos), standard);
    assert_eq!(bound("turbo", 1_000), standard);
    assert_eq!(bound("flex", 1_000), standard);
    assert_eq!(bound("priority", 1_000), Some(1_000 * 3_000 + 10 * 6_000));
    assert_eq!(bound("batch", 1_000), Some(1_000 * 500 + 10 * 1_000));
    assert_eq!(bound("flex", 1_001), None, "it has no price for so long a prompt");
    assert_eq!(bound("scale", 1), None);
}

#[test]
fn bill_prints_its_lines() {
    let usage = Usage { cache_read: 600, ..Usage::new(1_000, 10) };
    let bill = table().bill("m-2026-02-03", &usage, &PriceOptions::new().per_mille(1_100)).unwrap();
    assert_eq!(bill.total.nanos(), (400 * 1_000 + 600 * 100 + 10 * 2_000) * 11 / 10);
    let lines: Vec<_> = bill.lines.iter().map(|line| (line.kind, line.tokens, line.amount.nanos())).collect();
    assert_eq!(
        lines,
        [(TokenKind::Input, 400, 440_000), (TokenKind::CacheRead, 600, 66_000), (TokenKind::Output, 10, 22_000)]
    );
    let text = "\
m-2026-02-03, standard service, prices of 2026-01-02, times 1.100
  input                   400 × $1.00 per million tokens  $0.00044
  cache read              600 × $0.10 per million tokens  $0.000066
  output                   10 × $2.00 per million tokens  $0.000022
  total            $0.000528";
    assert_eq!(bill.to_string(), text);
    let long = table().bill("m", &Usage::new(1_001, 0), &ServiceTier::Batch.into()).unwrap();
    assert!(long.to_string().starts_with("m, batch service, prices of 2026-01-02 for prompts above 1000 tokens\n"));
}

#[test]
fn price_table_error_names_model_and_field() {
    let with = |model: &str| format!(r#"{{"as_of": "", "models": {{"ok": {{"rows": []}}, "m": {model}}}}}"#);
    let row = |row: &str| with(&format!(r#"{{"rows": [{{"input": "1", "output": "1"}}, {row}]}}"#));
    let batch =
        |row: &str| with(&format!(r#"{{"rows": [{{"input": "1", "output": "1"}}], "tiers": {{"batch": [{row}]}}}}"#));
    for (json, said) in [
        (row(r#"{"above": 5, "input": "1", "cache_read": "-1", "output": "1"}"#), "rows[1].cache_read of \"m\""),
        (row(r#"{"above": 5, "input": "1", "output": 2.5}"#), "rows[1].output of \"m\""),
        (row(r#"{"above": -5, "input": "1", "output": "1"}"#), "rows[1] of \"m\""),
        (row(r#"{"above": 5, "input": "1"}"#), "missing field `output`"),
        (batch(r#"{"input": "1.0000000001", "output": "1"}"#), "tiers.batch[0].input of \"m\""),
        (batch(r#"{"input": "1", "audio": "1", "output": "1"}"#), "unknown field `audio`"),
        (batch(r#"{"above": 7, "input": "1", "output": "1"}"#), "\"m\" for batch service must start at 0"),
        (batch(r#"{"input": "1", "output": "1.1"}"#), "output of \"m\" costs more in a batch"),
        (with(r#"{"rows": [], "tiers": {"default": []}}"#), "belong in `rows`"),
        (with(r#"{"rows": [], "tiers": {"flex": [], "Flex": []}}"#), "flex is listed twice"),
        (row(r#"{"above": 5, "input": "1000000.01", "output": "1"}"#), "for standard service is more than $1 a token"),
        (batch(r#"{"input": "1", "output": "1", "search": "99999999"}"#), "for batch service is more than $1 a token"),
        (row(r#"{"above": 5, "input": "1", "image_output": "-1", "output": "1"}"#), "rows[1].image_output of \"m\""),
        (with(r#"{"rows": [], "surcharges": {"us": 900}}"#), "surcharge \"us\" of \"m\" must be from 1000"),
        (with(r#"{"rows": [], "surcharges": {"us": 100001}}"#), "surcharge \"us\" of \"m\" must be from 1000"),
        (with(r#"{"rows": [], "surcharges": {"us": -1}}"#), "the entry of \"m\""),
        (with(r#"{"rows": [], "surcharges": {"us": 1100, "us": 1000}}"#), "us is listed twice"),
        (with(r#"{"rows": [], "prices": []}"#), "the entry of \"m\""),
        (with(r#"{"rows": []}, "m": {"rows": []}"#), "m is listed twice"),
        ("{".to_owned(), "cannot be read: EOF"),
    ] {
        let error = PriceTable::from_json(&json).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
    let dear = ModelPrice { tiers: [(ServiceTier::Standard, vec![])].into(), ..ModelPrice::default() };
    assert!(matches!(PriceTable::new("").with("m", dear), Err(PriceTableError::StandardTier { .. })));
}

#[test]
fn model_price_json_round_trip_is_equal() {
    let table = table();
    let json = serde_json::to_string(table.model("m").unwrap()).unwrap();
    assert_eq!(serde_json::from_str::<ModelPrice>(&json).unwrap(), *table.model("m").unwrap());
}

#[test]
fn price_model_name_ignores_date() {
    let known = |name| table().model(name).is_some();
    assert!(known("m-2026-02-03") && known("m-20260203"));
    assert!(!known("m-2026023") && !known("m-202602030") && !known("m-2026x203") && !known("-20260203"));
}

#[test]
fn prices_replace_reaches_all_clones() {
    let prices = Prices::from(table());
    let (shared, taken) = (prices.clone(), prices.current());
    assert_eq!(prices.replace(PriceTable::new("2027-01-01")).as_of(), "2026-01-02");
    assert_eq!((shared.current().as_of(), taken.as_of()), ("2027-01-01", "2026-01-02"));
}

proptest! {
    #[test]
    fn bill_lines_add_up_to_total(
        rates in prop::array::uniform10(0u64..3_000_000), parts in prop::array::uniform7(0u64..2_000), per_mille in 1u32..3_000,
        ways in prop::collection::vec(1_000u32..7_000, 0..3),
    ) {
        let [input, read, write, long, audio, audio_read, output, spoken, drawn, search] = rates.map(Rate::from_nanos);
        let price = Price {
            input, output, cache_read: Some(read), cache_write: Some(write), cache_write_long: Some(long),
            audio_input: Some(audio), audio_cache_read: Some(audio_read), audio_output: Some(spoken),
            image_output: Some(drawn), search: Some(search), search_per_request: false,
        };
        let [plain, cache_read, cache_write, cache_write_long, audio_input, output, searches] = parts;
        let usage = Usage {
            cache_read, cache_write, cache_write_long, audio_input, audio_output: output / 2, image_output: output / 3, searches,
            audio_cache_read: audio_input / 2,
            ..Usage::new(plain + cache_read + cache_write + cache_write_long, output)
        };
        let mut model = ModelPrice::flat(price);
        model.surcharges = ways.iter().zip('a'..).map(|(factor, name)| (name.to_string(), *factor)).collect();
        let options = PriceOptions::new().per_mille(per_mille);
        let options = model.surcharges.keys().fold(options, |options, way| options.surcharge(way.as_str()));
        let table = PriceTable::new("").with("m", model).unwrap();
        let bill = table.bill("m", &usage, &options).unwrap();
        let extra: Usd = bill.surcharges.iter().map(|line| line.amount).sum();
        prop_assert!(bill.surcharges.iter().all(|line| line.amount >= Usd::ZERO));
        prop_assert_eq!(bill.lines.iter().map(|line| line.amount).sum::<Usd>() + extra, bill.total);
        prop_assert_eq!(Ok(bill.total), table.cost_with("m", &usage, &options));
        for line in &bill.lines {
            let exact = u128::from(line.tokens) * u128::from(line.rate.nanos()) * u128::from(per_mille);
            let stated = u128::try_from(line.amount.nanos()).unwrap() * 1_000_000_000;
            prop_assert!(stated.abs_diff(exact) < 1_000_000_000, "{} for {}", stated, exact);
        }
    }
}
