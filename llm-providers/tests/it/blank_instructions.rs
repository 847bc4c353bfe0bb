//! Tests of instructions without content, which vendors would refuse as empty blocks.

use llm_providers::llm_core::{ChatRequest, Message, Part, Role};

use crate::codec;

/// Returns the body of a request in every format.
fn sent(request: &ChatRequest) -> [Vec<u8>; 3] {
    [
        codec::openai::encode_chat(request, codec::openai::Dialect::OPENAI, false).unwrap().to_vec(),
        codec::anthropic::encode_chat(request, codec::anthropic::Options::default(), false).unwrap().to_vec(),
        codec::gemini::encode_chat(request, codec::gemini::Dialect::default()).unwrap().to_vec(),
    ]
}

#[test]
fn blank_instructions_are_omitted() {
    let plain = || ChatRequest::new("m").max_output_tokens(9);
    let expected = sent(&plain().user("hi"));
    let marked = Part::text("").with_extra("cache_control", serde_json::json!({"type": "ephemeral"}));
    for blank in [
        Message::system(""),
        Message::new(Role::Developer, vec![Part::text("")]),
        Message::new(Role::System, vec![Part::text(""), marked]),
    ] {
        assert_eq!(sent(&plain().message(blank.clone()).user("hi")), expected);
        assert_eq!(sent(&plain().user("hi").message(blank.clone())), expected, "also in its midst");
        let both = plain().message(blank).system("be short").user("hi");
        assert_eq!(sent(&both), sent(&plain().system("be short").user("hi")));
    }
    assert_eq!(sent(&plain().system("").user("hi")), expected);
}
