use llm_core::{
    ChatEvent, ChatRequest, ChatResponse, ChatStream, Choice, FinishReason, Operation, Part, ToolCall, chat::Reasoning,
};
use proptest::prelude::*;

use crate::arbitrary;

fn call(name: &str, arguments: &str) -> Part {
    let call = ToolCall { name: name.into(), arguments: arguments.into(), ..ToolCall::default() };
    Part::ToolCall(call)
}

fn is_cacheable(parts: Vec<Part>, finish: FinishReason) -> bool {
    ChatRequest::is_cacheable(&ChatResponse::new("1", "m", vec![Choice::new(0, parts, finish)]))
}

#[test]
fn is_cacheable_after_complete_end_only() {
    use FinishReason::{ContentFilter, Failed, Length, Other, Stop, ToolCalls, Unknown};
    let ends = [
        (Stop, true),
        (Length, false),
        (ToolCalls, true),
        (ContentFilter, false),
        (Failed("abort".into()), false),
        (Other("stop".into()), false),
        (Unknown, false),
    ];
    for (finish, kept) in ends {
        assert_eq!(is_cacheable(vec![Part::text("x"), call("f", "{}")], finish.clone()), kept, "{finish:?}");
        assert_eq!(finish.is_complete(), kept, "{finish:?}");
    }
}

#[test]
fn is_cacheable_refuses_empty_response() {
    let thought = || Part::Reasoning(Reasoning { text: "hm".into(), ..Reasoning::default() });
    let cases = [
        (vec![], false),
        (vec![thought()], false),
        (vec![thought(), Part::text("")], false),
        (vec![thought(), Part::text("").with_extra("seal", "s")], false),
        (vec![thought(), Part::text("x")], true),
        (vec![Part::image("image/png", vec![1])], true),
        (vec![Part::text("x"), Part::Refusal { text: "no".into() }], false),
    ];
    for (parts, kept) in cases {
        assert_eq!(is_cacheable(parts.clone(), FinishReason::Stop), kept, "{parts:?}");
    }
}

#[test]
fn is_cacheable_refuses_torn_tool_call() {
    let custom = |name| call(name, "free text").with_extra("type", "custom");
    let cases = [
        (call("f", "{}"), true),
        (call("f", " {\"a\": [1]} "), true),
        (call("f", ""), true),
        (call("", "{}"), false),
        (call("f", "{\"a\":"), false),
        (call("f", "{}{}"), false),
        (call("f", "1"), false),
        (call("f", "\"a\""), false),
        (custom("f"), true),
        (custom(""), false),
    ];
    for (part, kept) in cases {
        for finish in [FinishReason::ToolCalls, FinishReason::Stop] {
            assert_eq!(is_cacheable(vec![Part::text("x"), part.clone()], finish), kept, "{part:?}");
        }
    }
    assert!(!is_cacheable(vec![Part::text("x")], FinishReason::ToolCalls), "the calls are missing");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn finish_reason_later_one_counts(reasons in prop::collection::vec(arbitrary::finish(), 0..6)) {
        let mut expected = FinishReason::Unknown;
        for reason in &reasons {
            let is_bare_stop = expected == FinishReason::ToolCalls && *reason == FinishReason::Stop;
            if *reason != FinishReason::Unknown && !is_bare_stop {
                expected = reason.clone();
            }
        }
        let text = ChatEvent::Text { choice: 0, text: "x".into() };
        let ends = reasons.into_iter().map(|reason| ChatEvent::Finish { choice: 0, reason });
        let events: Vec<_> = std::iter::once(text).chain(ends).map(Ok).collect();
        let response = tokio_test::block_on(ChatStream::new(futures_util::stream::iter(events)).complete()).unwrap();
        prop_assert_eq!(response.finish(), &expected);
    }
}
