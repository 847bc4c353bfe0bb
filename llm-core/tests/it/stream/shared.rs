use std::{any::Any, pin::Pin, sync::Arc};

use futures_util::{FutureExt, StreamExt};
use llm_core::{
    Charge, ChatResponse, ChatStream, Choice, Error, ErrorKind, FinishReason, Output, Part,
    layer::{Live, Shared},
};
use tokio_test::{assert_pending, task};

use super::{Feed, Log, broken, hooked, lines, text};

fn shared(feed: &Feed, log: &Log) -> Shared<ChatResponse> {
    hooked(feed.stream(log), "inner", log).share()
}

fn join(shared: &Shared<ChatResponse>) -> ChatStream {
    ChatStream::join(shared.clone()).now_or_never().expect("joining a stream never waits").expect("it runs")
}

fn response(text: &str) -> ChatResponse {
    ChatResponse::new("1", "m", vec![Choice::new(0, vec![Part::text(text)], FinishReason::Stop)])
}

fn all(stream: ChatStream) -> Result<String, ErrorKind> {
    let response = stream.complete().now_or_never().expect("the stream has ended");
    response.map(|response| response.text().into_owned()).map_err(|error| error.kind())
}

#[test]
fn shared_stream_late_reader_gets_all_events() {
    let (feed, log) = (Feed::default(), Log::default());
    let shared = shared(&feed, &log);
    let mut early = join(&shared);
    feed.push(Some(Ok(text("a"))));
    assert!(early.next().now_or_never().is_some());
    let late = join(&shared);
    feed.push(Some(Ok(text("b"))));
    feed.push(None);
    let after_the_end = (all(early), join(&shared));
    assert_eq!((after_the_end.0, all(late), all(after_the_end.1)), (Ok("ab".into()), Ok("ab".into()), Ok("ab".into())));
    assert_eq!(lines(&log), ["source dropped", r#"inner: complete "ab""#], "one source, one end");
}

#[test]
fn shared_stream_survives_first_reader() {
    let (feed, log) = (Feed::default(), Log::default());
    let shared = shared(&feed, &log);
    let (mut leader, mut follower) = (task::spawn(join(&shared)), task::spawn(join(&shared)));
    drop(shared);
    assert_pending!(leader.poll_next());
    assert_pending!(follower.poll_next());
    feed.push(Some(Ok(text("a"))));
    assert!(leader.poll_next().is_ready());
    drop(leader);
    feed.push(None);
    assert!(follower.is_woken());
    assert_eq!(all(follower.into_inner()), Ok("a".into()));
}

#[test]
fn shared_stream_last_reader_drops_source() {
    let (feed, log) = (Feed::default(), Log::default());
    let shared = shared(&feed, &log);
    let [mut first, second] = ["first", "second"].map(|name| hooked(join(&shared), name, &log));
    drop(shared);
    feed.push(Some(Ok(text("a"))));
    assert!(first.next().now_or_never().is_some());
    drop(second);
    assert_eq!(lines(&log), [r#"second: dropped """#]);
    drop(first);
    assert_eq!(lines(&log), ["source dropped", r#"inner: dropped "a""#, r#"first: dropped "a""#]);
}

#[test]
fn shared_stream_held_accepts_readers() {
    let (feed, log) = (Feed::default(), Log::default());
    let shared = shared(&feed, &log);
    drop(join(&shared));
    assert!(lines(&log).is_empty(), "it is held, so it goes on");
    feed.push(Some(Ok(text("a"))));
    feed.push(None);
    assert_eq!(all(join(&shared)), Ok("a".into()));
}

#[test]
fn shared_stream_error_reaches_all_readers() {
    let (feed, log) = (Feed::default(), Log::default());
    let shared = shared(&feed, &log);
    let readers = [join(&shared), join(&shared)];
    feed.push(Some(Ok(text("a"))));
    feed.push(Some(Err(broken())));
    for reader in readers.into_iter().chain([join(&shared)]) {
        let events: Vec<_> = reader.collect::<Vec<_>>().now_or_never().unwrap();
        let kinds: Vec<_> = events.into_iter().map(|event| event.map_err(|error| error.kind())).collect();
        assert_eq!(kinds, [Ok(text("a")), Err(ErrorKind::Incomplete)]);
    }
    assert_eq!(wait(&shared).now_or_never().unwrap().unwrap_err().kind(), ErrorKind::Incomplete);
}

#[test]
fn shared_stream_panic_is_an_error() {
    let (feed, log) = (Feed::default(), Log::default());
    let shared = shared(&feed, &log);
    let (mut unlucky, other) = (join(&shared), hooked(join(&shared), "other", &log));
    feed.push(Some(Ok(text("half"))));
    assert!(unlucky.next().now_or_never().is_some());
    feed.panic();
    let error = unlucky.next().now_or_never().unwrap().unwrap().unwrap_err();
    assert_eq!((error.kind(), error.charge()), (ErrorKind::Incomplete, Charge::Unknown));
    let error = other.complete().now_or_never().unwrap().unwrap_err();
    assert_eq!((error.kind(), error.charge()), (ErrorKind::Incomplete, Charge::Unknown));
    assert!(lines(&log).contains(&r#"other: failed "half" Incomplete"#.to_owned()));
    assert_eq!(wait(&shared).now_or_never().unwrap().unwrap_err().kind(), ErrorKind::Incomplete);
}

#[test]
fn shared_stream_wait_polls_the_stream() {
    let (feed, log) = (Feed::default(), Log::default());
    let shared = shared(&feed, &log);
    let mut whole = task::spawn(wait(&shared));
    assert_pending!(whole.poll());
    feed.push(Some(Ok(text("a"))));
    assert!(whole.is_woken());
    assert_pending!(whole.poll());
    feed.push(None);
    assert_eq!(tokio_test::assert_ready!(whole.poll()).unwrap().text(), "a");
}

#[test]
fn shared_stream_unary_caller_joins() {
    let (feed, log) = (Feed::default(), Log::default());
    let shared = shared(&feed, &log);
    feed.push(Some(Ok(text("a"))));
    feed.push(None);
    let whole = <ChatResponse as Output>::join(shared).now_or_never().unwrap().unwrap();
    assert_eq!(whole.text(), "a");
}

#[test]
fn shared_whole_response_is_streamed() {
    let shared = response("whole").share();
    assert_eq!(all(join(&shared)), Ok("whole".into()));
}

#[test]
fn into_whole_returns_running_stream_itself() {
    assert_eq!(response("whole").into_whole(), Ok(response("whole")));
    let (feed, log) = (Feed::default(), Log::default());
    assert!(feed.stream(&log).into_whole().is_err());
}

/// Running response of another type than this crate's.
struct Elsewhere(Result<ChatResponse, Error>);

impl Live<ChatResponse> for Elsewhere {
    fn wait(self: Arc<Self>) -> Pin<Box<dyn Future<Output = Result<Arc<ChatResponse>, Error>> + Send>> {
        Box::pin(async move { self.0.clone().map(Arc::new) })
    }

    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

#[test]
fn shared_response_of_another_type_is_streamed() {
    assert_eq!(all(join(&Shared::Live(Arc::new(Elsewhere(Ok(response("whole"))))))), Ok("whole".into()));
    let failing = ChatStream::join(Shared::Live(Arc::new(Elsewhere(Err(broken())))));
    assert_eq!(failing.now_or_never().unwrap().unwrap_err().kind(), ErrorKind::Incomplete);
}

fn wait(shared: &Shared<ChatResponse>) -> impl Future<Output = Result<Arc<ChatResponse>, Error>> + use<> {
    let Shared::Live(live) = shared.clone() else { panic!("it is still running") };
    live.wait()
}
