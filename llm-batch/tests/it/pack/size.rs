//! Sizes by what comparisons show.

use llm_batch::pack::Check;
use tower::Layer;

use crate::pack::vendor::{Prompt, Requests, Said, checked, entries, numbered, send, written};

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
