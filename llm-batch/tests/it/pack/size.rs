//! Tests of the pack sizes that follow from comparisons.

use std::sync::Arc;

use llm_batch::pack::Check;
use llm_core::{Call, ChatRequest, Error, ErrorKind};
use tower::{Layer, service_fn};

use crate::pack::vendor::{
    Prompt, Requests, Said, checked, entries, numbered, prompts, random, reply, right, send, written,
};

/// Returns a vendor that garbles every answer from the position `place` on.
fn wrong_from(place: usize) -> impl Fn(&[Prompt]) -> Said + Clone + Send + Sync + 'static {
    move |prompts| {
        let mut entries = entries(prompts);
        let items = entries.iter_mut().zip(prompts).filter(|(_, prompt)| !prompt.is_decoy());
        items.skip(place).for_each(|((_, answer), _)| *answer = "wrong".into());
        Ok(written(&entries))
    }
}

#[tokio::test(start_paused = true)]
async fn pack_size_returns_to_largest_good() {
    let requests = Requests::default();
    // A pack of six has one wrong answer, but only a tenth is tolerated.
    let pack = checked(4, 1, Check::new(1.0, 0.1)).layer(requests.vendor(wrong_from(5)));
    let mut seen = Vec::new();
    for _ in 0..200 {
        let size = pack.sizes().first().map_or(4, |size| size.size);
        send(&pack, &numbered(size)).await;
        let size = pack.sizes()[0].size;
        if seen.last() != Some(&size) {
            seen.push(size);
        }
    }
    assert_eq!(seen, [4, 5, 6, 5]);
    let places = &pack.sizes()[0].by_place;
    assert!(places[..5].iter().all(|place| place.1 == 0) && places[5].0 == places[5].1, "{places:?}");
    // A day later, the failed size is tried again.
    tokio::time::advance(std::time::Duration::from_secs(24 * 60 * 60)).await;
    send(&pack, &numbered(6)).await;
    assert_eq!(pack.sizes()[0].size, 6);
}

#[tokio::test(start_paused = true)]
async fn size_halves_if_none_was_good() {
    let requests = Requests::default();
    let pack = checked(8, 1, Check::new(1.0, 0.1)).layer(requests.vendor(wrong_from(0)));
    let mut seen = Vec::new();
    for _ in 0..240 {
        send(&pack, &numbered(8)).await;
        let size = pack.sizes()[0].size;
        if seen.last() != Some(&size) {
            seen.push(size);
        }
    }
    assert_eq!(seen, [8, 4, 2, 1]);
    let before = requests.sizes().len();
    send(&pack, &numbered(8)).await;
    assert_eq!(requests.sizes()[before..], [1; 8], "nothing is packed");
}

#[tokio::test(start_paused = true)]
async fn size_is_judged_per_packer_and_model() {
    let requests = Requests::default();
    let pack = checked(4, 1, Check::new(0.0, 0.1)).layer(requests.kind());
    send(&pack, &numbered(4)).await;
    let sizes = pack.sizes();
    assert_eq!((sizes.len(), sizes[0].packer, &*sizes[0].model, sizes[0].size), (1, "chat", "m", 4));
}

/// Returns the size after `packs` full packs. The vendor is always right about a lone prompt. About a packed one, it is
/// wrong in `per_place` of a hundred cases times the prompt's position.
async fn grown(seed: u64, packs: usize, per_place: usize, tolerated: f64) -> usize {
    let chance = Arc::new(random(!seed));
    let vendor = service_fn(move |call: Call<ChatRequest>| {
        let chance = Arc::clone(&chance);
        async move {
            let prompts = prompts(&call.body);
            if prompts.len() == 1 {
                return Ok::<_, Error>(reply(&call.body, &prompts[0].answer()));
            }
            let mut entries = entries(&prompts);
            let items = entries.iter_mut().zip(&prompts).filter(|(_, prompt)| !prompt.is_decoy());
            for (place, ((_, answer), _)) in items.enumerate() {
                if chance() % 100 < (place * per_place) as u64 {
                    *answer = "wrong".into();
                }
            }
            Ok(reply(&call.body, &written(&entries)))
        }
    });
    let pack = checked(4, seed, Check::new(1.0, tolerated)).layer(vendor);
    let mut size = 4;
    for _ in 0..packs {
        send(&pack, &numbered(size)).await;
        size = pack.sizes()[0].size;
    }
    size
}

/// By default, the vendor's error grows steeply with the position. With `LLM_FULL=1`, 20,000 packs go to a vendor whose
/// error grows slowly.
#[tokio::test(start_paused = true)]
async fn size_ends_near_largest_tolerable() {
    // In packs of 6, positions 0 to 5 are wrong in 20 of 100 cases on average; in packs of 11, positions 0 to 10 in 5
    // of 100.
    let (seeds, packs, per_place, tolerated, largest) =
        if is_full() { (20, 20_000, 1, 0.05, 11) } else { (3, 400, 8, 0.2, 6) };
    let mut sizes = Vec::new();
    for seed in 1..=seeds {
        sizes.push(grown(seed, packs, per_place, tolerated).await);
    }
    println!("sizes after {packs} packs, the largest tolerable is {largest}: {sizes:?}");
    assert!(sizes.iter().all(|size| size.abs_diff(largest) <= 1), "{sizes:?}");
}

#[expect(clippy::disallowed_methods, reason = "a test's edge: its size")]
fn is_full() -> bool {
    std::env::var("LLM_FULL").is_ok_and(|full| full == "1")
}

type Refusal = fn(&[Prompt]) -> Said;

/// Refuses requests as a vendor without schemas does, answers in prose, or answers in another JSON form.
const REFUSALS: [(&str, Refusal); 3] = [
    ("an error", |_| Err(Error::new(ErrorKind::InvalidRequest, "response_format is not supported"))),
    ("prose", |_| Ok("First of all, these are very good questions.".to_owned())),
    ("own JSON", |_| Ok("{\"result\": [1, 2, 3]}".to_owned())),
];

#[tokio::test(start_paused = true)]
async fn refused_form_disables_packing_for_day() {
    for (name, refuse) in REFUSALS {
        let requests = Requests::default();
        let pack = checked(8, 1, Check::new(0.0, 0.1)).layer(requests.vendor(refuse));
        let further = async |packs: usize, prompts: usize| {
            let before = requests.sizes().len();
            for _ in 0..packs {
                let texts = numbered(prompts);
                assert_eq!(right(&texts, &send(&pack, &texts).await), prompts, "{name}");
            }
            requests.sizes().len() - before - packs
        };
        // Packs take 2n - 2 more requests, whether they are full or not, but only three times.
        assert_eq!(further(2, 8).await + further(1, 3).await, 2 * 14 + 4, "{name}");
        assert_eq!((pack.sizes()[0].size, further(20, 8).await), (1, 20 * 7), "{name}: each prompt alone");
        tokio::time::advance(std::time::Duration::from_secs(24 * 60 * 60)).await;
        assert_eq!(further(1, 8).await, 14, "{name}: it is tried again");
        assert_eq!(pack.sizes()[0].size, 1, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn poison_and_outages_refuse_no_form() {
    let faults: [Refusal; 3] = [
        |_| Err(Error::new(ErrorKind::ContentFiltered, "a prompt is refused")),
        |_| Err(Error::new(ErrorKind::Server, "it broke")),
        // One prompt in a pack of eight gets no usable answer.
        |prompts| match prompts.iter().any(|prompt| prompt.text == "question 5") {
            true => Ok(String::new()),
            false => Ok(written(&entries(prompts))),
        },
    ];
    for fault in faults {
        let pack = checked(8, 1, Check::new(0.0, 0.1)).layer(Requests::default().vendor(fault));
        for _ in 0..9 {
            send(&pack, &numbered(8)).await;
        }
        assert_eq!(pack.sizes()[0].size, 8);
    }
}
