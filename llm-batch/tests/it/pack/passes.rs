//! Tests of requests that are not packed, and of calls that do not share a pack.

use std::sync::Arc;

use futures_util::future::join_all;
use llm_batch::pack::Packer;
use llm_core::{
    Call, ChatRequest, EmbedRequest, Embeddings, Error, ErrorKind, Message, Operation, Part, Priority, Receipt, Reply,
    Role, Task, Tasks, Tool,
    chat::{ImageSource, ResponseFormat, Sampling},
    layer::{Fingerprinter, Pinned, Streamed, oneshot},
};
use serde_json::json;
use tokio::time::{Instant, timeout};
use tower::{Layer, ServiceBuilder, service_fn};

use crate::pack::vendor::{LATENCY, Requests, layer, numbered, request, right, send};

type Change = fn(ChatRequest) -> ChatRequest;
type BoxedChange = Box<dyn Fn(ChatRequest) -> ChatRequest>;

#[tokio::test(start_paused = true)]
async fn requests_that_cannot_be_packed_pass() {
    let sampled = |change: fn(&mut Sampling)| {
        move |mut request: ChatRequest| {
            change(&mut request.sampling);
            request
        }
    };
    let cases: Vec<(&str, BoxedChange)> = vec![
        ("several choices", Box::new(sampled(|s| s.n = Some(2)))),
        ("stop texts", Box::new(sampled(|s| s.stop = vec!["x".into()]))),
        ("probabilities", Box::new(sampled(|s| s.logprobs = Some(true)))),
        ("no bound", Box::new(sampled(|s| s.max_output_tokens = None))),
        ("tools", Box::new(|r: ChatRequest| r.tool(Tool::function("f", "", json!({}))))),
        ("JSON object", Box::new(|r: ChatRequest| r.response_format(ResponseFormat::JsonObject))),
        ("audio", Box::new(|r: ChatRequest| r.extra("modalities", json!(["audio"])))),
        ("a vendor's id", Box::new(|r: ChatRequest| r.extra("previous_response_id", "resp_1"))),
        (
            "a vendor's file",
            Box::new(|r: ChatRequest| {
                let value = Arc::new(json!({"type": "file", "file": {"file_id": "file-1"}}));
                r.message(Message::new(Role::User, vec![Part::Other { value }]))
            }),
        ),
        (
            "an address",
            Box::new(|r: ChatRequest| {
                let mut image = Part::image("image/png", &b"x"[..]);
                if let Part::Image(image) = &mut image {
                    image.source = ImageSource::Url { url: "https://example.com/a.png".into() };
                }
                r.message(Message::new(Role::User, vec![image]))
            }),
        ),
        ("an answer last", Box::new(|r: ChatRequest| r.message(Message::assistant("and")))),
    ];
    for (name, change) in cases {
        let requests = Requests::default();
        let pack = layer(3, 1).layer(requests.kind());
        let start = Instant::now();
        let call = |n: usize| oneshot(pack.clone(), Call::new("acme", change(request(&format!("question {n}")))));
        join_all((0..3).map(call)).await;
        assert_eq!((requests.sizes(), start.elapsed()), (vec![1; 3], LATENCY), "{name}");
        assert_eq!(pack.stats().batches.calls, 0, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn unequal_frames_share_no_pack() {
    let changes: Vec<Change> = vec![
        |r| r,
        |r| r.temperature(0.5),
        |r| ChatRequest { model: "other".into(), ..r },
        |r| ChatRequest { reasoning_effort: Some("low".into()), ..r },
        |r| r.extra("user", "someone"),
        |mut r| {
            Arc::make_mut(&mut r.messages)[0] = Message::system("Answer otherwise.");
            r
        },
    ];
    let requests = Requests::default();
    let pack = layer(8, 1).layer(requests.kind());
    let calls = (0..3).flat_map(|n| changes.iter().map(move |change| change(request(&format!("question {n}")))));
    let calls = calls.map(|request| Call::new("acme", request));
    let replies = join_all(calls.map(|call| oneshot(pack.clone(), call))).await;
    assert!(replies.iter().all(Result::is_ok));
    assert_eq!(requests.sizes(), [3; 6]);
}

#[tokio::test(start_paused = true)]
async fn bounds_may_differ_in_a_pack() {
    let requests = Requests::default();
    let pack = layer(3, 1).layer(requests.kind());
    let call = |bound: u64| oneshot(pack.clone(), Call::new("acme", request("question").max_output_tokens(bound)));
    join_all([10, 20, 30].map(call)).await;
    let (_, packed) = &requests.all()[0];
    assert_eq!(packed.sampling.max_output_tokens, Some(10 + 20 + 30 + 4 * 32));
}

#[tokio::test(start_paused = true)]
async fn tenants_priorities_and_pins_share_no_pack() {
    let requests = Requests::default();
    let pack = layer(8, 1).layer(requests.kind());
    let calls = |n: usize| {
        let call = |tenant: &str| Call::new(tenant, request(&format!("question {n} of {tenant}")));
        let mut pinned = call("acme");
        pinned.extensions.insert(Pinned::to("eu"));
        [call("acme"), call("other"), call("acme").with_priority(Priority::Background), pinned]
    };
    join_all((0..3).flat_map(calls).map(|call| oneshot(pack.clone(), call))).await;
    assert_eq!(requests.sizes(), [3; 4]);
}

#[tokio::test(start_paused = true)]
async fn streams_and_embeddings_pass_through() {
    let vendor = service_fn(|call: Call<EmbedRequest>| async move {
        Ok::<_, Error>(Reply::new(Embeddings::new(call.body.model, vec![]), Receipt::default()))
    });
    let requests = Requests::default();
    let both = Both(requests.kind(), vendor);
    let pack = layer(8, 1).layer(both);
    assert!(oneshot(pack.clone(), Call::new("acme", EmbedRequest::new("m", ["a"]))).await.is_ok());
    assert!(oneshot(pack, Call::new("acme", Streamed(request("hello")))).await.is_ok());
}

/// Service that serves chat by its first field, embeddings by its second, and streams without events.
#[derive(Clone)]
struct Both<C, E>(C, E);

impl<C, E> tower::Service<Call<ChatRequest>> for Both<C, E>
where
    C: llm_core::layer::LlmService<ChatRequest>,
{
    llm_core::layer::always_ready!(llm_core::ChatResponse);

    fn call(&mut self, call: Call<ChatRequest>) -> Self::Future {
        llm_core::layer::ResponseFuture::waiting(oneshot(self.0.clone(), call))
    }
}

impl<C, E> tower::Service<Call<EmbedRequest>> for Both<C, E>
where
    E: llm_core::layer::LlmService<EmbedRequest>,
{
    llm_core::layer::always_ready!(Embeddings);

    fn call(&mut self, call: Call<EmbedRequest>) -> Self::Future {
        llm_core::layer::ResponseFuture::waiting(oneshot(self.1.clone(), call))
    }
}

impl<C, E> tower::Service<Call<Streamed<ChatRequest>>> for Both<C, E> {
    llm_core::layer::always_ready!(llm_core::ChatStream);

    fn call(&mut self, _: Call<Streamed<ChatRequest>>) -> Self::Future {
        let stream = llm_core::ChatStream::new(futures_util::stream::empty());
        llm_core::layer::ResponseFuture::ready(Ok(Reply::new(stream, Receipt::default())))
    }
}

/// Application operation.
#[derive(Clone)]
struct Describe(String);

impl Operation for Describe {
    type Output = String;

    const NAME: &'static str = "describe";

    fn model(&self) -> &str {
        "m"
    }

    fn fingerprint(&self, h: &mut Fingerprinter) {
        h.text(&self.0);
    }
}

impl Task for Describe {
    fn to_request(&self) -> ChatRequest {
        request(&self.0)
    }

    fn parse_response(&self, response: llm_core::ChatResponse) -> Result<String, Error> {
        Ok(response.text().into_owned())
    }
}

#[tokio::test(start_paused = true)]
async fn tasks_above_are_packed() {
    let requests = Requests::default();
    let service = ServiceBuilder::new().layer_fn(Tasks::new).layer(layer(4, 1)).service(requests.kind());
    let describe = |n: usize| oneshot(service.clone(), Call::new("acme", Describe(format!("photo {n}"))));
    let replies = join_all((0..4).map(describe)).await;
    for (n, reply) in replies.iter().enumerate() {
        assert_eq!(reply.as_ref().expect("it was answered").output, format!("echo photo {n}"));
    }
    assert_eq!(requests.sizes(), [4]);
}

struct Shouting;

impl Packer for Shouting {
    fn name(&self) -> &'static str {
        "shouting"
    }

    fn accepts(&self, request: &ChatRequest) -> bool {
        request.messages.last().is_some_and(|message| {
            message.parts.iter().any(|part| match part {
                Part::Text { text, .. } => text.ends_with('!'),
                _ => false,
            })
        })
    }
}

#[tokio::test(start_paused = true)]
async fn packers_share_no_pack() {
    let requests = Requests::default();
    let pack = layer(8, 1).packer(Shouting).layer(requests.kind());
    let texts: Vec<String> =
        (0..8).map(|n| if n % 2 == 0 { format!("question {n}") } else { format!("{n}!") }).collect();
    assert_eq!(right(&texts, &send(&pack, &texts).await), 8);
    assert_eq!(requests.sizes(), [4, 4]);
    let names: Vec<_> = pack.sizes().iter().map(|size| size.packer).collect();
    assert_eq!(names, ["chat", "shouting"]);
}

#[tokio::test(start_paused = true)]
async fn size_of_one_turns_packing_off() {
    let requests = Requests::default();
    let pack = layer(1, 1).layer(requests.kind());
    let start = Instant::now();
    let texts = numbered(5);
    assert_eq!(right(&texts, &send(&pack, &texts).await), 5);
    assert_eq!((requests.sizes(), start.elapsed()), (vec![1; 5], LATENCY));
}

#[tokio::test(start_paused = true)]
async fn max_tokens_bounds_a_pack() {
    let requests = Requests::default();
    let pack = layer(8, 1).max_tokens(600).layer(requests.kind());
    let texts: Vec<String> = (0..8).map(|n| format!("{n} {}", "x".repeat(400))).collect();
    assert_eq!(right(&texts, &send(&pack, &texts).await), 8);
    assert!(requests.sizes().iter().all(|size| *size <= 5), "{:?}", requests.sizes());
    let large = vec!["x".repeat(9_000)];
    assert_eq!(right(&large, &send(&pack, &large).await), 1);
}

#[tokio::test(start_paused = true)]
async fn max_output_tokens_bounds_a_pack() {
    // The model writes at most 16,384 output tokens, which is the default.
    for (bounds, sent) in [
        (&[100; 8][..], 1),
        (&[4_096; 8], 3),
        (&[10_000; 4], 4),
        (&[20_000; 3], 3),
        (&[100, 100, 16_000, 100, 100], 2),
        (&[16_352, 100, 100, u64::MAX, 100], 3),
    ] {
        let requests = Requests::default();
        let pack = layer(8, 1).layer(requests.kind());
        let call = |bound: &u64| oneshot(pack.clone(), Call::new("acme", request("one").max_output_tokens(*bound)));
        let replies = join_all(bounds.iter().map(call)).await;
        assert!(replies.iter().all(Result::is_ok), "{bounds:?}");
        let packed = requests.all().into_iter().filter(|(prompts, _)| prompts.len() > 1);
        let packed: Vec<_> = packed.filter_map(|(_, request)| request.sampling.max_output_tokens).collect();
        assert!(packed.iter().all(|bound| *bound <= 16_384), "{bounds:?}: {packed:?}");
        assert_eq!(requests.sizes().len(), sent, "{bounds:?}: {:?}", requests.sizes());
    }
}

#[tokio::test(start_paused = true)]
async fn lone_prompt_is_sent_after_max_wait() {
    let requests = Requests::default();
    let pack = layer(8, 1).layer(requests.kind());
    let start = Instant::now();
    let texts = numbered(1);
    let replies = send(&pack, &texts).await;
    assert_eq!((right(&texts, &replies), requests.sizes()), (1, vec![1]));
    assert!(start.elapsed() <= LATENCY + std::time::Duration::from_millis(52), "{:?}", start.elapsed());
    assert!(!replies[0].as_ref().expect("it was answered").receipt.accounting().packed);
}

#[tokio::test(start_paused = true)]
async fn shadow_counts_packs_and_sends_alone() {
    let requests = Requests::default();
    let pack = layer(4, 1).shadow().layer(requests.kind());
    let texts = numbered(10);
    assert_eq!(right(&texts, &send(&pack, &texts).await), 10);
    assert_eq!(requests.sizes(), [1; 10]);
    let batches = pack.stats().batches;
    assert_eq!((batches.calls, batches.requests, batches.saved()), (10, 3, 7));
}

#[tokio::test(start_paused = true)]
async fn pack_close_sends_open_packs() {
    let requests = Requests::default();
    let pack = layer(8, 1).max_wait(std::time::Duration::from_secs(60)).layer(requests.kind());
    let texts = numbered(3);
    let (replies, ()) = tokio::join!(send(&pack, &texts), pack.close());
    assert_eq!((right(&texts, &replies), requests.sizes()), (3, vec![3]));
    let late = send(&pack, &texts).await;
    assert!(late.iter().all(|reply| reply.as_ref().is_err_and(|error| error.kind() == ErrorKind::Closed)));
}

#[tokio::test(start_paused = true)]
async fn prompt_that_left_is_not_sent() {
    let requests = Requests::default();
    let pack = layer(8, 1).layer(requests.kind());
    let leaves = timeout(LATENCY / 10, oneshot(pack.clone(), Call::new("acme", request("leaves"))));
    let texts = numbered(3);
    let (left, replies) = tokio::join!(leaves, send(&pack, &texts));
    assert!(left.is_err());
    assert_eq!((right(&texts, &replies), requests.sizes()), (3, vec![3]));
}
