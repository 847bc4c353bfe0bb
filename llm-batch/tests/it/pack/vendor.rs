//! Chat vendor that reads packed requests as a model would, and can be made to fail.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_util::future::join_all;
use llm_batch::pack::{Check, PackLayer};
use llm_core::{
    Call, ChatRequest, ChatResponse, Choice, Error, FinishReason, Part, Receipt, Reply, Usage, Usd,
    layer::{Accounting, LlmService, oneshot},
};
use serde_json::json;
use tokio::time::sleep;
use tower::{service_fn, util::BoxCloneSyncService};

pub(crate) const LATENCY: Duration = Duration::from_millis(100);

pub(crate) type Service = BoxCloneSyncService<Call<ChatRequest>, Reply<ChatResponse>, Error>;

/// One prompt of a request, as the vendor read it.
#[derive(Clone, Debug)]
pub(crate) struct Prompt {
    pub(crate) id: String,
    pub(crate) text: String,
}

impl Prompt {
    /// Returns the right answer: the decoy's nonce, or a word followed by the prompt's text.
    pub(crate) fn answer(&self) -> String {
        answer(&self.text)
    }

    pub(crate) fn is_decoy(&self) -> bool {
        self.text.starts_with(DECOY)
    }
}

const DECOY: &str = "Answer with exactly this text and nothing else: ";

pub(crate) fn answer(text: &str) -> String {
    text.strip_prefix(DECOY).map_or_else(|| format!("echo {text}"), str::to_owned)
}

/// Requests that a vendor received, each with its prompts.
#[derive(Clone, Default)]
pub(crate) struct Requests(Arc<Mutex<Vec<Sent>>>);

type Sent = (Vec<Prompt>, ChatRequest);

/// Vendor's response to the prompts of one request, or its error.
pub(crate) type Said = Result<String, Error>;

impl Requests {
    /// Returns the number of prompts of each request, without the decoy.
    pub(crate) fn sizes(&self) -> Vec<usize> {
        self.all().iter().map(|(prompts, _)| prompts.iter().filter(|prompt| !prompt.is_decoy()).count()).collect()
    }

    pub(crate) fn all(&self) -> Vec<Sent> {
        self.0.lock().expect("no test panics holding it").clone()
    }

    /// Returns a vendor that answers several prompts by `packed`, and echoes a lone prompt.
    pub(crate) fn vendor(&self, packed: impl Fn(&[Prompt]) -> Said + Clone + Send + Sync + 'static) -> Service {
        self.vendor_of_lone(|prompt| Ok(prompt.answer()), packed)
    }

    /// Returns a vendor that answers a lone prompt by `lone`, and several prompts by `packed`.
    pub(crate) fn vendor_of_lone(
        &self,
        lone: impl Fn(&Prompt) -> Said + Clone + Send + Sync + 'static,
        packed: impl Fn(&[Prompt]) -> Said + Clone + Send + Sync + 'static,
    ) -> Service {
        let requests = self.clone();
        BoxCloneSyncService::new(service_fn(move |call: Call<ChatRequest>| {
            let (requests, lone, packed) = (requests.clone(), lone.clone(), packed.clone());
            async move {
                call.mark_sent();
                let prompts = prompts(&call.body);
                requests.0.lock().expect("no test panics holding it").push((prompts.clone(), call.body.clone()));
                sleep(LATENCY).await;
                let text = match &prompts[..] {
                    [only] if only.id.is_empty() => lone(only)?,
                    _ => packed(&prompts)?,
                };
                Ok(reply(&call.body, &text))
            }
        }))
    }

    /// Returns a vendor that answers every prompt.
    pub(crate) fn kind(&self) -> Service {
        self.vendor(|prompts| Ok(written(&entries(prompts))))
    }
}

/// Returns the prompts of a request: the texts between the item marks, or the whole text.
pub(crate) fn prompts(request: &ChatRequest) -> Vec<Prompt> {
    let parts = request.messages.last().expect("there is a message").parts.iter();
    let texts = parts.map(|part| match part {
        Part::Text { text, .. } => text.to_string(),
        _ => "<image>".to_owned(),
    });
    let text: String = texts.collect();
    if !text.contains("Respond with one JSON object") {
        return vec![Prompt { id: String::new(), text }];
    }
    let (mut rest, mut prompts) = (&text[..], Vec::new());
    while let Some(at) = rest.find("\n[item ") {
        let (id, body) = rest[at + 7..].split_once("]\n").expect("the fence is whole");
        let (item, behind) = body.split_once(&format!("\n[end {id}]\n")).expect("the item ends");
        prompts.push(Prompt { id: id.to_owned(), text: item.to_owned() });
        rest = behind;
    }
    prompts
}

/// Returns the right answer of each prompt, by its id.
pub(crate) fn entries(prompts: &[Prompt]) -> Vec<(String, String)> {
    prompts.iter().map(|prompt| (prompt.id.clone(), prompt.answer())).collect()
}

/// Writes a packed response.
pub(crate) fn written(entries: &[(String, String)]) -> String {
    let entries: Vec<_> = entries.iter().map(|(id, answer)| json!({"id": id, "answer": answer})).collect();
    json!({ "answers": entries }).to_string()
}

/// Creates a reply. A token is four bytes, and costs 10 nano-dollars as input and 40 as output.
pub(crate) fn reply(request: &ChatRequest, text: &str) -> Reply<ChatResponse> {
    let bytes: usize = request
        .messages
        .iter()
        .flat_map(|message| &message.parts)
        .map(|part| match part {
            Part::Text { text, .. } => text.len(),
            _ => 4_000,
        })
        .sum();
    let choice = Choice::new(0, vec![Part::text(text)], FinishReason::Stop);
    let mut accounting = Accounting::default();
    let usage = Usage::new(bytes as u64 / 4, text.len() as u64 / 4);
    accounting.usage = Some(usage);
    accounting.cost = Some(Usd::from_nanos((10 * usage.input + 40 * usage.output) as i64));
    accounting.list = accounting.cost;
    Reply::new(ChatResponse::new("1", "m", vec![choice]), Receipt::new(accounting))
}

/// Returns a layer with packs of `size` prompts, without a check, and with random numbers from `seed`.
pub(crate) fn layer(size: usize, seed: u64) -> PackLayer {
    checked(size, seed, Check::new(0.0, 0.05))
}

pub(crate) fn checked(size: usize, seed: u64, check: Check) -> PackLayer {
    PackLayer::new(check).start_size(size).random(random(seed))
}

/// Returns a source of pseudo-random numbers (SplitMix64).
pub(crate) fn random(seed: u64) -> impl Fn() -> u64 + Send + Sync {
    let state = AtomicU64::new(seed);
    move || {
        let mut z = state.fetch_add(0x9e37_79b9_7f4a_7c15, Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

pub(crate) fn request(text: &str) -> ChatRequest {
    ChatRequest::new("m").system("Answer each question.").user(text).max_output_tokens(100)
}

/// Sends one prompt for each text, all at once.
pub(crate) async fn send(
    service: &(impl LlmService<ChatRequest> + Sync),
    texts: &[String],
) -> Vec<Result<Reply<ChatResponse>, Error>> {
    join_all(texts.iter().map(|text| oneshot(service.clone(), Call::new("acme", request(text))))).await
}

pub(crate) fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("question {n}")).collect()
}

/// Returns the number of replies that contain the right answer to their own text.
pub(crate) fn right(texts: &[String], replies: &[Result<Reply<ChatResponse>, Error>]) -> usize {
    let is_right = |(text, reply): &(&String, &Result<Reply<ChatResponse>, Error>)| {
        reply.as_ref().is_ok_and(|reply| reply.output.text() == answer(text))
    };
    texts.iter().zip(replies).filter(is_right).count()
}
