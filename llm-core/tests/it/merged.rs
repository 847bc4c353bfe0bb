//! Tests of merged calls: the response and the share of the cost that each caller gets, and callers that leave.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream};
use llm_core::{
    Call, Charge, ChatRequest, EmbedRequest, Embeddings, Error, ErrorKind, Operation, Priority, Receipt, Reply, Usage,
    Usd,
    layer::{
        Accounting, AttemptPermit, Broadcast, CallDeadline, CostShare, Fingerprinter, LateEnd, LlmService, Member,
        Members, NestedRetry, Pinned, Purpose, Reader, SentFlag, SharedDeadline, call_items, call_merged,
    },
};
use proptest::prelude::*;
use tokio::time::{sleep, timeout};

type Replies = Vec<Result<Reply<Embeddings>, Error>>;

const MS: Duration = Duration::from_millis(1);

fn call(texts: &[&str]) -> Call<EmbedRequest> {
    Call::new("acme", EmbedRequest::new("m", texts.iter().copied()))
}

/// Embeds each text as its length, which is also its number of tokens. Each token costs 3 nano-dollars.
fn embeddings(request: &EmbedRequest) -> Reply<Embeddings> {
    let lengths: Vec<u64> = request.inputs.iter().map(|input| format!("{input:?}").len() as u64 - 8).collect();
    let total = lengths.iter().sum();
    let vectors = lengths.iter().map(|length| Arc::from([*length as f32].as_slice())).collect();
    let mut accounting = Accounting::default();
    (accounting.usage, accounting.cost) = (Some(Usage::new(total, 0)), Some(cost(total)));
    Reply::new(Embeddings::new("m", vectors), Receipt::new(accounting))
}

fn cost(tokens: u64) -> Usd {
    Usd::from_nanos(3 * tokens as i64)
}

async fn vendor(call: Call<EmbedRequest>) -> Result<Reply<Embeddings>, Error> {
    call.mark_sent();
    sleep(100 * MS).await;
    Ok(embeddings(&call.body))
}

async fn merged(service: impl LlmService<EmbedRequest>, calls: Vec<Call<EmbedRequest>>) -> Replies {
    call_merged(service, calls, SharedDeadline::new()).await
}

fn vectors(reply: &Result<Reply<Embeddings>, Error>) -> Vec<f32> {
    reply.as_ref().expect("it was answered").output.vectors.iter().map(|vector| vector[0]).collect()
}

#[tokio::test(start_paused = true)]
async fn merged_call_gives_each_caller_its_response() {
    let calls = vec![call(&["a"]), call(&["bb", "ccc"]), call(&["dddd"])];
    let replies = merged(tower::service_fn(vendor), calls).await;
    assert_eq!(replies.iter().map(vectors).collect::<Vec<_>>(), [vec![1.0], vec![2.0, 3.0], vec![4.0]]);
    let usage: Vec<_> = replies.iter().flatten().filter_map(|reply| reply.receipt.usage()).collect();
    // The estimates are 1, 2 and 2 input tokens.
    assert_eq!(usage.iter().map(|usage| usage.input).collect::<Vec<_>>(), [2, 4, 4]);
    let costs: Usd = replies.iter().flatten().filter_map(|reply| reply.receipt.cost()).sum();
    assert_eq!(costs, cost(10));
    assert!(merged(tower::service_fn(vendor), vec![]).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn merged_call_without_items_moves_no_response() {
    let calls = vec![call(&["a"]), call(&[]), call(&["bb", "ccc"]), call(&[]), call(&["dddd"]), call(&[])];
    let replies = merged(tower::service_fn(vendor), calls).await;
    let expected = [vec![1.0], vec![], vec![2.0, 3.0], vec![], vec![4.0], vec![]];
    assert_eq!(replies.iter().map(vectors).collect::<Vec<_>>(), expected);
}

#[tokio::test(start_paused = true)]
async fn merged_call_has_envelope_of_its_members() {
    let seen = Arc::new(Mutex::new(None));
    let kept = Arc::clone(&seen);
    let service = tower::service_fn(move |call: Call<EmbedRequest>| {
        *kept.lock().unwrap() = Some(call.clone());
        vendor(call)
    });
    let with = |texts: &[&str], feature: &str| {
        let call = call(texts).with_label("feature", feature).unwrap().with_label("team", "search").unwrap();
        call.with_units(2)
    };
    let mut calls = vec![with(&["a"], "one"), with(&["b", "c"], "two").with_priority(Priority::Background)];
    calls[0].extensions.insert("of the first");
    calls[1].extensions.insert(NestedRetry);
    calls[1].extensions.insert(Purpose::Revalidation);
    let now = tokio::time::Instant::now().into_std();
    calls[0].deadline = Some(now + 5 * MS);
    calls[1].deadline = Some(now + 500 * MS);
    let deadline = SharedDeadline::new();
    let callers: Vec<_> = calls.iter().map(|call| deadline.join(CallDeadline::of(call))).collect();
    let replies = call_merged(service, calls, deadline).await;
    assert!(replies.iter().all(Result::is_ok));
    let sent = seen.lock().unwrap().take().unwrap();
    assert_eq!((sent.tenant.as_str(), sent.units, sent.priority), ("acme", 4, Priority::Interactive));
    assert_eq!(sent.labels.iter().collect::<Vec<_>>(), [("team", "search")]);
    assert_eq!((sent.deadline, CallDeadline::of(&sent).latest()), (None, Some(now + 500 * MS)));
    drop(callers);
    assert_eq!(sent.extensions.get::<&str>(), Some(&"of the first"));
    assert!(sent.extensions.get::<NestedRetry>().is_some() && sent.extensions.get::<AttemptPermit>().is_none());
    let members: &Members = sent.extensions.get().unwrap();
    let features: Vec<_> = members.iter().map(|member| (member.labels.get("feature"), member.weight)).collect();
    assert_eq!(features, [(Some("one"), 1), (Some("two"), 2)]);
    assert_eq!(members.iter().map(|member| member.purpose).collect::<Vec<_>>(), [None, Some(Purpose::Revalidation)]);
}

/// If a layer that merges calls is above another one, the members are those of all calls, each with its own weight.
#[tokio::test(start_paused = true)]
async fn merged_again_keeps_members_of_each() {
    let payers = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&payers);
    let service = tower::service_fn(move |call: Call<EmbedRequest>| {
        let members: &Members = call.extensions.get().expect("it is merged");
        let payer = |member: &Member| (member.tenant.to_string(), member.weight);
        *kept.lock().unwrap() = members.iter().map(payer).collect();
        vendor(call)
    });
    let of = |tenant: &str, texts: &[&str]| Call::new(tenant, call(texts).body);
    let again = tower::service_fn(move |merged_once: Call<EmbedRequest>| {
        let (service, other) = (service.clone(), of("third", &["f"]));
        async move { merged(service, vec![other, merged_once]).await.pop().expect("two calls") }
    });
    let replies = merged(again, vec![of("first", &["a"]), of("second", &["bb", "ccc"])]).await;
    assert_eq!(replies.iter().map(vectors).collect::<Vec<_>>(), [vec![1.0], vec![2.0, 3.0]]);
    let expected = [("third", 1), ("first", 1), ("second", 2)].map(|(tenant, weight)| (tenant.to_owned(), weight));
    assert_eq!(*payers.lock().unwrap(), expected);
    let usage: Vec<_> = replies.iter().flatten().filter_map(|reply| Some(reply.receipt.usage()?.input)).collect();
    assert_eq!(usage, [2, 4], "of 7 tokens, the third caller pays one");
}

#[tokio::test]
async fn merged_call_needs_every_members_permit() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let permit = |name: &'static str, budget: u64| {
        let asked = Arc::clone(&asked);
        AttemptPermit::new(move |failed: Error| {
            asked.lock().unwrap().push((name, failed.charge()));
            let within = matches!(failed.charge(), Charge::Known(usage) if usage.input <= budget);
            std::future::ready(if within { Ok(()) } else { Err(Error::new(ErrorKind::OverBudget, "no room")) })
        })
    };
    let granted = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&granted);
    let service = tower::service_fn(move |call: Call<EmbedRequest>| {
        let kept = Arc::clone(&kept);
        async move {
            let permit = call.extensions.get::<AttemptPermit>().unwrap();
            for tokens in [10, 100] {
                let failed =
                    Error::new(ErrorKind::Server, "it broke").with_charge(Charge::Known(Usage::new(tokens, 0)));
                let is_granted = permit.request(&failed).await.is_ok();
                kept.lock().unwrap().push(is_granted);
            }
            Err::<Reply<Embeddings>, _>(Error::new(ErrorKind::Server, "it broke"))
        }
    });
    let mut calls = vec![call(&["a"]), call(&["b"]), call(&["c"])];
    calls[0].extensions.insert(permit("first", 1_000));
    calls[2].extensions.insert(permit("last", 20));
    merged(service, calls).await;
    assert_eq!(*granted.lock().unwrap(), [true, false]);
    assert_eq!(
        *asked.lock().unwrap(),
        [("first", known(3)), ("last", known(4)), ("first", known(33)), ("last", known(34))]
    );
}

#[tokio::test]
async fn merged_call_splits_each_failed_attempt() {
    let failed = |model: &str, tokens| {
        let mut accounting = Accounting::default();
        accounting.model = Some(model.into());
        let error = Error::new(ErrorKind::Server, "it broke").with_charge(Charge::Known(Usage::new(tokens, 0)));
        error.with_accounting(accounting)
    };
    let service = tower::service_fn(move |call: Call<EmbedRequest>| async move {
        call.mark_sent();
        Err::<Reply<Embeddings>, _>(failed("large", 30).with_earlier_attempts(&failed("small", 11)))
    });
    let replies = merged(service, vec![call(&["a"]), call(&["b", "c"])]).await;
    for (reply, shares) in replies.into_iter().zip([[3, 10], [8, 20]]) {
        let error = reply.unwrap_err();
        assert_eq!(error.charge(), Charge::Known(Usage::new(shares[0] + shares[1], 0)));
        let attempts: Vec<_> = error.attempts().collect();
        assert_eq!(attempts.iter().map(|attempt| attempt.charge).collect::<Vec<_>>(), shares.map(known));
        let models = attempts.iter().filter_map(|attempt| attempt.accounting.as_ref()?.model.as_deref());
        assert!(models.eq(["small", "large"]));
    }
}

fn known(tokens: u64) -> Charge {
    Charge::Known(Usage::new(tokens, 0))
}

#[tokio::test]
async fn merged_call_that_fails_charges_each_share() {
    let service = tower::service_fn(|call: Call<EmbedRequest>| async move {
        call.mark_sent();
        let mut accounting = Accounting::default();
        accounting.usage = Some(Usage::new(11, 0));
        let error = Error::new(ErrorKind::Server, "it broke").with_charge(Charge::Known(Usage::new(11, 0)));
        Err::<Reply<Embeddings>, _>(error.with_accounting(accounting))
    });
    let replies = merged(service, vec![call(&["a"]), call(&["b", "c"])]).await;
    let errors: Vec<_> = replies.into_iter().map(Result::unwrap_err).collect();
    let shares = [Usage::new(3, 0), Usage::new(8, 0)];
    assert_eq!(errors.iter().map(Error::charge).collect::<Vec<_>>(), shares.map(Charge::Known));
    assert_eq!(errors.iter().map(|error| error.accounting().unwrap().usage.unwrap()).collect::<Vec<_>>(), shares);
}

#[tokio::test]
async fn merged_call_with_missing_responses_is_charged() {
    let service = tower::service_fn(|_: Call<EmbedRequest>| async {
        Ok::<_, Error>(embeddings(&EmbedRequest::new("m", ["one", "another"])))
    });
    let replies = merged(service, vec![call(&["a"]), call(&["b", "c"])]).await;
    let errors: Vec<_> = replies.into_iter().map(Result::unwrap_err).collect();
    assert!(errors.iter().all(|error| error.kind() == ErrorKind::Malformed));
    let charges = [Usage::new(3, 0), Usage::new(7, 0)].map(Charge::Known);
    assert_eq!(errors.iter().map(Error::charge).collect::<Vec<_>>(), charges);
}

#[tokio::test]
async fn merged_call_refuses_unlike_requests() {
    let service =
        tower::service_fn(|_: Call<EmbedRequest>| async { Err::<Reply<Embeddings>, _>(Error::invalid("it was sent")) });
    let other = Call::new("acme", EmbedRequest::new("another", ["b"]));
    let replies: Replies = merged(service, vec![call(&["a"]), other]).await;
    assert!(replies.iter().all(|reply| {
        let error = reply.as_ref().unwrap_err();
        (error.kind(), error.charge()) == (ErrorKind::Unsupported, Charge::None)
    }));
}

#[tokio::test]
async fn merged_call_goes_to_pinned_group() {
    for (groups, expected) in [
        ([None, None], Ok(None)),
        ([Some("eu"), None], Ok(Some("eu"))),
        ([None, Some("eu")], Ok(Some("eu"))),
        ([Some("eu"), Some("eu")], Ok(Some("eu"))),
        ([Some("eu"), Some("us")], Err(ErrorKind::Unsupported)),
    ] {
        let seen = Arc::new(Mutex::new(None));
        let kept = Arc::clone(&seen);
        let service = tower::service_fn(move |call: Call<EmbedRequest>| {
            *kept.lock().unwrap() = call.extensions.get::<Pinned>().map(|pinned| pinned.group().to_owned());
            std::future::ready(Ok::<_, Error>(embeddings(&call.body)))
        });
        let calls = groups.map(|group| {
            let mut call = call(&["a"]);
            group.into_iter().for_each(|group| drop(call.extensions.insert(Pinned::to(group))));
            call
        });
        let replies = merged(service, calls.into()).await;
        let sent_to = seen.lock().unwrap().take();
        for reply in replies {
            assert_eq!(reply.map(|_| sent_to.as_deref()).map_err(|error| error.kind()), expected, "{groups:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn call_items_divides_one_callers_call() {
    let request = EmbedRequest::new("m", ["known", "bb", "ccccc"]);
    let items = request.items().unwrap().split_off(1);
    let replies = call_items(tower::service_fn(vendor), Call::new("acme", request), items).await.unwrap();
    assert_eq!(replies.iter().map(|reply| reply.output.vectors[0][0]).collect::<Vec<_>>(), [2.0, 5.0]);
    assert_eq!(
        replies.iter().map(|reply| reply.receipt.cost().unwrap()).collect::<Vec<_>>(),
        [Usd::from_nanos(7), Usd::from_nanos(14)]
    );
    let service = tower::service_fn(|_: Call<EmbedRequest>| async {
        let error = Error::new(ErrorKind::Server, "it broke").with_charge(Charge::Known(Usage::new(11, 0)));
        Err::<Reply<Embeddings>, _>(error)
    });
    let error = call_items(service, call(&["a", "b"]), call(&["a", "b"]).body.items().unwrap()).await.unwrap_err();
    assert_eq!(error.charge(), Charge::Known(Usage::new(11, 0)), "one caller pays all of it");
}

/// Application operation without support for merging.
#[derive(Clone)]
struct Own;

impl Operation for Own {
    type Output = u32;
    const NAME: &'static str = "own";
    fn model(&self) -> &str {
        "m"
    }
    fn fingerprint(&self, h: &mut Fingerprinter) {
        h.text("own");
    }
}

#[tokio::test]
async fn merge_key_defaults_to_none() {
    assert_eq!((Own.merge_key(), ChatRequest::new("m").user("hello").merge_key()), (None, None));
    assert_eq!(EmbedRequest::new("m", Vec::<&str>::new()).merge_key(), None, "it is refused alone");
    let sized = |dimensions| EmbedRequest { dimensions, ..EmbedRequest::new("m", ["a"]) };
    assert_ne!(sized(Some(8)).merge_key(), sized(None).merge_key());
    let mut marked = sized(None);
    marked.extra.insert("user", "u1");
    assert_ne!(marked.merge_key(), sized(None).merge_key());
    assert_eq!(EmbedRequest::merge(&[marked, sized(None)]), None);
    let service = tower::service_fn(|_: Call<Own>| async { Ok::<_, Error>(Reply::new(7, Receipt::default())) });
    let replies = call_merged(service, vec![Call::new("acme", Own)], SharedDeadline::new()).await;
    assert_eq!(replies[0].as_ref().unwrap().output, 7, "a single call is sent as it is");
}

/// Reservation by a layer above, such as a limiter.
struct Held {
    flag: SentFlag,
    settled: Settled,
}

impl Held {
    /// Settles tokens; `None` for a call that was sent and whose usage is unknown.
    fn settle(settled: &Mutex<Vec<Option<u64>>>, sent: bool, end: &LateEnd) {
        let tokens = match end {
            LateEnd::Complete(receipt) => receipt.usage().map(|usage| usage.input),
            LateEnd::Failed(error) => match error.charge() {
                Charge::Known(usage) => Some(usage.input),
                Charge::None => Some(0),
                Charge::Unknown => None,
            },
            _ if sent => None,
            _ => Some(0),
        };
        settled.lock().expect("no test panics holding it").push(tokens);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let (settled, flag) = (Arc::clone(&self.settled), self.flag.clone());
        self.flag.leave(move |end| Self::settle(&settled, flag.is_sent(), &end));
    }
}

/// Tokens that each caller settled; `None` if the usage is unknown.
type Settled = Arc<Mutex<Vec<Option<u64>>>>;
type Caller = BoxFuture<'static, Option<Reply<Embeddings>>>;
type Taken = Mutex<Option<Result<Reply<Embeddings>, Error>>>;
type Source = stream::Once<BoxFuture<'static, Arc<Vec<Taken>>>>;

/// Sends the calls as one call that all callers share. Returns each caller's future, and the tokens that it settled.
fn callers<S: LlmService<EmbedRequest>>(service: S, mut calls: Vec<Call<EmbedRequest>>) -> (Vec<Caller>, Vec<Settled>) {
    let settled: Vec<Settled> = calls.iter().map(|_| Arc::default()).collect();
    let held = calls.iter_mut().zip(&settled);
    let held: Vec<_> = held.map(|(call, settled)| Held { flag: call.track(), settled: Arc::clone(settled) }).collect();
    let replies = async move {
        let replies = merged(service, calls).await;
        Arc::new(replies.into_iter().map(|reply| Mutex::new(Some(reply))).collect())
    };
    let shared: Arc<Broadcast<Source>> = Broadcast::new(stream::once(replies.boxed()));
    let caller = |(at, held): (usize, Held)| {
        let mut reader: Reader<Source> = shared.subscribe().expect("its callers hold it");
        async move {
            let reply = reader.next().await?[at].lock().expect("no test panics holding it").take()?;
            // The caller settles by the end of its share, which it received when it left.
            drop(held);
            reply.ok()
        }
        .boxed()
    };
    (held.into_iter().enumerate().map(caller).collect(), settled)
}

#[tokio::test(start_paused = true)]
async fn member_that_leaves_settles_by_share() {
    let (mut callers, settled) = callers(tower::service_fn(vendor), vec![call(&["aaaaaaa"]), call(&["bbb"])]);
    let leaving = callers.pop().unwrap();
    let staying = callers.pop().unwrap();
    let (stayed, left) = tokio::join!(staying, timeout(50 * MS, leaving));
    assert!(stayed.is_some() && left.is_err());
    assert_eq!(
        settled.iter().map(|settled| settled.lock().unwrap().clone()).collect::<Vec<_>>(),
        [vec![Some(6)], vec![Some(4)]]
    );
}

#[tokio::test(start_paused = true)]
async fn member_holds_reservation_until_call_ends() {
    let (mut callers, settled) = callers(tower::service_fn(vendor), vec![call(&["a"]), call(&["b"])]);
    assert!(timeout(50 * MS, callers.pop().unwrap()).await.is_err());
    assert!(settled[1].lock().unwrap().is_empty(), "the other caller waits on");
    assert!(timeout(MS, callers.pop().unwrap()).await.is_err());
    assert!(settled.iter().all(|settled| *settled.lock().unwrap() == [None]), "sent, and dropped with its last caller");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Each caller settles exactly once, even if calls fail and callers leave, and the settled amounts add up to the
    /// vendor's charge.
    #[test]
    fn merged_shares_add_up_to_the_whole(
        sizes in prop::collection::vec(prop::collection::vec(1usize..30, 1..4), 1..7),
        leaves in prop::collection::vec(prop::option::of(0u64..150), 7),
        fate in 0u8..4,
        usage in 0u64..1_000,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let lost = Arc::new(Mutex::new(Vec::new()));
            let seen = Arc::clone(&lost);
            let service = tower::service_fn(move |call: Call<EmbedRequest>| {
                let seen = Arc::clone(&seen);
                async move {
                    sleep(20 * MS).await;
                    call.mark_sent();
                    sleep(80 * MS).await;
                    let error = |charge| Err(Error::new(ErrorKind::Server, "it broke").with_charge(charge));
                    match fate {
                        0 => return error(Charge::None),
                        1 => return error(Charge::Known(Usage::new(usage, 0))),
                        _ => {}
                    }
                    let reply = embeddings(&call.body);
                    reply.receipt.edit(|accounting| {
                        (accounting.usage, accounting.cost) = (Some(Usage::new(usage, 0)), Some(cost(usage)));
                        let lost = move |lost| seen.lock().unwrap().push(lost);
                        accounting.cost_share = Some(CostShare::new(cost(usage), lost));
                    });
                    Ok(reply)
                }
            });
            let texts = |lengths: &Vec<usize>| lengths.iter().map(|length| "x".repeat(*length)).collect::<Vec<_>>();
            let calls = sizes.iter().map(|lengths| Call::new("acme", EmbedRequest::new("m", texts(lengths)))).collect();
            let (callers, settled) = callers(service, calls);
            let stays = leaves.iter().map(|leave| MS * leave.map_or(10_000, |ms| ms as u32));
            let outcomes: Vec<_> = callers.into_iter().zip(stays).map(|(caller, stay)| timeout(stay, caller)).collect();
            let outcomes = futures_util::future::join_all(outcomes).await;

            let last = leaves.iter().take(sizes.len()).map(|leave| leave.unwrap_or(10_000)).max().unwrap_or_default();
            let all: Vec<Vec<_>> = settled.iter().map(|settled| settled.lock().unwrap().clone()).collect();
            prop_assert!(all.iter().all(|settled| settled.len() == 1), "{all:?}");
            let total: Option<u64> = all.iter().map(|settled| settled[0]).sum();
            let charged = if fate == 0 { 0 } else { usage };
            match last {
                0..20 => prop_assert_eq!(total, Some(0), "all left before it was sent"),
                20 | 100 => {}
                21..100 => prop_assert!(all.iter().all(|settled| settled[0].is_none())),
                _ => prop_assert_eq!(total, Some(charged)),
            }
            let mut taken = Usd::ZERO;
            for (lengths, outcome) in sizes.iter().zip(outcomes) {
                let Ok(Some(reply)) = outcome else { continue };
                let vectors: Vec<_> = reply.output.vectors.iter().map(|vector| vector[0] as usize).collect();
                prop_assert_eq!(&vectors, lengths);
                let share = reply.receipt.edit(|accounting| accounting.cost_share.take());
                let cost = reply.receipt.cost();
                prop_assert_eq!(share.as_ref().and_then(CostShare::take), cost);
                taken += cost.unwrap_or_default();
            }
            if fate > 1 && last > 100 {
                prop_assert_eq!(lost.lock().unwrap().iter().map(|lost| *lost + taken).collect::<Vec<_>>(), [cost(usage)]);
            }
            Ok(())
        })?;
    }
}
