//! Tests with one example for each kind of price rule, in nano-dollars. A price of $1 per million tokens is 1,000
//! nano-dollars for each token.

use llm_core::{
    Usage, Usd,
    price::{PriceOptions, PriceTable, ServiceTier, TokenKind},
};
use llm_providers::prices::{self, all};

fn at(tier: &str, model: &str, usage: Usage) -> Option<i64> {
    all().cost_with(model, &usage, &ServiceTier::named(tier).into()).ok().map(Usd::nanos)
}

fn standard(model: &str, usage: Usage) -> Option<i64> {
    all().cost(model, &usage).ok().map(Usd::nanos)
}

#[test]
fn price_of_plain_tokens() {
    assert_eq!(standard("gpt-4o-mini", Usage::new(1_000, 100)), Some(1_000 * 150 + 100 * 600));
    assert_eq!(standard("claude-sonnet-4-5", Usage::new(1_000, 100)), Some(1_000 * 3_000 + 100 * 15_000));
    assert_eq!(standard("gemini-3.8-flash", Usage::new(1_000, 100)), Some(1_000 * 750 + 100 * 3_750));
    assert_eq!(standard("mistral-small-latest", Usage::new(1_000, 100)), Some(1_000 * 150 + 100 * 600));
    assert_eq!(standard("deepseek-v4-pro", Usage::new(1_000, 100)), Some(1_000 * 1_320 + 100 * 3_960));
    assert_eq!(standard("openai/gpt-oss-20b", Usage::new(1_000, 100)), Some(1_000 * 75 + 100 * 300));
}

#[test]
fn price_of_embeddings() {
    assert_eq!(standard("text-embedding-3-small", Usage::new(50, 0)), Some(50 * 20));
    assert_eq!(standard("gemini-embedding-001", Usage::new(50, 0)), Some(50 * 150));
    assert_eq!(at("batch", "gemini-embedding-001", Usage::new(50, 0)), Some(50 * 75));
    assert_eq!(standard("mistral-embed", Usage::new(50, 0)), Some(50 * 100));
}

#[test]
fn cached_read_is_part_of_input() {
    let usage = Usage { cache_read: 600, ..Usage::new(1_000, 10) };
    assert_eq!(standard("gpt-4o-2024-08-06", usage), Some(400 * 2_500 + 600 * 1_250 + 10 * 10_000));
    assert_eq!(standard("claude-opus-5-5", usage), Some(400 * 4_000 + 600 * 200 + 10 * 20_000));
    assert_eq!(standard("deepseek-chat", usage), Some(400 * 280 + 600 * 28 + 10 * 420));
}

#[test]
fn reasoning_is_part_of_output() {
    let usage = Usage { reasoning: 90, ..Usage::new(10, 100) };
    assert_eq!(standard("gemini-2.5-flash", usage), Some(10 * 300 + 100 * 2_500));
}

#[test]
fn cache_write_costs_more_for_hour() {
    let short = Usage { cache_write: 100, ..Usage::new(100, 0) };
    let long = Usage { cache_write_long: 100, ..Usage::new(100, 0) };
    assert_eq!(standard("claude-sonnet-4-5", short), Some(100 * 3_750));
    assert_eq!(standard("claude-sonnet-4-5", long), Some(100 * 6_000));
    let both = Usage { cache_read: 2, cache_write: 3, cache_write_long: 4, ..Usage::new(10, 0) };
    assert_eq!(standard("gpt-6-luna", both), Some(100 + 2 * 10 + 3 * 125 + 4 * 250));
}

#[test]
fn cache_write_without_price_is_input() {
    let written = Usage { cache_write: 100, ..Usage::new(100, 0) };
    assert_eq!(standard("deepseek-chat", written), Some(100 * 280));
}

#[test]
fn price_of_long_prompt_covers_whole_request() {
    assert_eq!(standard("gpt-5.4", Usage::new(272_000, 1)), Some(272_000 * 2_500 + 15_000));
    assert_eq!(standard("gpt-5.4", Usage::new(272_001, 1)), Some(272_001 * 5_000 + 22_500));
    assert_eq!(standard("gemini-2.5-pro", Usage::new(200_000, 1)), Some(200_000 * 1_250 + 10_000));
    assert_eq!(standard("gemini-2.5-pro", Usage::new(200_001, 1)), Some(200_001 * 2_500 + 15_000));
    assert_eq!(standard("claude-haiku-5-5", Usage::new(100_000, 1)), Some(100_000 * 100 + 500));
    assert_eq!(standard("claude-haiku-5-5", Usage::new(100_001, 1)), Some(100_001 * 500 + 2_500));
}

#[test]
fn long_prompt_length_includes_cached_tokens() {
    let usage = Usage { cache_read: 200_000, ..Usage::new(200_001, 0) };
    assert_eq!(standard("gemini-3.1-pro-preview", usage), Some(4_000 + 200_000 * 400));
}

#[test]
fn batch_halves_price() {
    assert_eq!(at("batch", "gpt-5", Usage::new(1_000, 100)), Some(1_000 * 625 + 100 * 5_000));
    assert_eq!(at("batch", "claude-haiku-4-5", Usage::new(1_000, 100)), Some(1_000 * 500 + 100 * 2_500));
    assert_eq!(at("batch", "claude-haiku-5-5", Usage::new(100_001, 0)), Some(100_001 * 250));
}

#[test]
fn batch_halves_cache_writes_of_both_lifetimes() {
    let usage = Usage { cache_write: 100, cache_write_long: 10, ..Usage::new(110, 0) };
    assert_eq!(at("batch", "claude-opus-5", usage), Some(100 * 3_125 + 10 * 5_000));
}

#[test]
fn batch_cached_read_price_depends_on_vendor() {
    let usage = Usage { cache_read: 900, ..Usage::new(1_000, 0) };
    assert_eq!(at("batch", "claude-sonnet-5", usage), Some(100 * 1_000 + 900 * 100), "half of 200");
    assert_eq!(at("batch", "gemini-3.1-flash-lite", usage), Some(100 * 125 + 9 * 1_250), "half of 25");
    assert_eq!(at("batch", "gemini-2.5-flash", usage), Some(100 * 150 + 900 * 30), "as at standard service");
    assert_eq!(at("batch", "gpt-4.1", usage), Some(100 * 1_000 + 900 * 500), "as at standard service");
}

#[test]
fn tier_flex_has_own_price() {
    let usage = Usage { cache_read: 400, ..Usage::new(1_000, 100) };
    assert_eq!(at("flex", "o4-mini", usage), Some(600 * 550 + 400 * 138 + 100 * 2_200));
    assert_eq!(at("flex", "gemini-3.5-flash", usage), Some(600 * 750 + 400 * 80 + 100 * 4_500));
}

#[test]
fn tier_priority_has_own_price() {
    let usage = Usage { cache_read: 400, ..Usage::new(1_000, 100) };
    assert_eq!(at("priority", "gpt-4o-mini", usage), Some(600 * 250 + 400 * 125 + 100 * 1_000));
    assert_eq!(at("priority", "gpt-6-sol", Usage::new(272_001, 1)), Some(272_001 * 8_000 + 30_000));
    assert_eq!(at("priority", "gemini-3.8-flash", usage), Some(600 * 1_350 + 400 * 135 + 100 * 6_750));
}

#[test]
fn tier_vendor_name_has_own_price() {
    assert_eq!(at("ultrafast", "gpt-6-astra", Usage::new(1_000, 100)), Some(1_000 * 60_000 + 100 * 300_000));
    assert_eq!(at("decisions", "gpt-6-luna", Usage::new(1_000, 100)), Some(1_000 * 100));
}

#[test]
fn price_of_audio() {
    let usage = Usage { audio_input: 700, ..Usage::new(1_000, 10) };
    assert_eq!(standard("gemini-2.5-flash", usage), Some(300 * 300 + 700 * 1_000 + 10 * 2_500));
    assert_eq!(at("batch", "gemini-2.5-flash", usage), Some(300 * 150 + 700 * 500 + 10 * 1_250));
    assert_eq!(standard("gemini-2.5-pro", usage), Some(1_000 * 1_250 + 10 * 10_000), "no price of its own");
    // 400 tokens were not cached, so at least 300 of the audio tokens were cached.
    let cached = Usage { cache_read: 600, ..usage };
    assert_eq!(standard("gemini-2.5-flash", cached), Some(400 * 1_000 + 300 * 30 + 300 * 100 + 10 * 2_500));
}

#[test]
fn price_of_unknown_model_is_unknown() {
    for model in ["gpt-4o-2024-05-13", "gpt-4o-audio-preview", "claude", "gemini", "gpt-oss-20b", ""] {
        assert_eq!(standard(model, Usage::new(1, 1)), None, "{model}");
    }
    assert!(prices::openai().cost("claude-opus-5", &Usage::new(1, 1)).is_err(), "another vendor's");
}

#[test]
fn price_of_unknown_tier_is_unknown() {
    for (tier, model) in [("scale", "gpt-5"), ("priority", "claude-opus-5"), ("batch", "deepseek-chat")] {
        assert_eq!(at(tier, model, Usage::new(1, 1)), None, "{tier} {model}");
    }
    for (tier, model, threshold) in
        [("priority", "gpt-5.5", 272_000), ("flex", "gpt-5.5-pro", 272_000), ("flex", "gemini-2.5-pro", 200_000)]
    {
        assert!(at(tier, model, Usage::new(threshold, 0)).is_some(), "{tier} {model}");
        assert_eq!(at(tier, model, Usage::new(threshold + 1, 0)), None, "no price for long prompts: {tier} {model}");
    }
}

#[test]
fn dated_name_has_undated_price() {
    let cost = |model| standard(model, Usage::new(10, 10));
    assert_eq!(cost("claude-opus-4-8-20260601"), cost("claude-opus-4-8"));
    assert_eq!(cost("gpt-4o-mini-2024-07-18"), cost("gpt-4o-mini"));
}

fn with(model: &str, usage: Usage, options: PriceOptions) -> Option<i64> {
    all().cost_with(model, &usage, &options).ok().map(Usd::nanos)
}

#[test]
fn surcharge_of_us_processing_is_tenth() {
    let usage = Usage { cache_read: 400, ..Usage::new(1_000, 100) };
    let list = 600 * 4_000 + 400 * 200 + 100 * 20_000;
    let us = PriceOptions::new().surcharge("us");
    assert_eq!(with("claude-opus-5-5", usage, us.clone()), Some(list / 10 * 11));
    assert_eq!(with("claude-sonnet-4-6", Usage::new(1_000, 0), us.clone()), Some(1_000 * 3_300));
    assert_eq!(with("claude-sonnet-4-5", usage, us), None, "it has no such price");
}

#[test]
fn surcharge_of_fast_mode_multiplies() {
    let list = 1_000 * 4_000 + 100 * 20_000;
    let fast = PriceOptions::new().surcharge("fast");
    assert_eq!(with("claude-opus-5-5", Usage::new(1_000, 100), fast.clone()), Some(list * 2));
    assert_eq!(with("claude-opus-4-8", Usage::new(1_000, 100), fast.clone()), Some(2 * (1_000 * 5_000 + 100 * 25_000)));
    assert_eq!(with("claude-sonnet-5", Usage::new(1_000, 100), fast.clone()), None, "unknown, not the list price");
    let usage = Usage::new(1_000, 100);
    let bill = prices::anthropic().bill("claude-opus-5-5", &usage, &fast.surcharge("us")).unwrap();
    let stated: Vec<_> = bill.surcharges.iter().map(|line| (&*line.way, line.per_mille, line.amount.nanos())).collect();
    assert_eq!(stated, [("fast", 2_000, list), ("us", 1_100, list * 2 / 10)]);
    assert_eq!(bill.total.nanos(), list * 22 / 10);
}

#[test]
fn surcharge_of_regional_processing_is_tenth() {
    let regional = |tier: ServiceTier| PriceOptions::from(tier).surcharge("regional");
    let list = 1_000 * 4_000 + 100 * 20_000;
    assert_eq!(with("gpt-5.6", Usage::new(1_000, 100), regional(ServiceTier::Standard)), Some(list / 10 * 11));
    assert_eq!(with("gpt-5.6", Usage::new(1_000, 100), regional(ServiceTier::Batch)), Some(list / 20 * 11));
    let bill = prices::openai().bill("gpt-5.6", &Usage::new(1_000, 100), &regional(ServiceTier::Standard)).unwrap();
    assert_eq!((&*bill.surcharges[0].way, bill.surcharges[0].amount.nanos()), ("regional", list / 10));
    assert_eq!(with("gpt-5.5", Usage::new(1, 1), regional(ServiceTier::Standard)), None);
}

#[test]
fn price_missing_is_unknown_cost() {
    let usage = Usage { searches: 2, image_output: 3, ..Usage::new(1_000, 100) };
    assert_eq!(standard("gemini-3.8-flash", usage), None);
    let bill = prices::gemini().bill("gemini-3.8-flash", &usage, &PriceOptions::new()).unwrap();
    assert_eq!(bill.unpriced, [(TokenKind::ImageOutput, 3)]);
    assert_eq!(bill.total.nanos(), 1_000 * 750 + 97 * 3_750 + 2 * 14_000_000);
}

#[test]
fn price_of_cached_audio_is_its_own() {
    // 600 of 1,000 tokens were cached, of which 500 were audio. 200 of the other tokens were audio.
    let usage = Usage { cache_read: 600, audio_input: 700, audio_cache_read: 500, ..Usage::new(1_000, 10) };
    let fresh = 200 * 300 + 200 * 1_000;
    let cached = 100 * 30 + 500 * 100;
    assert_eq!(standard("gemini-2.5-flash", usage), Some(fresh + cached + 10 * 2_500));
}

#[test]
fn bill_names_each_price() {
    let usage = Usage { cache_read: 100_000, ..Usage::new(300_000, 1_000) };
    let bill = prices::openai().bill("gpt-6-sol", &usage, &ServiceTier::Batch.into()).unwrap();
    let lines: Vec<_> = bill.lines.iter().map(|l| (l.kind, l.tokens, l.rate.nanos(), l.amount.nanos())).collect();
    assert_eq!(
        lines,
        [
            (TokenKind::Input, 200_000, 2_000_000_000, 400_000_000),
            (TokenKind::CacheRead, 100_000, 200_000_000, 20_000_000),
            (TokenKind::Output, 1_000, 7_500_000_000, 7_500_000),
        ]
    );
    assert_eq!((bill.above, bill.total.to_string().as_str(), bill.as_of.as_str()), (272_000, "$0.4275", "2026-11-21"));
}

#[test]
fn shipped_tables_are_complete() {
    let each: [(PriceTable, usize); 7] = [
        (prices::openai(), 57),
        (prices::anthropic(), 22),
        (prices::gemini(), 17),
        (prices::mistral(), 29),
        (prices::deepseek(), 4),
        (prices::groq(), 3),
        (prices::xai(), 15),
    ];
    for (table, models) in &each {
        assert_eq!((table.models().count(), table.as_of()), (*models, "2026-11-21"));
        assert!(table.source().contains("litellm 1.109.1") && table.source().contains("MIT"));
    }
    assert_eq!(all().models().count(), 147, "no name stands in two tables");
    let all = all();
    let unknown: Vec<&str> = all.models().filter(|model| all.cost(model, &Usage::new(1, 1)).is_err()).collect();
    assert_eq!(unknown, ["gpt-4o-2024-05-13"]);
}

#[test]
fn search_price_follows_model() {
    let search = |model: &str, searches| {
        let usage = Usage { searches, ..Usage::new(0, 0) };
        standard(model, usage).map(|nanos| nanos / 1_000)
    };
    for (model, one, three) in [
        ("claude-opus-5-5", 10_000, 30_000),
        ("gpt-5.5", 10_000, 30_000),
        ("gpt-4.1", 25_000, 75_000),
        ("gpt-4o-mini", 25_000, 75_000),
        ("gemini-3.8-flash", 14_000, 42_000),
        ("gemini-2.5-pro", 35_000, 35_000),
        ("openai/gpt-oss-20b", 5_000, 15_000),
    ] {
        assert_eq!((search(model, 1), search(model, 3)), (Some(one), Some(three)), "{model}");
    }
    assert_eq!(search("mistral-large-2512", 1), None);
    let us = PriceOptions::new().surcharge("us");
    let usage = Usage { searches: 1, ..Usage::new(1_000, 0) };
    assert_eq!(with("claude-opus-5-5", usage, us), Some(1_000 * 4_400 + 10_000_000), "a surcharge is on tokens");
}

#[test]
fn dated_mistral_name_has_its_own_row() {
    let cost = |model: &str| standard(model, Usage::new(1_000, 100));
    assert_eq!(cost("mistral-large-2512"), Some(1_000 * 500 + 100 * 1_500));
    assert_eq!(cost("ministral-3b-2512"), Some(1_000 * 100 + 100 * 100));
    assert_eq!(cost("ministral-8b-2512"), Some(1_000 * 150 + 100 * 150));
    assert_eq!(cost("ministral-14b-2512"), Some(1_000 * 200 + 100 * 200));
    assert_eq!(cost("mistral-large-2411"), None, "another generation");
}

#[test]
fn shipped_rows_are_of_their_provider() {
    let cost = |provider: &str, model: &str| {
        let options = PriceOptions::new().provider(provider);
        all().cost_with(model, &Usage::new(1, 1), &options).is_ok()
    };
    for (provider, model) in [
        ("openai", "gpt-4o"),
        ("anthropic", "claude-opus-5"),
        ("gemini", "gemini-2.5-pro"),
        ("mistral", "mistral-large-latest"),
        ("deepseek", "deepseek-chat"),
        ("groq", "openai/gpt-oss-120b"),
        ("xai", "grok-4.7"),
    ] {
        assert!(cost(provider, model), "{provider}");
        assert!(!cost("openrouter", model) && !cost("azure", model), "{model}");
    }
}
