//! Tests of vendors that lose, duplicate, cut off, rename or garble answers, and of requests that fail.

use llm_batch::pack::{Check, Packer};
use llm_core::{ChatResponse, Error, ErrorKind};
use tokio::time::Instant;
use tower::Layer;

use crate::pack::vendor::{LATENCY, Prompt, Requests, Said, checked, entries, layer, numbered, right, send, written};

type Fault = fn(&[Prompt]) -> Said;

const FAULTS: [(&str, Fault); 12] = [
    ("drops the first", |prompts| Ok(written(&entries(prompts)[1..]))),
    ("drops one in three", |prompts| {
        let kept = entries(prompts).into_iter().enumerate().filter(|(n, _)| n % 3 > 0).map(|(_, entry)| entry);
        Ok(written(&kept.collect::<Vec<_>>()))
    }),
    ("says nothing", |_| Ok(String::new())),
    ("says no JSON", |_| Ok("I cannot answer [several] questions at once.".into())),
    ("doubles one", |prompts| {
        let mut entries = entries(prompts);
        let (id, _) = entries[0].clone();
        entries.push((id, "another".into()));
        Ok(written(&entries))
    }),
    ("turns the order around", |prompts| {
        let mut entries = entries(prompts);
        entries.reverse();
        Ok(written(&entries))
    }),
    ("cuts the end off", |prompts| {
        let text = written(&entries(prompts));
        Ok(text[..text.len() * 2 / 3].to_owned())
    }),
    ("renames the ids", |prompts| {
        let number = |(n, (_, answer)): (usize, (String, String))| (format!("{n}"), answer);
        Ok(written(&entries(prompts).into_iter().enumerate().map(number).collect::<Vec<_>>()))
    }),
    ("adds unknown ids", |prompts| {
        let mut entries = entries(prompts);
        entries.insert(0, ("ffffffffffffffff".into(), "more".into()));
        Ok(written(&entries))
    }),
    ("garbles a value", |prompts| {
        let text = written(&entries(prompts));
        Ok(text.replacen("\"echo question 1\"", "{\"text\": 7}", 1))
    }),
    ("speaks around the JSON", |prompts| Ok(format!("Sure [here]:\n```json\n{}\n```", written(&entries(prompts))))),
    ("returns an array alone", |prompts| {
        let text = written(&entries(prompts));
        Ok(text["{\"answers\":".len()..text.len() - 1].to_owned())
    }),
];

#[tokio::test(start_paused = true)]
async fn faulty_answers_are_asked_again() {
    for (name, fault) in FAULTS {
        for seed in 0..6 {
            let requests = Requests::default();
            let pack = layer(8, seed).layer(requests.vendor(fault));
            let texts = numbered(8);
            let start = Instant::now();
            let replies = send(&pack, &texts).await;
            assert_eq!(right(&texts, &replies), 8, "{name}, {seed}");
            // An item is requested again at most log2(8) + 1 times, and a pack of 8 takes at most 14 more requests.
            assert!(start.elapsed() <= 6 * LATENCY && requests.sizes().len() <= 15, "{name}: {:?}", requests.sizes());
            let all = requests.all();
            let holds =
                |text: &String| all.iter().filter(|(prompts, _)| prompts.iter().any(|p| p.text == *text)).count();
            assert!(texts.iter().all(|text| holds(text) <= 1 + 4), "{name}: {all:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn answers_in_other_order_need_no_repair() {
    for (name, fault) in FAULTS {
        let requests = Requests::default();
        let pack = layer(8, 1).layer(requests.vendor(fault));
        send(&pack, &numbered(8)).await;
        let survives =
            ["turns the order around", "adds unknown ids", "speaks around the JSON", "returns an array alone"];
        assert_eq!(requests.sizes() == [8], survives.contains(&name), "{name}: {:?}", requests.sizes());
    }
}

#[tokio::test(start_paused = true)]
async fn repair_shuffles_the_order_again() {
    let requests = Requests::default();
    let pack = layer(16, 1).layer(requests.vendor(|prompts| match prompts.len() {
        17 => Ok(String::new()),
        _ => Ok(written(&entries(prompts))),
    }));
    send(&pack, &numbered(16)).await;
    let order = |at: usize| -> Vec<String> {
        requests.all()[at].0.iter().filter(|prompt| !prompt.is_decoy()).map(|prompt| prompt.text.clone()).collect()
    };
    assert_eq!(requests.sizes(), [16, 8, 8]);
    let again: Vec<String> = order(0).into_iter().filter(|text| order(1).contains(text)).collect();
    assert_ne!(again, order(1));
}

/// Returns the number of additional requests for 64 prompts, of which those at `poison` make their pack fail.
async fn further(poison: &[usize], vendor: fn(&[Prompt]) -> Said) -> usize {
    let requests = Requests::default();
    let pack = layer(64, 7).layer(requests.vendor(vendor));
    let text = |n: usize| if poison.contains(&n) { format!("poison {n}") } else { format!("question {n}") };
    let texts: Vec<String> = (0..64).map(text).collect();
    let replies = send(&pack, &texts).await;
    assert_eq!(right(&texts, &replies), 64);
    let further = requests.sizes().len() - 1;
    assert_eq!(pack.stats().batches.further_requests, further as u64);
    further
}

fn refuses(prompts: &[Prompt]) -> Said {
    match prompts.iter().any(|prompt| prompt.text.starts_with("poison")) {
        true => Err(Error::new(ErrorKind::ContentFiltered, "a prompt is refused")),
        false => Ok(written(&entries(prompts))),
    }
}

/// Vendor that obeys an item whose text asks for one answer to all items.
fn obeys(prompts: &[Prompt]) -> Said {
    let mut entries = entries(prompts);
    if prompts.iter().any(|prompt| prompt.text.starts_with("poison")) {
        entries.iter_mut().for_each(|(_, answer)| *answer = "all the same".into());
    }
    Ok(written(&entries))
}

#[tokio::test(start_paused = true)]
async fn pack_halving_of_poison_takes_twelve_requests() {
    for vendor in [refuses as fn(&[Prompt]) -> Said, obeys] {
        assert_eq!(further(&[], vendor).await, 0);
        for at in [0, 17, 31, 32, 63] {
            assert!(further(&[at], vendor).await <= 12);
        }
        let all: Vec<usize> = (0..64).collect();
        assert!(further(&all, vendor).await <= 126);
    }
}

#[tokio::test(start_paused = true)]
async fn vendor_errors_fail_packs_whole() {
    use ErrorKind::{OverBudget, QuotaExhausted, RateLimited, Server, Timeout, Transport};
    for kind in [Server, RateLimited, Timeout, Transport, QuotaExhausted, OverBudget] {
        let requests = Requests::default();
        let pack = layer(8, 1).layer(requests.vendor(move |_| Err(Error::new(kind, "it broke"))));
        let replies = send(&pack, &numbered(8)).await;
        assert!(replies.iter().all(|reply| reply.as_ref().is_err_and(|error| error.kind() == kind)));
        assert_eq!(requests.sizes(), [8], "{kind}");
    }
}

/// Packer that panics in one of its methods: in `instruction`, or else in `equivalent`.
struct Panics {
    at_once: bool,
}

impl Packer for Panics {
    fn name(&self) -> &'static str {
        "panics"
    }

    fn instruction(&self) -> &str {
        assert!(!self.at_once, "a packer panics");
        "Each item is a question."
    }

    fn equivalent(&self, _: &ChatResponse, _: &ChatResponse) -> bool {
        panic!("a packer panics")
    }
}

#[tokio::test(start_paused = true)]
async fn panicking_packer_fails_its_pack() {
    for at_once in [true, false] {
        let pack = checked(4, 1, Check::new(1.0, 0.5)).packer(Panics { at_once }).layer(Requests::default().kind());
        let replies = send(&pack, &numbered(4)).await;
        let message = |reply: &Result<_, Error>| reply.as_ref().err().map(ToString::to_string).unwrap_or_default();
        assert!(replies.iter().all(|reply| message(reply).contains("panicked")), "{replies:?}");
        // Two prompts are not a full pack, so they are not checked.
        let texts = numbered(2);
        assert_eq!(right(&texts, &send(&pack, &texts).await), if at_once { 0 } else { 2 });
        pack.close().await;
    }
}
