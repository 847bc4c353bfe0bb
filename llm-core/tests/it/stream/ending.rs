use std::{
    future::ready,
    ops::ControlFlow,
    sync::{Arc, Mutex},
};

use futures_util::{FutureExt, StreamExt};
use llm_core::{Charge, ChatEvent, ChatStream, Error, ErrorKind, FinishReason, Output, Usage, layer::StreamCut};

use tokio::sync::Semaphore;

use super::{Feed, Log, broken, hooked, lines, text};

/// Returns a stream with three hooks, added from the innermost to the outermost.
fn three_hooks(feed: &Feed, log: &Log) -> ChatStream {
    ["inner", "middle", "outer"].into_iter().fold(feed.stream(log), |stream, name| hooked(stream, name, log))
}

fn next(stream: &mut ChatStream) -> Option<Result<ChatEvent, Error>> {
    stream.next().now_or_never().expect("an event is there")
}

fn from_inner_to_outer(how: &str) -> Vec<String> {
    let hooks = ["inner", "middle", "outer"].map(|name| format!("{name}: {how}"));
    ["source dropped".to_owned()].into_iter().chain(hooks).collect()
}

#[test]
fn on_end_runs_once_innermost_first() {
    let (feed, log) = (Feed::default(), Log::default());
    let mut stream = three_hooks(&feed, &log);
    feed.push(Some(Ok(text("ab"))));
    feed.push(None);
    assert_eq!(next(&mut stream).unwrap().unwrap(), text("ab"));
    assert!(lines(&log).is_empty(), "not before the end");
    assert!(next(&mut stream).is_none());
    assert_eq!(lines(&log), from_inner_to_outer(r#"complete "ab""#));
    assert!(next(&mut stream).is_none(), "after the end comes nothing");
    drop(stream);
    assert!(lines(&log).is_empty(), "hooks run once");
}

#[test]
fn on_end_after_error_sees_partial_response() {
    let (feed, log) = (Feed::default(), Log::default());
    let mut stream = three_hooks(&feed, &log);
    feed.push(Some(Ok(text("par"))));
    feed.push(Some(Err(broken())));
    feed.push(Some(Ok(text("never read"))));
    next(&mut stream);
    assert_eq!(next(&mut stream).unwrap().unwrap_err().kind(), ErrorKind::Incomplete);
    assert_eq!(lines(&log), from_inner_to_outer(r#"failed "par" Incomplete"#));
    assert!(next(&mut stream).is_none(), "after an error comes nothing");
    drop(stream);
    assert!(lines(&log).is_empty());
}

#[test]
fn on_end_after_drop_sees_partial_response() {
    let (feed, log) = (Feed::default(), Log::default());
    let mut stream = three_hooks(&feed, &log);
    feed.push(Some(Ok(text("par"))));
    next(&mut stream);
    drop(stream);
    assert_eq!(lines(&log), from_inner_to_outer(r#"dropped "par""#));
}

#[test]
fn on_end_without_poll_sees_empty_response() {
    let (feed, log) = (Feed::default(), Log::default());
    drop(three_hooks(&feed, &log));
    assert_eq!(lines(&log), from_inner_to_outer(r#"dropped """#));
}

#[test]
fn watch_sees_bytes_and_cuts() {
    let (feed, log) = (Feed::default(), Log::default());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let watched = Arc::clone(&seen);
    let mut stream = three_hooks(&feed, &log).watch(move |bytes| {
        watched.lock().unwrap().push(bytes);
        ready(if bytes > 3 {
            ControlFlow::Break(StreamCut::Fail(Error::new(ErrorKind::OverBudget, "enough")))
        } else {
            ControlFlow::Continue(())
        })
    });
    let fragment = ChatEvent::ToolArguments { choice: 1, index: 0, fragment: "é".into() };
    let silent = [ChatEvent::Start { id: "1".into(), model: "m".into() }, ChatEvent::Usage(Usage::new(1, 1)), text("")];
    let speaking = [text("a"), fragment, text("bcd"), text("never")];
    silent.into_iter().chain(speaking).for_each(|event| feed.push(Some(Ok(event))));
    (0..5).for_each(|_| assert!(next(&mut stream).unwrap().is_ok()));
    assert_eq!(next(&mut stream).unwrap().unwrap_err().kind(), ErrorKind::OverBudget);
    assert!(next(&mut stream).is_none());
    assert_eq!(*seen.lock().unwrap(), [1, 3, 6], "called only when more output came");
    assert_eq!(lines(&log), from_inner_to_outer(r#"failed "abcd" OverBudget"#));
}

#[test]
fn watch_clean_cut_is_dropped_to_hooks() {
    let (feed, log) = (Feed::default(), Log::default());
    let cut = async |bytes| if bytes > 1 { ControlFlow::Break(StreamCut::Finish) } else { ControlFlow::Continue(()) };
    let mut stream = three_hooks(&feed, &log).watch(cut);
    let finish = |choice, reason| ChatEvent::Finish { choice, reason };
    let other = ChatEvent::Text { choice: 1, text: "z".into() };
    let events = [text("a"), finish(0, FinishReason::Stop), other.clone(), text("never")];
    events.iter().for_each(|event| feed.push(Some(Ok(event.clone()))));
    let mut seen = Vec::new();
    while let Some(event) = next(&mut stream) {
        seen.push(event.unwrap());
    }
    let length = finish(1, FinishReason::Length);
    assert_eq!(seen, [text("a"), finish(0, FinishReason::Stop), other, length], "only what is open is finished");
    assert_eq!(lines(&log), from_inner_to_outer(r#"dropped "a""#));
    drop(hooked(stream, "late", &log));
    assert_eq!(lines(&log).last().unwrap(), r#"late: dropped "a""#);
}

/// Adds a watcher whose decisions arrive when the test releases them. Also returns the bytes that the watcher was asked
/// about.
fn slow_watcher(stream: ChatStream) -> (ChatStream, Arc<Semaphore>, Arc<Mutex<Vec<u64>>>) {
    let (rounds, asked) = (Arc::new(Semaphore::new(0)), Arc::new(Mutex::new(Vec::new())));
    let (trips, log) = (Arc::clone(&rounds), Arc::clone(&asked));
    let stream = stream.watch(move |bytes| {
        log.lock().expect("no test panics with it").push(bytes);
        let trips = Arc::clone(&trips);
        async move {
            trips.acquire().await.expect("it is never closed").forget();
            if bytes > 3 { ControlFlow::Break(StreamCut::Finish) } else { ControlFlow::Continue(()) }
        }
    });
    (stream, rounds, asked)
}

#[test]
fn watch_slow_decision_holds_event() {
    let (feed, log) = (Feed::default(), Log::default());
    let (stream, trips, asked) = slow_watcher(three_hooks(&feed, &log));
    let later = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&later);
    let mut stream = stream.watch(move |bytes| {
        seen.lock().unwrap().push(bytes);
        ready(ControlFlow::Continue(()))
    });
    [text("ab"), text("cd")].into_iter().for_each(|event| feed.push(Some(Ok(event))));
    for _ in 0..3 {
        assert!(stream.next().now_or_never().is_none(), "the decision is awaited");
    }
    trips.add_permits(1);
    assert_eq!(next(&mut stream).unwrap().unwrap(), text("ab"));
    assert!(stream.next().now_or_never().is_none());
    assert!(lines(&log).is_empty(), "nothing has ended");
    trips.add_permits(1);
    assert_eq!(next(&mut stream).unwrap().unwrap(), text("cd"));
    assert_eq!(*asked.lock().unwrap(), [2, 4], "each piece is asked about once");
    assert_eq!(*later.lock().unwrap(), [2], "a watcher is asked after the one before it");
    assert_eq!(lines(&log), from_inner_to_outer(r#"dropped "abcd""#));
}

#[test]
fn watch_pending_decision_dropped_before_hooks() {
    struct Gone(Log);
    impl Drop for Gone {
        fn drop(&mut self) {
            self.0.lock().unwrap().push("decision dropped".to_owned());
        }
    }
    let (feed, log) = (Feed::default(), Log::default());
    let stream = hooked(feed.stream(&Log::default()), "hook", &log);
    let seen = log.clone();
    let mut stream = stream.watch(move |_| {
        let gone = Gone(seen.clone());
        async move {
            let _gone = gone;
            std::future::pending().await
        }
    });
    feed.push(Some(Ok(text("ab"))));
    assert!(stream.next().now_or_never().is_none());
    drop(stream);
    assert_eq!(lines(&log), ["decision dropped", r#"hook: dropped "ab""#]);
}

#[test]
fn on_end_after_end_runs_at_once() {
    for (last, how) in [(None, r#"late: complete "ab""#), (Some(Err(broken())), r#"late: failed "ab" Incomplete"#)] {
        let (feed, log) = (Feed::default(), Log::default());
        let mut stream = feed.stream(&Log::default());
        feed.push(Some(Ok(text("ab"))));
        feed.push(last);
        while let Some(Ok(_)) = next(&mut stream) {}
        drop(hooked(stream, "late", &log));
        assert_eq!(lines(&log), [how]);
    }
}

#[test]
fn stream_usage_is_known_once_arrived() {
    let (feed, log) = (Feed::default(), Log::default());
    let mut stream = three_hooks(&feed, &log);
    feed.push(Some(Ok(ChatEvent::Usage(Usage::new(3, 4)))));
    feed.push(Some(Ok(ChatEvent::Usage(Usage::new(3, 5)))));
    feed.push(None);
    assert_eq!(stream.usage(), None);
    next(&mut stream);
    assert_eq!(stream.usage(), Some(Usage::new(3, 4)));
    while next(&mut stream).is_some() {}
    assert_eq!(stream.usage(), Some(Usage::new(3, 5)));
}

#[test]
fn complete_includes_pieces_read_before() {
    let (feed, log) = (Feed::default(), Log::default());
    let mut stream = three_hooks(&feed, &log);
    for event in [Some(Ok(text("a"))), Some(Ok(text("b"))), None] {
        feed.push(event);
    }
    next(&mut stream);
    assert_eq!(stream.complete().now_or_never().unwrap().unwrap().text(), "ab");
    assert_eq!(lines(&log), from_inner_to_outer(r#"complete "ab""#));
}

#[test]
fn complete_fails_with_stream_error() {
    let (feed, log) = (Feed::default(), Log::default());
    feed.push(Some(Ok(text("a"))));
    feed.push(Some(Err(broken())));
    let error = feed.stream(&log).complete().now_or_never().unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Incomplete);
}

/// After content has arrived, the stream may be charged, whatever the error says. Before that, the error decides.
#[test]
fn on_end_after_content_may_charge() {
    let busy = |charge| Error::new(ErrorKind::Overloaded, "busy").with_charge(charge);
    let used = Charge::Known(Usage::new(3, 1));
    let start = || ChatEvent::Start { id: "1".into(), model: "m".into() };
    for (first, charge, expected) in [
        (start(), Charge::None, Charge::None),
        (start(), Charge::Unknown, Charge::Unknown),
        (text("a"), Charge::None, Charge::Unknown),
        (text("a"), used, used),
    ] {
        let stream = ChatStream::new(futures_util::stream::iter([Ok(first.clone()), Err(busy(charge))]));
        let error = stream.complete().now_or_never().unwrap().unwrap_err();
        assert_eq!(error.charge(), expected, "{first:?} {charge:?}");
    }
    for (charge, expected) in [(Charge::None, Charge::Unknown), (used, used)] {
        let stream = ChatStream::new(futures_util::stream::iter([Ok(text("a")), Ok(text("b"))]));
        let cut = stream.watch(move |_| ready(ControlFlow::Break(StreamCut::Fail(busy(charge)))));
        assert_eq!(cut.complete().now_or_never().unwrap().unwrap_err().charge(), expected, "{charge:?}");
    }
}
