//! Tests of streams, which can be moved until their first content.

use std::time::Duration;

use futures_util::StreamExt;
use llm_core::{
    Call, ChatEvent, ChatRequest, Error, ErrorKind,
    layer::{LlmService, MemberId, Streamed, oneshot},
};
use llm_keypool::{KeyPool, Member, Reason};
use llm_providers::scripted::{Rule, Scripted};

fn pool(first: Scripted, second: Scripted) -> KeyPool<Scripted> {
    let members = [Member::new("a", first), Member::new("b", second).tier(1)];
    KeyPool::builder().members(members).first_content_timeout(Duration::from_secs(20)).seed(7).build().unwrap()
}

fn call() -> Call<Streamed<ChatRequest>> {
    Call::new("acme", Streamed(ChatRequest::new("m").user("hello")))
}

fn text(text: &str) -> Result<ChatEvent, Error> {
    Ok(ChatEvent::Text { choice: 0, text: text.into() })
}

async fn collect(pool: &(impl LlmService<Streamed<ChatRequest>> + Sync)) -> (Option<MemberId>, Result<String, Error>) {
    let reply = oneshot(pool.clone(), call()).await.unwrap();
    let member = reply.extensions.get::<MemberId>().cloned();
    let mut stream = reply.output;
    let mut all = String::new();
    while let Some(event) = stream.next().await {
        match event {
            Ok(ChatEvent::Text { text, .. }) => all.push_str(&text),
            Ok(_) => {}
            Err(error) => return (member, Err(error)),
        }
    }
    (member, Ok(all))
}

#[tokio::test(start_paused = true)]
async fn stream_refused_before_content_moves() {
    let refused = Scripted::new().rule(Rule::fail(Error::new(ErrorKind::Authentication, "no")));
    let pool = pool(refused, Scripted::new().rule(Rule::stream([text("hel"), text("lo")])));
    let (member, served) = collect(&pool).await;
    assert_eq!((member.unwrap().as_str(), served.unwrap().as_str()), ("b", "hello"));
    assert!(pool.status().members.iter().all(|member| member.in_flight == 0));
}

#[tokio::test(start_paused = true)]
async fn stream_without_content_is_retried() {
    let pool = pool(Scripted::new().rule(Rule::hang()), Scripted::new().rule(Rule::stream([text("hello")])));
    for _ in 0..6 {
        let (member, served) = collect(&pool).await;
        assert_eq!((member.unwrap().as_str(), served.unwrap().as_str()), ("b", "hello"));
    }
    let status = pool.status();
    assert_eq!(status.members[0].parked[0].reason, Reason::TimedOut);
    assert_eq!((status.members[0].attempts, status.members[0].failures), (5, 5));
}

#[tokio::test(start_paused = true)]
async fn stream_that_breaks_counts_for_its_member() {
    let broken = || [text("hel"), Err(Error::new(ErrorKind::Incomplete, "broke off"))];
    let pool = pool(Scripted::new().rule(Rule::stream(broken())), Scripted::new().rule(Rule::stream([text("hello")])));
    for _ in 0..5 {
        let (member, served) = collect(&pool).await;
        assert_eq!((member.unwrap().as_str(), served.unwrap_err().kind()), ("a", ErrorKind::Incomplete));
    }
    assert_eq!(pool.status().members[0].parked[0].reason, Reason::Failing);
    assert_eq!(collect(&pool).await.1.unwrap(), "hello");
}

#[tokio::test(start_paused = true)]
async fn stream_holds_its_slot_until_it_ends() {
    let client = || Scripted::new().rule(Rule::stream([text("hel"), text("lo")]));
    let pool = pool(client(), client());
    let reply = oneshot(pool.clone(), call()).await.unwrap();
    let in_flight = || pool.status().members[0].in_flight;
    assert_eq!(in_flight(), 1);
    drop(reply);
    assert_eq!(in_flight(), 0);
}
