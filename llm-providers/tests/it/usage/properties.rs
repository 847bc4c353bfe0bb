//! Property test: the usage of a stream is never smaller than the largest usable one that its vendor stated.

use llm_providers::llm_core::Usage;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{anthropic::streamed, chunk, gemini, openai, said};

/// Generates a count as a server may state it, with its value if it is usable.
fn count() -> impl Strategy<Value = (Value, Option<u64>)> {
    prop_oneof![
        4 => (0u64..50).prop_map(|count| (json!(count), Some(count))),
        1 => (0u32..50).prop_map(|count| (json!(f64::from(count)), Some(count.into()))),
        1 => Just((json!(0), Some(0))),
        1 => prop::sample::select(vec![json!(-3), json!(1.5), json!(u64::MAX), json!("?")]).prop_map(|odd| (odd, None)),
    ]
}

/// Generates usage statements: prompt, output, and tokens read from the cache.
fn statements() -> impl Strategy<Value = Vec<[(Value, Option<u64>); 3]>> {
    prop::collection::vec([count(), count(), count()], 1..5)
}

/// Returns the largest usable value of each count, if a statement has a prompt count.
fn largest(usable: impl Iterator<Item = Usage>) -> Option<Usage> {
    usable.reduce(Usage::max_each).filter(|usage| usage.input > 0)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn usage_of_openai_stream_is_largest(statements in statements()) {
        let usage = |[prompt, output, read]: &[(Value, Option<u64>); 3]| {
            json!({"prompt_tokens": prompt.0, "completion_tokens": output.0, "cached_tokens": read.0})
        };
        let usable = statements.iter().filter_map(|[prompt, output, read]| {
            let (input, output) = (prompt.1?, output.1?);
            Some(Usage { cache_read: read.1.filter(|read| *read <= input).unwrap_or(0), ..Usage::new(input, output) })
        });
        let chunks: Vec<Value> = std::iter::once(said()).chain(statements.iter().map(|stated| chunk(&usage(stated)))).collect();
        prop_assert_eq!(openai(&chunks).usage, largest(usable));
    }

    #[test]
    fn usage_of_anthropic_stream_is_largest(statements in statements()) {
        let usages: Vec<Value> = statements
            .iter()
            .map(|[fresh, output, read]| {
                json!({"input_tokens": fresh.0, "output_tokens": output.0, "cache_read_input_tokens": read.0})
            })
            .collect();
        let usable = statements.iter().filter_map(|[fresh, output, read]| {
            Some(Usage { cache_read: read.1?, ..Usage::new(fresh.1? + read.1?, output.1?) })
        });
        let accounting = streamed(&usages[0], &[json!({"type": "text", "text": "yes"})], &usages);
        prop_assert_eq!(accounting.usage, largest(usable));
    }

    #[test]
    fn usage_of_gemini_stream_is_largest(statements in statements()) {
        let usages: Vec<Value> = statements
            .iter()
            .map(|[prompt, output, read]| {
                json!({"promptTokenCount": prompt.0, "candidatesTokenCount": output.0, "cachedContentTokenCount": read.0})
            })
            .collect();
        let usable = statements.iter().filter_map(|[prompt, output, read]| {
            Some(Usage { cache_read: read.1?, ..Usage::new(prompt.1?, output.1?) })
        });
        prop_assert_eq!(gemini(&usages).usage, largest(usable));
    }
}
