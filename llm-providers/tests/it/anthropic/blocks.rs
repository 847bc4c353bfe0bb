//! Tests of streams in which several blocks are open at once.

use llm_providers::llm_core::{ChatEvent, ChatResponse, ChatStream, Error};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::streaming::block_on;

use crate::codec::anthropic::EventDecoder;

fn response(events: &[Value]) -> Result<ChatResponse, Error> {
    let mut decoder = EventDecoder::default();
    let mut pieces: Vec<ChatEvent> = Vec::new();
    for event in events {
        pieces.extend(decoder.decode(&event.to_string())?);
    }
    pieces.extend(decoder.finish()?);
    block_on(ChatStream::new(futures_util::stream::iter(pieces.into_iter().map(Ok))).complete())
}

/// Returns the events of a block: a text, reasoning, a tool call, or one of the vendor's own tools.
fn block(index: usize, kind: u8, pieces: &[String]) -> Vec<Value> {
    let (block, delta, field) = match kind {
        0 => (json!({"type": "text", "text": ""}), "text_delta", "text"),
        1 => (json!({"type": "thinking", "thinking": "", "signature": "s"}), "thinking_delta", "thinking"),
        2 => (json!({"type": "tool_use", "id": "t", "name": "f", "input": {}}), "input_json_delta", "partial_json"),
        _ => (
            json!({"type": "server_tool_use", "id": "s", "name": "g", "input": {}}),
            "input_json_delta",
            "partial_json",
        ),
    };
    let mut events = vec![json!({"type": "content_block_start", "index": index, "content_block": block})];
    let delta =
        |text: &String| json!({"type": "content_block_delta", "index": index, "delta": {"type": delta, field: text}});
    events.extend(pieces.iter().map(delta));
    events.push(json!({"type": "content_block_stop", "index": index}));
    events
}

fn framed(blocks: impl IntoIterator<Item = Value>) -> Vec<Value> {
    let usage = json!({"input_tokens": 1, "output_tokens": 1});
    let mut events = vec![json!({"type": "message_start", "message": {"id": "m", "content": [], "usage": usage}})];
    events.extend(blocks);
    events.push(json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}}));
    events.push(json!({"type": "message_stop"}));
    events
}

/// Generates several blocks, and an order of their events in which each block begins after the previous one.
fn blocks() -> impl Strategy<Value = (Vec<Vec<Value>>, Vec<usize>)> {
    let drawn = (0u8..4, prop::collection::vec("[a-z{}\"]{0,4}", 0..4));
    (prop::collection::vec(drawn, 1..5), prop::collection::vec(0usize..5, 0..40)).prop_map(|(kinds, order)| {
        let blocks = kinds.iter().enumerate().map(|(index, (kind, pieces))| block(index, *kind, pieces));
        (blocks.collect(), order)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn anthropic_blocks_interleaved_equal_sequential((blocks, order) in blocks(), ends in any::<bool>()) {
        let expected = response(&framed(blocks.iter().flatten().cloned())).unwrap();
        let mut rest: Vec<_> = blocks.iter().map(|events| events.iter().peekable()).collect();
        let mut begun = 0;
        let mut events = Vec::new();
        for at in order.into_iter().chain(0..rest.len()).chain((0..rest.len()).cycle().take(40)) {
            let at = at % rest.len();
            if at > begun {
                continue;
            }
            let Some(event) = rest[at].next() else { continue };
            begun = begun.max(at + 1);
            // The end of the message alone may end a block.
            if ends || event["type"] != "content_block_stop" {
                events.push(event.clone());
            }
        }
        prop_assert!(rest.iter_mut().all(|events| events.peek().is_none()));
        prop_assert_eq!(response(&framed(events)).unwrap(), expected);
    }
}

#[test]
fn anthropic_blocks_open_give_text_immediately() {
    let texts = |pieces: &[&str]| pieces.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let (first, second) = (block(0, 0, &texts(&["a", "b"])), block(1, 0, &texts(&["c"])));
    let mut decoder = EventDecoder::default();
    let mut shown = |event: &Value| -> String {
        let events = decoder.decode(&event.to_string()).unwrap();
        let text = |event: &ChatEvent| match event {
            ChatEvent::Text { text, .. } => text.to_string(),
            _ => String::new(),
        };
        events.iter().map(text).collect()
    };
    let order = [&first[0], &second[0], &first[1], &second[1], &second[2], &first[2], &first[3]];
    assert_eq!(order.map(&mut shown), ["", "", "a", "", "", "b", "c"]);
}

#[test]
fn anthropic_blocks_unopened_are_malformed() {
    let piece = json!({"type": "content_block_delta", "index": 3, "delta": {"type": "text_delta", "text": "x"}});
    let text = block(0, 0, &["a".to_owned()]);
    for events in [
        vec![piece.clone()],
        [text.clone(), vec![piece.clone()]].concat(),
        [vec![text[0].clone(), piece], text[1..].to_vec()].concat(),
    ] {
        assert!(response(&framed(events)).is_err());
    }
}
