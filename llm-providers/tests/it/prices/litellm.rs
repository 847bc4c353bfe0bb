//! Tests of the table that LiteLLM publishes: each kind of row computed by hand, malformed rows, and the whole table if
//! `LLM_PRICES` names its file.

use std::{fs::File, path::PathBuf};

use llm_core::{
    Usage, Usd,
    price::{PriceOptions, ServiceTier},
};
use llm_providers::prices::{self, LiteLlmTable, litellm};
use serde_json::{Value, json};

const DAY: &str = "2026-11-21";

fn read(rows: &Value) -> LiteLlmTable {
    litellm(rows.to_string().as_bytes(), DAY).unwrap()
}

/// Returns a table with one row of OpenAI's that has prices of $2 and $8, and these fields.
fn row(fields: Value) -> LiteLlmTable {
    let mut row = json!({"litellm_provider": "openai", "mode": "chat",
        "input_cost_per_token": 2e-06, "output_cost_per_token": 8e-06});
    let Value::Object(fields) = fields else { panic!("an object") };
    row.as_object_mut().unwrap().extend(fields);
    read(&json!({"m": row}))
}

fn cost(table: &LiteLlmTable, usage: Usage, options: &PriceOptions) -> Option<i64> {
    table.provider("openai").cost_with("m", &usage, options).ok().map(Usd::nanos)
}

fn standard(table: &LiteLlmTable, usage: Usage) -> Option<i64> {
    cost(table, usage, &PriceOptions::new())
}

#[test]
fn litellm_prices_each_kind_of_token() {
    let table = row(json!({"cache_read_input_token_cost": 5e-07, "cache_creation_input_token_cost": 2.5e-06,
        "cache_creation_input_token_cost_above_1hr": 4e-06, "input_cost_per_audio_token": 3e-05,
        "output_cost_per_audio_token": 6e-05, "output_cost_per_image_token": 3e-05,
        "output_cost_per_reasoning_token": 8e-06, "input_cost_per_image_token": 2e-06}));
    assert_eq!(table.omissions(), []);
    let usage = Usage { cache_read: 100, cache_write: 10, cache_write_long: 1, ..Usage::new(1_000, 50) };
    assert_eq!(standard(&table, usage), Some(889 * 2_000 + 100 * 500 + 10 * 2_500 + 4_000 + 50 * 8_000));
    let usage = Usage { audio_input: 10, audio_output: 5, image_output: 3, ..Usage::new(20, 10) };
    assert_eq!(standard(&table, usage), Some(10 * 2_000 + 10 * 30_000 + 2 * 8_000 + 5 * 60_000 + 3 * 30_000));
}

#[test]
fn litellm_prices_classes_and_long_prompts() {
    let table = row(json!({"input_cost_per_token_batches": 1e-06, "output_cost_per_token_batches": 4e-06,
        "input_cost_per_token_above_200k_tokens": 4e-06, "output_cost_per_token_above_200k_tokens": 1.2e-05,
        "input_cost_per_token_above_200k_tokens_batches": 2e-06, "output_cost_per_token_above_200k_tokens_batches": 6e-06,
        "input_cost_per_token_flex": 1.5e-06, "output_cost_per_token_flex": 6e-06}));
    assert_eq!(standard(&table, Usage::new(200_000, 1)), Some(200_000 * 2_000 + 8_000));
    assert_eq!(standard(&table, Usage::new(200_001, 1)), Some(200_001 * 4_000 + 12_000));
    assert_eq!(cost(&table, Usage::new(200_001, 1), &ServiceTier::Batch.into()), Some(200_001 * 2_000 + 6_000));
    assert_eq!(cost(&table, Usage::new(10, 1), &ServiceTier::Flex.into()), Some(10 * 1_500 + 6_000));
    assert_eq!(cost(&table, Usage::new(200_001, 1), &ServiceTier::Flex.into()), None, "no price of long prompts");
    assert_eq!(cost(&table, Usage::new(10, 1), &ServiceTier::Priority.into()), None);
}

#[test]
fn litellm_prices_searches_and_surcharges() {
    let same =
        json!({"search_context_size_low": 0.01, "search_context_size_medium": 0.01, "search_context_size_high": 0.01});
    let table = row(json!({"search_context_cost_per_query": same, "provider_specific_entry": {"us": 1.1},
        "regional_processing_uplift_multiplier_eu": 1.1, "regional_processing_uplift_multiplier_us": 1.1}));
    let searched = Usage { searches: 3, ..Usage::new(10, 0) };
    assert_eq!(standard(&table, searched), Some(10 * 2_000 + 3 * 10_000_000));
    for way in ["us", "regional"] {
        assert_eq!(cost(&table, Usage::new(10, 0), &PriceOptions::new().surcharge(way)), Some(22_000), "{way}");
    }
    let table = row(
        json!({"search_context_cost_per_query": {"search_context_size_low": 0.01, "search_context_size_high": 0.02}}),
    );
    assert_eq!(standard(&table, searched), None, "which size a search had is not known");
    assert_eq!(table.omissions()[0].field.as_deref(), Some("search_context_cost_per_query"));
}

#[test]
fn litellm_names_models_without_provider() {
    let rows = json!({
        "xai/grok": {"litellm_provider": "xai", "input_cost_per_token": 1e-06, "output_cost_per_token": 2e-06},
        "azure/eu/gpt": {"litellm_provider": "azure", "input_cost_per_token": 3e-06, "output_cost_per_token": 2e-06},
        "azure/gpt": {"litellm_provider": "azure", "input_cost_per_token": 2e-06, "output_cost_per_token": 2e-06},
        "gpt": {"litellm_provider": "openai", "input_cost_per_token": 1e-06, "output_cost_per_token": 2e-06},
        "grok": {"litellm_provider": "xai", "input_cost_per_token": 9e-06, "output_cost_per_token": 2e-06},
    });
    let table = read(&rows);
    assert_eq!(table.providers().collect::<Vec<_>>(), ["azure", "openai", "xai"]);
    let input = |provider: &str, model: &str| {
        let options = PriceOptions::new().provider(provider);
        table.all().cost_with(model, &Usage::new(1, 0), &options).ok().map(Usd::nanos)
    };
    assert_eq!(
        (input("azure", "gpt"), input("azure", "eu/gpt"), input("openai", "gpt")),
        (Some(2_000), Some(3_000), Some(1_000))
    );
    assert_eq!((input("xai", "grok"), input("openai", "grok"), input("mistral", "gpt")), (Some(1_000), None, None));
    let texts: Vec<_> = table.omissions().iter().map(ToString::to_string).collect();
    assert_eq!(texts, [r#""grok" differs from xai/grok, which counts"#]);
    assert_eq!((table.all().as_of(), table.provider("none").models().count()), (DAY, 0));
}

#[test]
fn litellm_names_what_it_cannot_represent() {
    for (fields, word) in [
        (json!({"output_cost_per_reasoning_token": 3e-06}), "reasoning"),
        (json!({"input_cost_per_image_token": 3e-06}), "images"),
        (json!({"input_cost_per_token_cache_hit": 1e-06, "cache_read_input_token_cost": 5e-07}), "two prices"),
        (json!({"input_cost_per_request": 0.005}), "input_cost_per_request"),
        (json!({"citation_cost_per_token": 2e-06}), "citation_cost_per_token"),
        (json!({"input_cost_per_token": 0.0}), "input tokens"),
        (json!({"output_cost_per_token": 0}), "output tokens"),
        (json!({"input_cost_per_token": "2e-06"}), "no price"),
        (json!({"input_cost_per_token": -2e-06}), "no price"),
        (json!({"output_cost_per_token": null}), "no price"),
        (json!({"input_cost_per_token": 2.0, "output_cost_per_token": 2.0}), "more than $1 a token"),
        (json!({"input_cost_per_token_above_128k_tokens": 4e-06}), "output tokens"),
        (json!({"litellm_provider": null}), "no provider"),
    ] {
        let table = row(fields.clone());
        let omission = &table.omissions()[0];
        assert!(omission.reason.contains(word) && standard(&table, Usage::new(1, 1)).is_none(), "{fields}: {omission}");
        assert_eq!(
            (omission.row.as_str(), table.omissions().last().unwrap().field.as_deref()),
            ("m", None),
            "{omission}"
        );
    }
    for (fields, field) in [
        (json!({"code_interpreter_cost_per_session": 0.03}), "code_interpreter_cost_per_session"),
        (json!({"cache_read_input_token_cost": 0.0}), "cache_read_input_token_cost"),
        (json!({"input_cost_per_token_flex": 1e-06}), "service class flex"),
        (
            json!({"regional_processing_uplift_multiplier_eu": 1.1, "regional_processing_uplift_multiplier_us": 1.2}),
            "regional",
        ),
        (json!({"off_peak_pricing": {"input_cost_per_token": 1e-06}}), "off_peak_pricing"),
        (
            json!({"web_search_billing_unit": "per_moon", "search_context_cost_per_query": {"a": 0.01}}),
            "search_context",
        ),
    ] {
        let table = row(fields.clone());
        let omission = &table.omissions()[0];
        assert!(omission.field.as_deref().unwrap().starts_with(field), "{fields}: {omission}");
        assert_eq!(standard(&table, Usage::new(1, 1)), Some(10_000), "the rest of the row counts: {fields}");
    }
}

#[test]
fn litellm_unreadable_row_leaves_others() {
    let rows = json!({"a": 5, "b": {}, "m": {"litellm_provider": "openai", "input_cost_per_token": 1e-06,
        "output_cost_per_token": 1e-06}});
    let table = read(&rows);
    assert_eq!(standard(&table, Usage::new(1, 1)), Some(2_000));
    assert_eq!(table.omissions().iter().map(|omission| omission.row.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    for text in ["", "[]", "{\"a\": {", "<html>"] {
        assert!(litellm(text.as_bytes(), DAY).is_err(), "{text}");
    }
}

#[expect(clippy::disallowed_methods, reason = "a test's edge")]
fn place() -> Option<PathBuf> {
    std::env::var_os("LLM_PRICES").filter(|place| !place.is_empty()).map(PathBuf::from)
}

#[test]
fn litellm_subset_takes_or_names_each_row() {
    let Some(place) = place() else {
        println!("skipped: LLM_PRICES is not set");
        return;
    };
    let file = place.join("litellm_subset.json");
    let rows: serde_json::Map<String, Value> = serde_json::from_reader(File::open(&file).unwrap()).unwrap();
    let table = litellm(File::open(&file).unwrap(), DAY).unwrap();
    let mut taken = 0;
    for (name, row) in &rows {
        let provider = row["litellm_provider"].as_str().unwrap();
        let model = name.strip_prefix(&format!("{provider}/")).unwrap_or(name);
        let omission = table.omissions().iter().find(|omission| omission.row == *name && omission.field.is_none());
        let price = table.provider(provider);
        let is_taken = price.models().any(|listed| listed == model);
        assert!(is_taken || omission.is_some(), "{name} is neither taken nor named");
        if omission.is_none() {
            let usage = Usage::new(1_000_000, 1_000_000);
            assert!(price.cost(model, &usage).is_ok(), "{name}");
            taken += 1;
        }
    }
    for omission in table.omissions().iter().filter(|omission| omission.field.is_none()) {
        println!("{omission}");
    }
    println!("{taken} of {} rows taken", rows.len());
    assert!(taken * 10 > rows.len() * 9, "{taken} of {}", rows.len());
    // The tables of this crate have the same date.
    let own = [
        ("openai", prices::openai()),
        ("anthropic", prices::anthropic()),
        ("gemini", prices::gemini()),
        ("mistral", prices::mistral()),
        ("deepseek", prices::deepseek()),
        ("groq", prices::groq()),
        ("xai", prices::xai()),
    ];
    for (provider, own) in own {
        let listed = table.provider(provider);
        let both = own.models().filter_map(|model| Some((model, own.model(model)?, listed.model(model)?)));
        for (model, own, listed) in both {
            assert_eq!(own.rows, listed.rows, "{provider}/{model}");
        }
    }
}
