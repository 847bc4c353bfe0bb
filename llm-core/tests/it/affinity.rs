//! Tests of the affinity: the hash by which requests with the same beginning are sent to the same account.

use std::sync::Arc;

use llm_core::{
    ChatRequest, Message, Operation, Part, Role, Tool, ToolCall,
    chat::{Reasoning, ResponseFormat},
    layer::Streamed,
};
use proptest::prelude::*;
use serde_json::json;

use crate::arbitrary;

/// Returns a text of about `count` tokens of four bytes each.
fn tokens(count: usize, word: char) -> String {
    String::from_iter([word; 4]).repeat(count)
}

fn request() -> ChatRequest {
    ChatRequest::new("m")
}

/// Returns requests that each differ in one part of their beginning, which is long enough for a prompt cache.
fn beginnings() -> Vec<ChatRequest> {
    let long = |word| tokens(1_100, word);
    let tool = |name: &str, schema: String| Tool::function(name, "d", json!({"type": "object", "title": schema}));
    let call = |arguments: String| {
        Part::ToolCall(ToolCall { name: "f".into(), arguments: arguments.into(), ..ToolCall::default() })
    };
    let said = |part| request().message(Message::new(Role::Assistant, vec![part]));
    let reasoning = Reasoning { text: long('r').into(), ..Reasoning::default() };
    let photos = |last: u8| {
        let photo = |end| Part::image("image/jpeg", [[7; 9_000].as_slice(), &[end]].concat());
        request().message(Message::new(Role::User, vec![photo(1), photo(last), Part::text("?")]))
    };
    vec![
        request().system(long('a')),
        request().system(long('b')),
        request().message(Message::new(Role::Developer, vec![Part::text(long('a'))])),
        ChatRequest::new("n").system(long('a')),
        request().system("one").system(long('a')),
        request().system("two").system(long('a')),
        request().tool(tool("f", long('a'))),
        request().tool(tool("g", long('a'))),
        request().tool(Tool::Other(Arc::new(json!({"type": long('a')})))),
        request().response_format(ResponseFormat::json_schema("s", json!({"title": long('a')}))),
        request().user(long('a')),
        request().message(Message::assistant(long('a'))),
        request().message(Message::tool("1", long('a'))),
        said(call(long('a'))),
        said(call(long('b'))),
        said(Part::Reasoning(reasoning)),
        said(Part::Refusal { text: long('c').into() }),
        said(Part::Other { value: Arc::new(json!({"type": long('a')})) }),
        photos(1),
        photos(2),
        request()
            .message(Message::new(Role::User, vec![Part::image_url(long('u')), Part::text("?"), Part::text("?")]))
            .user(tokens(100, 'z')),
    ]
}

#[test]
fn affinity_without_long_prefix_is_zero() {
    let question = tokens(5_000, 'q');
    for short in [
        request(),
        request().user("hello"),
        request().user(question.clone()),
        request().system(tokens(900, 's')).user(question.clone()),
        request().system(tokens(900, 's')).tool(Tool::function("f", "d", json!({}))).user(question.clone()),
        request()
            .message(Message::new(Role::User, vec![Part::text("Rate it."), Part::image("image/png", vec![1; 9_000])])),
    ] {
        assert_eq!(short.affinity(), 0, "{} messages", short.messages.len());
        assert_eq!(Streamed(short).affinity(), 0);
    }
    assert_ne!(request().system(tokens(1_030, 's')).user(question).affinity(), 0);
}

#[test]
fn affinity_stays_while_conversation_grows() {
    for beginning in beginnings() {
        let first = beginning.clone().user("one");
        let second = first.clone().message(Message::assistant("1")).user(tokens(2_000, 'q'));
        let third = second.clone().message(Message::tool("1", "result"));
        assert_ne!(first.affinity(), 0);
        for grown in [second.affinity(), third.affinity(), beginning.user("another").affinity()] {
            assert_eq!(grown, first.affinity());
        }
    }
}

#[test]
fn affinity_differs_with_any_piece_of_beginning() {
    let mut all: Vec<u64> = beginnings().into_iter().map(|request| request.user("one").affinity()).collect();
    let count = all.len();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), count);
}

#[test]
fn affinity_ignores_what_follows_the_prefix() {
    let prefix = tokens(1_024, 'p');
    let of =
        |text: String, later: &str| request().system(text).system(later).tool_choice_free(later).user("q").affinity();
    assert_eq!(of(prefix.clone(), "a"), of(prefix.clone() + "more", "b"));
    assert_ne!(of(prefix.clone(), "a"), of(tokens(1_023, 'p') + "pppq", "a"));
}

/// Settings that have no effect on a vendor's prompt cache.
trait Settings {
    fn tool_choice_free(self, text: &str) -> Self;
}

impl Settings for ChatRequest {
    fn tool_choice_free(self, text: &str) -> Self {
        self.temperature(text.len() as f64).extra("user", text)
    }
}

proptest! {
    #[test]
    fn affinity_depends_on_beginning_only(request in arbitrary::request(), later in "[a-z]{0,3}") {
        let mut long = request;
        Arc::make_mut(&mut long.messages).insert(0, Message::system(tokens(1_024, 's')));
        let with = |text: &str| long.clone().user(text).affinity();
        prop_assert_eq!(with(&later), with(""));
        prop_assert_ne!(with(""), 0);
        let other = ChatRequest { model: format!("{}x", long.model).into(), ..long.clone() };
        prop_assert_ne!(other.user("").affinity(), with(""));
    }
}
