//! Tests that streamed calls resolve at their first content: the client holds earlier events back.

use std::{
    collections::VecDeque,
    convert::Infallible,
    future::{Future, Ready, ready},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures_util::StreamExt;
use http::{Request, Response};
use http_body::{Body, Frame};
use llm_providers::{
    Anthropic, Gemini, Ledger, OpenAi,
    llm_core::{
        Call, Charge, ChatEvent, ChatRequest, Error, ErrorKind, Provider, into_provider, into_service,
        price::PriceTable,
    },
    retry::RetryLayer,
};
use llm_testkit::{self as simulated, Fault, RefusalKind, Rule};
use tokio::time::{Instant, Sleep, sleep};
use tower::{Layer, Service};

/// Each attempt that the vendor refuses within its stream costs nothing, and is followed by another one.
#[tokio::test(start_paused = true)]
async fn stream_refused_before_content_is_retried_free() {
    let vendor = simulated::Vendor::builder().response_tokens(12..=12).build();
    let clients: [fn(simulated::Transport) -> Box<dyn Provider>; 3] = [
        |transport| Box::new(OpenAi::with_transport("sk-test", transport).unwrap()),
        |transport| Box::new(Anthropic::with_transport("sk-test", transport).unwrap()),
        |transport| Box::new(Gemini::with_transport("test-key", transport).unwrap()),
    ];
    for client in clients {
        vendor.script(Rule::new(Fault::RefusedInStream(RefusalKind::Overloaded)).times(2));
        let ledger = Ledger::new(PriceTable::default());
        let stack = tower::ServiceBuilder::new().layer(RetryLayer::new()).layer(ledger.attempts());
        let provider = into_provider(stack.service(into_service::<dyn Provider>(client(vendor.transport()).into())));
        let stream = provider.chat_stream(question()).await.unwrap().output;
        assert!(!stream.complete().await.unwrap().text().is_empty());
        let row = ledger.snapshot().total().clone();
        assert_eq!((row.attempts, row.unconfirmed.count, row.unpriced_attempts), (3, 0, 1), "{row:?}");
    }
    assert_eq!((vendor.calls(), vendor.bills().len()), (9, 3));
}

/// Transport that sends each of these pieces after a number of seconds, and then nothing more.
#[derive(Clone, Default)]
struct Timed(Vec<(u64, Bytes)>);

struct TimedBody(VecDeque<(u64, Bytes)>, Option<Pin<Box<Sleep>>>);

impl Timed {
    fn then(mut self, seconds: u64, piece: impl Into<Bytes>) -> Self {
        self.0.push((seconds, piece.into()));
        self
    }

    /// Returns a transport that sends all pieces at once.
    fn at_once(pieces: &[&'static str]) -> Self {
        pieces.iter().fold(Self::default(), |timed, piece| timed.then(0, *piece))
    }
}

impl Service<Request<Bytes>> for Timed {
    type Response = Response<TimedBody>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Bytes>) -> Self::Future {
        let response = Response::builder().header("content-type", "text/event-stream");
        ready(Ok(response.body(TimedBody(self.0.clone().into(), None)).unwrap()))
    }
}

impl Body for TimedBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some((seconds, _)) = self.0.front() else { return Poll::Pending };
        let wait = Duration::from_secs(*seconds);
        ready!(self.1.get_or_insert_with(|| Box::pin(sleep(wait))).as_mut().poll(cx));
        self.1 = None;
        let piece = self.0.pop_front().map(|(_, piece)| Ok(Frame::data(piece)));
        Poll::Ready(piece)
    }
}

/// Vendor's client, the events before its first content, and its overload error as an event.
type Vendor = (fn(Timed) -> Box<dyn Provider>, &'static [&'static str], &'static str);

const VENDORS: [Vendor; 3] = [
    (
        |timed| Box::new(OpenAi::with_transport("sk-test", timed).unwrap()),
        &[
            "data: {\"id\":\"\",\"model\":\"\",\"choices\":[],\"prompt_filter_results\":[{\"prompt_index\":0}]}\n\n",
            "data: {\"id\":\"1\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n",
            ": waiting\n\n",
        ],
        "data: {\"error\":{\"message\":\"busy\",\"type\":\"service_unavailable_error\",\"code\":\"server_is_overloaded\"}}\n\n",
    ),
    (
        |timed| Box::new(Anthropic::with_transport("sk-test", timed).unwrap()),
        &[
            "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"1\",\"model\":\"m\",\"content\":[],\"usage\":{\"input_tokens\":9,\"output_tokens\":1}}}\n\n",
            "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n",
            "event: ping\ndata: {\"type\":\"ping\"}\n\n",
        ],
        "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"busy\"}}\n\n",
    ),
    (
        |timed| Box::new(Gemini::with_transport("test-key", timed).unwrap()),
        &["data: {\"candidates\":[{\"content\":{\"role\":\"model\"},\"index\":0}],\"modelVersion\":\"m\"}\r\n\r\n"],
        "data: {\"error\":{\"code\":503,\"message\":\"busy\",\"status\":\"UNAVAILABLE\"}}\r\n\r\n",
    ),
];

fn question() -> Call<ChatRequest> {
    Call::new("t", ChatRequest::new("m").user("hello"))
}

/// Reads a stream up to its error, and returns the error.
async fn ending(client: &dyn Provider) -> Error {
    let mut stream = client.chat_stream(question()).await.expect("content came").output;
    loop {
        if let Err(error) = stream.next().await.expect("it does not end well") {
            return error;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn stream_refused_before_content_fails_the_call() {
    for (client, handshake, overload) in VENDORS {
        for held in 0..=handshake.len() {
            let timed = Timed::at_once(&handshake[..held]).then(5, overload);
            let error = client(timed).chat_stream(question()).await.expect_err("nothing came");
            assert_eq!((error.kind(), error.charge()), (ErrorKind::Overloaded, Charge::None), "{held} {overload}");
            assert!(error.is_retryable());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn stream_broken_before_content_has_unknown_charge() {
    let failure = "data: {\"error\":{\"message\":\"it broke\",\"type\":\"server_error\",\"code\":null}}\n\n";
    let (client, handshake, _) = VENDORS[0];
    let error = client(Timed::at_once(handshake).then(0, failure)).chat_stream(question()).await.expect_err("none");
    assert_eq!((error.kind(), error.charge()), (ErrorKind::Server, Charge::Unknown));
}

#[tokio::test(start_paused = true)]
async fn stream_refused_after_content_has_unknown_charge() {
    let contents = [
        "data: {\"id\":\"1\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n",
        "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"a\"}}\n\n",
        "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\"}]},\"index\":0}],\"modelVersion\":\"m\"}\r\n\r\n",
    ];
    for ((client, handshake, overload), content) in VENDORS.into_iter().zip(contents) {
        let error = ending(&*client(Timed::at_once(handshake).then(0, content).then(5, overload))).await;
        assert_eq!((error.kind(), error.charge()), (ErrorKind::Overloaded, Charge::Unknown), "{content}");
    }
}

/// The model has written tokens, although the tool call is only emitted when it is complete.
#[tokio::test(start_paused = true)]
async fn stream_refused_late_has_unknown_charge() {
    let calls = [
        "data: {\"id\":\"1\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"c\",\"function\":{\"arguments\":\"{\"}}]}}]}\n\n",
        "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"server_tool_use\",\"id\":\"c\",\"name\":\"web_search\",\"input\":{}}}\n\n",
        "data: {\"candidates\":[{\"content\":{\"parts\":[{\"functionCall\":{\"name\":\"f\",\"willContinue\":true}}]},\"index\":0}],\"modelVersion\":\"m\"}\r\n\r\n",
    ];
    for ((client, handshake, overload), call) in VENDORS.into_iter().zip(calls) {
        let timed = Timed::at_once(&handshake[..1]).then(0, call).then(5, overload);
        let error = client(timed).chat_stream(question()).await.expect_err("nothing was shown");
        assert_eq!((error.kind(), error.charge()), (ErrorKind::Overloaded, Charge::Unknown), "{call}");
    }
}

#[tokio::test(start_paused = true)]
async fn stream_resolves_at_each_kind_of_content() {
    let (client, handshake, _) = VENDORS[0];
    for delta in [
        "\"delta\":{\"content\":\"a\"}",
        "\"delta\":{\"reasoning_content\":\"a\"}",
        "\"delta\":{\"refusal\":\"a\"}",
        "\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"c\",\"function\":{\"name\":\"f\",\"arguments\":\"\"}}]}",
        "\"delta\":{},\"finish_reason\":\"stop\"",
    ] {
        let chunk =
            format!("data: {{\"id\":\"1\",\"model\":\"m\",\"choices\":[{{\"index\":0,{delta}}}]}}\n\ndata: [DONE]\n\n");
        let start = Instant::now();
        let reply = client(Timed::at_once(handshake).then(3, chunk)).chat_stream(question()).await.unwrap();
        assert_eq!(start.elapsed().as_secs(), 3, "{delta}");
        let events: Vec<_> = reply.output.filter_map(async |event| event.ok()).collect().await;
        assert!(matches!(&events[..2], [ChatEvent::Extra { .. }, ChatEvent::Start { .. }]), "{events:?}");
        assert!(events[2..].iter().any(ChatEvent::is_content), "{events:?}");
    }
}

/// A model may reason for minutes, while its stream continues.
#[tokio::test(start_paused = true)]
async fn stream_hold_ends_after_ten_seconds() {
    let (client, handshake, overload) = VENDORS[1];
    let delta = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"a\"}}\n\n";
    let pings = (0..100).fold(Timed::at_once(handshake), |timed, _| timed.then(3, handshake[2]));
    let start = Instant::now();
    let mut stream = client(pings.then(3, delta).then(0, overload)).chat_stream(question()).await.unwrap().output;
    assert_eq!(start.elapsed().as_secs(), 10);
    assert!(matches!(stream.next().await, Some(Ok(ChatEvent::Start { .. }))), "what was held back");
    assert!(matches!(stream.next().await, Some(Ok(ChatEvent::Text { .. }))));
    assert_eq!(start.elapsed().as_secs(), 303);
    assert!(stream.next().await.unwrap().is_err());
}

/// The call has already resolved, although the vendor has done no work.
#[tokio::test(start_paused = true)]
async fn stream_refused_after_hold_costs_nothing() {
    for (client, handshake, overload) in VENDORS {
        let ledger = Ledger::new(PriceTable::default());
        let timed = Timed::at_once(&handshake[..1]).then(0, handshake[handshake.len() - 1]).then(30, overload);
        let service = ledger.attempts().layer(into_service::<dyn Provider>(client(timed).into()));
        let mut stream = into_provider(service).chat_stream(question()).await.expect("the hold ended").output;
        let error = loop {
            if let Err(error) = stream.next().await.expect("it does not end well") {
                break error;
            }
        };
        assert_eq!((error.kind(), error.charge()), (ErrorKind::Overloaded, Charge::None), "{overload}");
        let row = ledger.snapshot().total().clone();
        assert_eq!((row.attempts, row.unconfirmed.count, row.unpriced_attempts), (1, 0, 0), "{row:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn stream_hold_ends_after_64_events() {
    let (client, handshake, _) = VENDORS[0];
    let chunk = |n| format!("data: {{\"id\":\"1\",\"model\":\"m\",\"choices\":[],\"system_fingerprint\":\"{n}\"}}\n\n");
    let timed = (0..200).fold(Timed::at_once(handshake), |timed, n| timed.then(0, chunk(n)));
    let start = Instant::now();
    let stream = client(timed).chat_stream(question()).await.unwrap().output;
    assert_eq!(start.elapsed(), Duration::ZERO);
    let events: Vec<_> = stream.take(64).map(Result::unwrap).collect().await;
    let numbers = events.iter().filter_map(|event| match event {
        ChatEvent::Extra { fields, .. } => fields.get("system_fingerprint")?.as_str()?.parse::<usize>().ok(),
        _ => None,
    });
    let numbers: Vec<_> = numbers.collect();
    assert!(numbers.len() > 50 && numbers.iter().copied().eq(0..numbers.len()), "in order: {numbers:?}");
}
