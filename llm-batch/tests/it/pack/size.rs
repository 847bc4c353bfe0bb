//! Sizes by what comparisons show.

use llm_batch::pack::Check;
use llm_core::{Error, ErrorKind};
use tower::Layer;

use crate::pack::vendor::{Prompt, Requests, Said, checked, entries, numbered, right, send, written};

/// Garbles every answer from a place on.
fn wrong_from(place: usize) -> impl Fn(&[Prompt]) -> Said + Clone + Send + Sync + 'static {
    move |prompts| {
        let mut entries = entries(prompts);
        let items = entries.iter_mut().zip(prompts).filter(|(_, prompt)| !prompt.is_decoy());
        items.skip(place).for_each(|((_, answer), _)| *answer = "wrong".into());
        Ok(written(&entries))
    }
}

#[tokio::test(start_paused = true)]
async fn size_grows_and_returns_to_the_largest_good_one() {
    let requests = Requests::default();
    // A pack of six has one wrong answer, of which a tenth is tolerated.
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
    // A day later it is tried again.
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

/// Refuses what a vendor without schemas refuses, answers in prose, or in JSON of its own.
const REFUSALS: [(&str, fn(&[Prompt]) -> Said); 3] = [
    ("an error", |_| Err(Error::new(ErrorKind::InvalidRequest, "response_format is not supported"))),
    ("prose", |_| Ok("First of all, these are very good questions.".to_owned())),
    ("own JSON", |_| Ok("{\"result\": [1, 2, 3]}".to_owned())),
];

#[tokio::test(start_paused = true)]
async fn refused_form_turns_packing_off_for_a_day() {
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
        // Full packs and others take 2n - 2 further requests, but only three times.
        assert_eq!(further(2, 8).await + further(1, 3).await, 2 * 14 + 4, "{name}");
        assert_eq!((pack.sizes()[0].size, further(20, 8).await), (1, 20 * 7), "{name}: each prompt alone");
        tokio::time::advance(std::time::Duration::from_secs(24 * 60 * 60)).await;
        assert_eq!(further(1, 8).await, 14, "{name}: it is tried again");
        assert_eq!(pack.sizes()[0].size, 1, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn poison_and_outages_refuse_no_form() {
    let faults: [fn(&[Prompt]) -> Said; 3] = [
        |_| Err(Error::new(ErrorKind::ContentFiltered, "a prompt is refused")),
        |_| Err(Error::new(ErrorKind::Server, "it broke")),
        // One in a pack of eight has no answer in any form.
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
