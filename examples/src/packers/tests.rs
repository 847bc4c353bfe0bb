use std::{
    fmt::Debug,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use futures_util::future::join_all;
use llm_batch::pack::{Check, PackLayer, Packer};
use llm_core::{Call, ChatRequest, ChatResponse, Choice, FinishReason, Part, Task, Tasks, layer::oneshot};
use llm_providers::OpenAi;
use llm_testkit::Vendor;
use serde_json::{Value, json};
use tower::ServiceBuilder;

use super::{
    photos::{Photos, Score, ScorePhoto},
    simulated::responder,
    stories::{ListTestCases, Stories, TestCases},
};

/// Damage to the entries of a packed response, or to its text.
#[derive(Clone, Copy, Debug)]
enum Damage {
    Entries(fn(&mut Vec<Value>)),
    Text(fn(String) -> String),
}

impl Damage {
    fn apply(self, text: String) -> String {
        match self {
            Self::Text(change) => change(text),
            Self::Entries(change) => {
                let mut response: Value = serde_json::from_str(&text).expect("the response is JSON");
                change(response["answers"].as_array_mut().expect("there are answers"));
                response.to_string()
            }
        }
    }
}

/// Harmless changes of a response.
const HARMLESS: [(&str, Damage); 3] = [
    ("whole", Damage::Text(|text| text)),
    ("reordered", Damage::Entries(|all| all.reverse())),
    ("with a word before", Damage::Text(|text| format!("Here it is:\n```json\n{text}\n```"))),
];

/// Changes after which some items have no answer.
const DAMAGES: [(&str, Damage); 10] = [
    ("missing", Damage::Entries(|all| drop(all.remove(0)))),
    ("all missing", Damage::Entries(Vec::clear)),
    ("there twice", Damage::Entries(|all| all.push(all[0].clone()))),
    ("renamed", Damage::Entries(|all| all[0]["id"] = json!("0"))),
    ("in another form", Damage::Entries(|all| all[0]["answer"] = json!({"text": "none"}))),
    ("in words", Damage::Entries(|all| all[0]["answer"] = json!("I cannot say"))),
    ("null", Damage::Entries(|all| all[0]["answer"] = Value::Null)),
    ("cut", Damage::Text(|text| text.chars().take(text.chars().count() / 2).collect())),
    ("garbled", Damage::Text(|text| text.replace('"', "'"))),
    ("refused", Damage::Text(|_| "I cannot help with that.".into())),
];

/// Sends tasks at once as one pack, to a vendor whose first `damaged` packed responses are damaged. Returns the
/// outputs and the number of calls.
async fn run<T>(
    tasks: Vec<T>,
    packer: impl Packer,
    each: fn(&str) -> Value,
    (damage, damaged): (Damage, usize),
) -> (Vec<T::Output>, u64)
where
    T: Task<Output: Debug>,
{
    let (respond, left) = (responder(each), AtomicUsize::new(damaged));
    let responses = move |body: &Value| {
        let text = respond(body)?;
        let is_damaged =
            text.starts_with("{\"answers\"") && left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok();
        Some(if is_damaged { damage.apply(text) } else { text })
    };
    let vendor = Vendor::builder().respond_with(responses).build();
    let pack = PackLayer::new(Check::new(0.0, 0.1)).packer(packer).start_size(tasks.len()).max_tokens(1_000_000);
    let client = OpenAi::with_transport("sk-a", vendor.transport()).expect("a client");
    let service = ServiceBuilder::new().layer_fn(Tasks::new).layer(pack).service(client);
    let calls = tasks.into_iter().map(|task| oneshot(service.clone(), Call::new("acme", task)));
    let replies = join_all(calls).await.into_iter().map(|reply| reply.expect("it was answered").output);
    (replies.collect(), vendor.calls())
}

/// Checks that all tasks get their outputs after every kind of damage to a response, whether it occurs once or always.
async fn check<T>(
    tasks: impl Fn() -> Vec<T>,
    packer: impl Packer + Copy,
    each: fn(&str) -> Value,
    expected: &[T::Output],
) where
    T: Task<Output: Debug + PartialEq>,
{
    for (name, damage) in HARMLESS {
        let (outputs, calls) = run(tasks(), packer, each, (damage, usize::MAX)).await;
        assert_eq!((&outputs[..], calls), (expected, 1), "{name}");
    }
    for (name, damage) in DAMAGES {
        let (outputs, calls) = run(tasks(), packer, each, (damage, 1)).await;
        assert_eq!(outputs, expected, "{name} once");
        assert!((2..=3).contains(&calls), "{name} once: {calls} calls");
        let (outputs, calls) = run(tasks(), packer, each, (damage, usize::MAX)).await;
        assert_eq!(outputs, expected, "{name} always");
        assert!(calls < 2 * expected.len() as u64, "{name} always: {calls} calls");
    }
}

#[tokio::test(start_paused = true)]
async fn ten_stories_become_ten_lists_despite_damage() {
    let each = |story: &str| json!({"cases": [format!("{story} works"), format!("{story} fails")]});
    let story = |n: usize| format!("As a user I want {n}");
    let tasks = || (0..10).map(|n| ListTestCases { story: story(n).into() }).collect();
    let list = |n: usize| TestCases { cases: vec![format!("{} works", story(n)), format!("{} fails", story(n))] };
    check(tasks, Stories, each, &(0..10).map(list).collect::<Vec<_>>()).await;
}

#[tokio::test(start_paused = true)]
async fn twenty_photos_become_twenty_scores_despite_damage() {
    let each = |photo: &str| {
        let data = photo.trim().strip_prefix("data:image/png;base64,").expect("it is a photo");
        json!({"score": data.len() / 4})
    };
    let tasks = || (0..20).map(|n| ScorePhoto { photo: vec![0; 3 * n] }).collect();
    check(tasks, Photos, each, &(0..20).map(|score| Score { score }).collect::<Vec<_>>()).await;
}

fn said(value: &Value) -> ChatResponse {
    ChatResponse::new("1", "m", vec![Choice::new(0, vec![Part::text(value.to_string())], FinishReason::Stop)])
}

#[test]
fn scores_within_one_are_equivalent() {
    let score = |score: u8| said(&json!({"score": score}));
    assert!(Photos.equivalent(&score(4), &score(5)) && Photos.equivalent(&score(5), &score(4)));
    assert!(!Photos.equivalent(&score(4), &score(6)) && !Photos.equivalent(&score(4), &said(&json!("four"))));
}

#[test]
fn lists_with_half_their_names_are_equivalent() {
    let list = |names: &[&str]| said(&json!({"cases": names}));
    let alone = list(&["empty cart", "Full cart ", "wrong coupon"]);
    assert!(Stories.equivalent(&alone, &list(&["wrong coupon", "full cart", "no stock"])));
    assert!(!Stories.equivalent(&alone, &list(&["wrong coupon", "no stock"])));
    assert!(!Stories.equivalent(&said(&json!("none")), &said(&json!("none"))), "what is no list is no match");
}

#[test]
fn packers_accept_their_own_requests_alone() {
    let (story, photo) = (ListTestCases { story: "a".into() }, ScorePhoto { photo: "b".into() });
    assert!(Stories.accepts(&story.to_request()) && Photos.accepts(&photo.to_request()));
    assert!(!Stories.accepts(&photo.to_request()) && !Photos.accepts(&ChatRequest::new("m").user("hello")));
}
