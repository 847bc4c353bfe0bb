use llm_core::{ChatRequest, chat::Sampling, layer::Fingerprinter};
use proptest::prelude::*;
use serde_json::Value;

use super::{assert_all_differ, of, written};

/// JSON texts that would all be sent differently.
const TEXTS: [&str; 24] = [
    "0",
    "0.0",
    "-0.0",
    "1",
    "1.0",
    "-1",
    "9007199254740992",
    "9007199254740993",
    "9007199254740992.0",
    "-9007199254740993",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "-9223372036854775808",
    "0.3",
    "0.30000000000000004",
    "0.1",
    "5e-324",
    "\"1\"",
    "true",
    "null",
    "[]",
    "[1]",
    "{}",
];

#[test]
fn fingerprint_numbers_compare_by_json_text() {
    let in_extra = TEXTS.map(|text| {
        let value: Value = serde_json::from_str(text).unwrap();
        (text, of(&ChatRequest::new("m").user("x").extra("field", value)))
    });
    assert_all_differ(&in_extra);
}

#[test]
fn fingerprint_schema_numbers_compare_by_json_text() {
    let in_schema = TEXTS.map(|text| {
        let schema: Value =
            serde_json::from_str(&format!(r#"{{"properties": {{"a": {{"const": {text}}}}}}}"#)).unwrap();
        (text, of(&ChatRequest::new("m").response_format(llm_core::chat::ResponseFormat::json_schema("s", schema))))
    });
    assert_all_differ(&in_schema);
}

#[test]
fn fingerprint_large_seeds_differ() {
    let seeds = [1i64 << 53, (1 << 53) + 1, -(1 << 53), i64::MAX, i64::MIN, 0];
    let names = ["2^53", "2^53 + 1", "-2^53", "the largest", "the smallest", "0"];
    let encoded: Vec<_> = std::iter::zip(names, seeds)
        .map(|(name, seed)| {
            (name, of(&ChatRequest::new("m").sampling(Sampling { seed: Some(seed), ..Sampling::default() })))
        })
        .collect();
    assert_all_differ(&encoded);
}

#[test]
fn fingerprint_floats_differ_as_texts() {
    let floats = [0.0, -0.0, 1.0, 0.1 + 0.2, 0.3, 0.1, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MIN_POSITIVE];
    let names = floats.map(|float| format!("{float:?}"));
    let encoded: Vec<_> =
        std::iter::zip(&names, floats).map(|(name, x)| (name.as_str(), written(|h| h.float(x)))).collect();
    assert_all_differ(&encoded);
}

#[test]
fn fingerprint_integer_of_any_width_is_equal() {
    let one = written(|h| h.integer(1u8));
    assert_eq!(one, written(|h| h.integer(1i64)));
    assert_eq!(one, written(|h| h.json(&Value::from(1u64))));
    assert_eq!(one, written(|h| h.serialize(&1i16).unwrap()));
    assert_eq!(one, written(|h| h.serialize(&1u128).unwrap()));
}

proptest! {
    #[test]
    fn fingerprint_integer_keeps_all_digits(a in any::<u64>(), b in any::<u64>()) {
        let json = |value: u64| written(|h| h.json(&Value::from(value)));
        prop_assert_eq!(json(a) == json(b), a == b);
    }

    #[test]
    fn fingerprint_float_is_json_text(x in any::<f64>().prop_filter("finite", |x| x.is_finite()), y in any::<f64>()) {
        let float = |x: f64| written(|h: &mut Fingerprinter| h.float(x));
        prop_assert_eq!(float(x), written(|h| h.json(&Value::from(x))));
        let same = serde_json::to_string(&x).unwrap() == serde_json::to_string(&y).unwrap();
        prop_assert_eq!(float(x) == float(y), same);
    }
}
