//! Instructions without content, which vendors refuse as empty blocks.

use llm_providers::{
    anthropic, gemini,
    llm_core::{ChatRequest, Message, Part, Role},
    openai,
};

/// What is sent of a request in every format.
fn sent(request: &ChatRequest) -> [Vec<u8>; 3] {
    [
        openai::codec::encode_chat(request, openai::codec::Dialect::OPENAI, false).unwrap().to_vec(),
        anthropic::codec::encode_chat(request, anthropic::codec::Options::default(), false).unwrap().to_vec(),
        gemini::codec::encode_chat(request, gemini::codec::Dialect::default()).unwrap().to_vec(),
    ]
}

#[test]
fn blank_instructions_are_left_out() {
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
