//! Tests of the scripted provider.

use std::time::Duration;

use llm_providers::{
    llm_core::{
        Call, ChatEvent, ChatRequest, EmbedRequest, Error, ErrorKind, Output, Provider, Usage, into_provider,
        layer::oneshot,
    },
    scripted::{Rule, Scripted},
};
use tokio::time::Instant;

use crate::streaming::{block_on, read};

fn ask(text: &str) -> Call<ChatRequest> {
    Call::new("t", ChatRequest::new("m").system("be brief").user(text))
}

fn text(text: &str) -> Result<ChatEvent, Error> {
    Ok(ChatEvent::Text { choice: 0, text: text.into() })
}

#[test]
fn scripted_without_rules_repeats_request() {
    block_on(async {
        let scripted = Scripted::new();
        let provider = into_provider(scripted.clone());
        let whole = provider.chat(ask("hello")).await.unwrap();
        assert_eq!((&*whole.output.text(), whole.receipt.usage()), ("hello", Some(Usage::new(4, 2))));
        let reply = provider.chat_stream(ask("hello")).await.unwrap();
        assert_eq!(reply.receipt.usage(), None);
        let streamed = read(reply.output, reply.receipt).await;
        assert_eq!((streamed.response.unwrap(), streamed.receipt.usage()), (whole.output, Some(Usage::new(4, 2))));
        let embed = |text: &str| provider.embed(Call::new("t", EmbedRequest::new("e", [text])));
        let (a, b) = (embed("a").await.unwrap().output, embed("b").await.unwrap().output);
        assert_eq!((a.vectors[0].len(), a == embed("a").await.unwrap().output, a == b), (8, true, false));
        let counts = scripted.counts();
        assert_eq!((counts.chat, counts.streamed, counts.embed, scripted.calls()), (1, 1, 3, 5));
    });
}

#[test]
fn scripted_applies_first_matching_rule() {
    block_on(async {
        let scripted = Scripted::new()
            .rule(Rule::fail(Error::new(ErrorKind::Server, "first")).containing("red").nth(2))
            .rule(Rule::say("once").containing("red").times(1))
            .rule(Rule::say("other model").model("n"))
            .rule(
                Rule::respond_with(|request| Err(Error::invalid(format!("{} messages", request.messages.len()))))
                    .when(|r| r.messages.len() > 2),
            );
        let say = async |call| scripted.chat(call).await.map(|reply| reply.output.text().into_owned());
        assert_eq!(say(ask("red")).await.unwrap(), "once");
        assert_eq!(say(ask("red")).await.unwrap_err().kind(), ErrorKind::Server);
        assert_eq!(say(ask("red")).await.unwrap(), "red", "all rules are spent");
        assert_eq!(say(Call::new("t", ChatRequest::new("n").user("x"))).await.unwrap(), "other model");
        assert_eq!(say(ask("x").map(|r| r.user("y"))).await.unwrap_err().message(), "3 messages");
        scripted.add(Rule::say("late"));
        assert_eq!(say(ask("x")).await.unwrap(), "late");
    });
}

#[test]
fn scripted_stream_plays_pieces_at_pace() {
    let second = Duration::from_secs(1);
    block_on(async {
        let usage = Usage::new(7, 3);
        let broken = || Error::new(ErrorKind::Incomplete, "cut");
        let pieces = [text("a"), text("b"), Ok(ChatEvent::Usage(usage)), Err(broken()), text("never")];
        let scripted = Scripted::new()
            .rule(Rule::stream(pieces).after(second).pace(second).times(2))
            .rule(Rule::stream([Err(broken())]));
        let start = Instant::now();
        let reply = scripted.chat_stream(ask("x")).await.unwrap();
        assert_eq!(start.elapsed(), second);
        let streamed = read(reply.output, reply.receipt).await;
        assert_eq!((streamed.events.len(), streamed.error.unwrap().message()), (3, "cut"));
        assert_eq!((streamed.receipt.usage(), start.elapsed()), (Some(usage), 4 * second));
        let unary = oneshot(scripted.clone(), ask("x")).await.unwrap_err();
        assert_eq!(unary.kind(), ErrorKind::Incomplete);
        let head = scripted.chat_stream(ask("x")).await.unwrap_err();
        assert_eq!(head.kind(), ErrorKind::Incomplete);
    });
}

#[test]
fn scripted_honours_deadline_and_refuses_bad_request() {
    block_on(async {
        let scripted =
            Scripted::new().rule(Rule::hang().containing("hang")).rule(Rule::say("slow").pace(Duration::from_secs(9)));
        let soon = || (Instant::now() + Duration::from_secs(1)).into_std();
        let error = scripted.chat(ask("hang").with_deadline(soon())).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
        let reply = scripted.chat_stream(ask("x").with_deadline(soon())).await.unwrap();
        assert_eq!(reply.output.complete().await.unwrap_err().kind(), ErrorKind::DeadlineExceeded);
        let error = scripted.chat(Call::new("t", ChatRequest::new("m"))).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest);
    });
}

#[test]
fn scripted_returns_set_vectors_and_usage() {
    block_on(async {
        let scripted = Scripted::new().rule(Rule::vectors([vec![1.0, 2.0]]).usage(Usage::new(5, 0)));
        let reply = scripted.embed(Call::new("t", EmbedRequest::new("e", ["x"]))).await.unwrap();
        assert_eq!((&*reply.output.vectors[0], reply.receipt.usage()), (&[1.0f32, 2.0][..], Some(Usage::new(5, 0))));
        let shared = scripted.chat(ask("x")).await.unwrap().output.share();
        assert_eq!(llm_providers::llm_core::ChatResponse::join(shared).await.unwrap().text(), "x");
    });
}
