//! Tests of estimates: they bound the tokens of a request, and the price of an estimate bounds the cost.

use std::sync::Arc;

use llm_core::{
    ChatRequest, Estimate, Message, Operation, Part, Role, Tool, Usage,
    chat::{FunctionTool, JsonSchema, ResponseFormat, Sampling},
    price::{ModelPrice, Price, PriceRow, PriceTable, Rate},
};
use proptest::{collection::vec, prelude::*};
use serde_json::json;

const LONG: usize = 4_000;

#[test]
fn estimate_input_bound_covers_any_text() {
    let long = "x".repeat(LONG);
    let text: Arc<str> = long.as_str().into();
    let mut named = Message::user("x");
    named.name = Some(text.clone());
    let mut with_extra = Message::user("x");
    with_extra.extra.insert("reasoning_content", long.as_str());
    let mut call = llm_core::ToolCall { arguments: text.clone(), ..Default::default() };
    let call_arguments = Part::ToolCall(call.clone());
    call.arguments = "".into();
    call.extra.insert("input", long.as_str());
    let format =
        JsonSchema { name: "s".into(), description: Some(text.clone()), schema: json!({}).into(), strict: None };
    let mut tool = FunctionTool { name: "f".into(), ..FunctionTool::default() };
    tool.extra.insert("examples", json!([long]));
    let base = ChatRequest::new("m");
    let holding = |part| base.clone().message(Message::new(Role::Assistant, vec![part]));
    for (what, request) in [
        ("text", base.clone().user(&*long)),
        ("name", base.clone().message(named)),
        ("message extra", base.clone().message(with_extra)),
        ("arguments", holding(call_arguments)),
        ("call extra", holding(Part::ToolCall(call))),
        ("refusal", holding(Part::Refusal { text: text.clone() })),
        ("tool description", base.clone().tool(Tool::function("f", &*long, json!({})))),
        ("tool parameters", base.clone().tool(Tool::function("f", "", json!({"description": long})))),
        ("tool extra", base.clone().tool(Tool::Function(tool))),
        ("format description", base.clone().response_format(ResponseFormat::JsonSchema(format))),
        ("format schema", base.clone().response_format(ResponseFormat::json_schema("s", json!({"title": long})))),
        ("extra", base.clone().extra("prediction", json!({"content": long}))),
    ] {
        let bound = request.estimate().input_bound.expect("text is bounded");
        assert!(bound >= LONG as u64, "{what}: {bound}");
    }
}

#[test]
fn estimate_of_fetched_input_has_no_bound() {
    let base = ChatRequest::new("m").user("x");
    let image = base.clone().message(Message::new(Role::User, vec![Part::image("image/png", &b"x"[..])]));
    let search = base.clone().tool(Tool::Other(json!({"type": "web_search"}).into()));
    let outside = ChatRequest::OUTSIDE_FIELDS.map(|field| base.clone().extra(field, "x"));
    for request in [image, search].into_iter().chain(outside) {
        assert_eq!(request.estimate().input_bound, None, "{request:?}");
    }
}

#[test]
fn estimate_output_bound_covers_all_choices() {
    let sampling = Sampling { n: Some(3), max_output_tokens: Some(100), ..Sampling::default() };
    let estimate = ChatRequest::new("m").user("x").sampling(sampling).estimate();
    assert_eq!((estimate.output_bound, estimate.output, estimate.choices), (Some(300), 300, 3));
}

fn price() -> impl Strategy<Value = Price> {
    let rate = || (0u64..100_000_000_000).prop_map(Rate::from_nanos);
    let cached = || proptest::option::of(rate());
    (rate(), cached(), cached(), cached(), rate()).prop_map(
        |(input, cache_read, cache_write, cache_write_long, output)| Price {
            input,
            cache_read,
            cache_write,
            cache_write_long,
            output,
            ..Price::default()
        },
    )
}

fn model() -> impl Strategy<Value = ModelPrice> {
    (vec((1u64..2_000, price()), 0..3), price(), proptest::option::of(1u64..1_000)).prop_map(
        |(rows, first, max_output)| {
            let mut above = 0;
            let mut model = ModelPrice { max_output, ..ModelPrice::flat(first) };
            for (step, price) in rows {
                above += step;
                model.rows.push(PriceRow { above, price });
            }
            model
        },
    )
}

/// Generates a usage: plain, cache-read, cache-written and long-cached input tokens, and output tokens.
fn usage() -> impl Strategy<Value = Usage> {
    (0u64..2_000, 0u64..2_000, 0u64..2_000, 0u64..2_000, 0u64..3_000).prop_map(|(plain, read, write, long, output)| {
        Usage {
            cache_read: read,
            cache_write: write,
            cache_write_long: long,
            ..Usage::new(plain + read + write + long, output)
        }
    })
}

proptest! {
    #[test]
    fn price_bound_covers_usage_within_estimate(
        model in model(), usage in usage(), slack in 0u64..500, responses in 1u32..4, asked in any::<bool>(),
    ) {
        let most = model.max_output.unwrap_or(3_000) * u64::from(responses);
        prop_assume!(asked || (model.max_output.is_some() && usage.output <= most));
        let estimate = Estimate {
            input: 0,
            input_bound: Some(usage.input + slack),
            output: 0,
            output_bound: asked.then_some(usage.output + slack),
            choices: responses,
        };
        let table = PriceTable::new("2026-01-01").with("m", model).unwrap();
        prop_assert!(table.bound("m", &estimate).unwrap() >= table.cost("m", &usage).unwrap());
    }

    #[test]
    fn estimate_text_of_any_length_fits_bound(text in "\\PC{0,40}") {
        let estimate = ChatRequest::new("m").user(text.as_str()).estimate();
        prop_assert!(estimate.input <= estimate.input_bound.unwrap());
        prop_assert!(estimate.input_bound.unwrap() >= text.len() as u64);
    }
}
