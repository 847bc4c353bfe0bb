use std::sync::Arc;

use futures_util::{FutureExt, StreamExt, stream};
use llm_core::{
    ChatEvent, ChatResponse, ChatStream, Choice, Error, Extra, FinishReason, Output, Part, ToolCall, Usage,
    chat::{ExtraOf, Reasoning},
};
use proptest::prelude::*;
use serde_json::json;

use super::text;
use crate::arbitrary;

fn aggregate(events: impl IntoIterator<Item = ChatEvent>) -> ChatResponse {
    let events: Vec<Result<_, Error>> = events.into_iter().map(Ok).collect();
    ChatStream::new(stream::iter(events))
        .complete()
        .now_or_never()
        .expect("all events are there")
        .expect("none is an error")
}

fn replayed(response: &ChatResponse, usage: Option<Usage>) -> Vec<ChatEvent> {
    let events = ChatStream::replay(Arc::new(response.clone()), usage).collect::<Vec<_>>();
    events.now_or_never().expect("a replay never waits").into_iter().map(Result::unwrap).collect()
}

proptest! {
    #[test]
    fn stream_replay_aggregates_to_same_response(response in arbitrary::response()) {
        prop_assert_eq!(aggregate(replayed(&response, Some(Usage::new(1, 2)))), response);
    }

    #[test]
    fn stream_replay_ends_with_usage(response in arbitrary::response()) {
        prop_assert_eq!(replayed(&response, Some(Usage::new(1, 2))).pop(), Some(ChatEvent::Usage(Usage::new(1, 2))));
        let usages = replayed(&response, None).into_iter().filter(|event| matches!(event, ChatEvent::Usage(_)));
        prop_assert_eq!(usages.count(), 0);
    }

    #[test]
    fn response_json_round_trip_is_equal(response in arbitrary::response()) {
        let json = serde_json::to_string(&response).unwrap();
        prop_assert_eq!(serde_json::from_str::<ChatResponse>(&json).unwrap(), response);
    }
}

#[test]
fn aggregate_interleaved_tool_calls_are_separated() {
    let open = |choice, index, id: &str| ChatEvent::ToolCall { choice, index, id: id.into(), name: "f".into() };
    let more = |choice, index, fragment: &str| ChatEvent::ToolArguments { choice, index, fragment: fragment.into() };
    let response = aggregate([
        open(1, 0, "c"),
        open(0, 0, "a"),
        more(0, 0, "1"),
        open(0, 1, "b"),
        more(1, 0, "7"),
        more(0, 1, "4"),
        more(0, 0, "2"),
        more(1, 0, "8"),
        more(0, 1, "5"),
        more(0, 0, "3"),
    ]);
    let calls = |choice: &Choice| choice.tool_calls().map(|c| format!("{}{}", c.id, c.arguments)).collect::<Vec<_>>();
    assert_eq!(response.choices.iter().map(calls).collect::<Vec<_>>(), [vec!["a123", "b45"], vec!["c78"]]);
}

#[test]
fn aggregate_keeps_arguments_of_unopened_call() {
    let response = aggregate([ChatEvent::ToolArguments { choice: 0, index: 3, fragment: "{}".into() }]);
    let lost = ToolCall { arguments: "{}".into(), ..ToolCall::default() };
    assert_eq!(response.choices[0].parts, [Part::ToolCall(lost)]);
}

#[test]
fn aggregate_joins_pieces_of_one_kind() {
    let thought = |text: &str| ChatEvent::Reasoning { choice: 0, text: text.into() };
    let refused = |text: &str| ChatEvent::Refusal { choice: 0, text: text.into() };
    let response = aggregate([thought("h"), thought("m"), text("a"), text("b"), refused("n"), refused("o"), text("c")]);
    let kinds = response.choices[0].parts.iter().map(|part| match part {
        Part::Text { text, .. } => format!("text {text}"),
        Part::Refusal { text } => format!("refusal {text}"),
        Part::Reasoning(reasoning) => format!("reasoning {}", reasoning.text),
        other => panic!("{other:?}"),
    });
    assert_eq!(kinds.collect::<Vec<_>>(), ["reasoning hm", "text ab", "refusal no", "text c"]);
}

#[test]
fn aggregate_complete_part_takes_signature_only() {
    let thought = |text: &str| ChatEvent::Reasoning { choice: 0, text: text.into() };
    let fields = |name: &str| serde_json::from_value::<Extra>(json!({name: 1})).unwrap();
    let end =
        |signature: Option<&str>, extra| ChatEvent::PartEnd { choice: 0, signature: signature.map(Arc::from), extra };
    let call = ChatEvent::ToolCall { choice: 0, index: 0, id: "c".into(), name: "f".into() };
    let response = aggregate([
        thought("h"),
        thought("m"),
        end(Some("seal"), fields("a")),
        thought("again"),
        text("x"),
        end(None, Extra::default()),
        text("y"),
        end(None, fields("b")),
        text("z"),
        call,
        end(None, fields("c")),
        ChatEvent::Refusal { choice: 0, text: "no".into() },
        end(None, fields("d")),
    ]);
    let (signature, extra) = (Some("seal".into()), fields("a"));
    let call = ToolCall { id: "c".into(), name: "f".into(), extra: fields("c"), ..ToolCall::default() };
    let expected = [
        Part::Reasoning(Reasoning { text: "hm".into(), signature, extra }),
        Part::Reasoning(Reasoning { text: "again".into(), ..Reasoning::default() }),
        Part::text("x"),
        Part::text("y").with_extra("b", 1),
        Part::text("z"),
        Part::ToolCall(call),
        Part::Refusal { text: "no".into() },
    ];
    assert_eq!(response.choices[0].parts, expected);
    assert_eq!(response.choices[0].message_extra, fields("d"), "a refusal has no place for it");
}

#[test]
fn aggregate_unknown_fields_reach_their_part() {
    let fields = |value| serde_json::from_value::<Extra>(value).unwrap();
    let event = |of, value| ChatEvent::Extra { of, fields: fields(value) };
    let response = aggregate([
        event(ExtraOf::Choice(0), json!({"logprobs": {"content": [1]}})),
        event(ExtraOf::Response, json!({"service_tier": "default"})),
        event(ExtraOf::Message(0), json!({"annotations": []})),
        event(ExtraOf::Choice(0), json!({"logprobs": {"content": [2]}})),
        ChatEvent::Finish { choice: 0, reason: FinishReason::Stop },
    ]);
    assert_eq!(response.extra, fields(json!({"service_tier": "default"})));
    assert_eq!(response.choices[0].extra, fields(json!({"logprobs": {"content": [1, 2]}})));
    assert_eq!(response.choices[0].message_extra, fields(json!({"annotations": []})));
    assert_eq!(response.finish(), &FinishReason::Stop);
}
