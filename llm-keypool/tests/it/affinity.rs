//! Tests that conversations stay with the group whose vendor has cached their beginning.

use std::time::Duration;

use llm_core::{Call, ChatRequest, Message, Usage, layer::oneshot};
use llm_keypool::{Group, KeyPool, KeyPoolBuilder, LeaseRequest, Member, Outcome, requests_per_minute};
use llm_providers::OpenAi;
use llm_testkit::{Transport, Vendor};

const NAMES: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];
const MINUTE: Duration = Duration::from_secs(60);

/// Runs conversations of ten turns each, interleaved, over organisations with one prompt cache each, at half of one
/// organisation's limit. Returns the share of cached input tokens, in percent.
async fn cached_share(builder: KeyPoolBuilder<OpenAi<Transport>>, organisations: usize) -> u64 {
    let names = &NAMES[..organisations];
    let limit = [llm_testkit::Limit::requests(600, MINUTE)];
    let vendor = Vendor::builder().prompt_cache(1_024, 5 * MINUTE).response_tokens(5..=20);
    let vendor = names.iter().fold(vendor, |vendor, name| vendor.limit_organisation(*name, [*name], limit)).build();
    let client = |name: &str| OpenAi::with_transport(name, vendor.transport()).unwrap();
    let builder = builder.members(names.iter().map(|name| Member::new(*name, client(name))));
    let groups = names.iter().map(|name| Group::new(*name).limit("gpt-4o-mini", requests_per_minute(600)));
    let pool = groups.fold(builder, KeyPoolBuilder::group).seed(7).build().unwrap();
    let frame = |conversation: u32| format!("Rule {conversation} of this tender. ").repeat(200);
    let mut chats: Vec<_> = (0..9).map(|it| ChatRequest::new("gpt-4o-mini").system(frame(it)).user("Begin.")).collect();
    for _turn in 0..10 {
        for chat in &mut chats {
            let reply = oneshot(pool.clone(), Call::new("acme", chat.clone())).await.unwrap();
            *chat = chat.clone().message(Message::assistant(reply.output.text())).user("Go on.");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
    assert_eq!(vendor.limited(), []);
    let (input, cached) = vendor
        .bills()
        .iter()
        .fold((0, 0), |(input, cached), bill| (input + bill.input_tokens, cached + bill.cached_tokens));
    cached * 100 / input
}

#[tokio::test(start_paused = true)]
async fn affinity_reads_prompt_cache_like_one_organisation() {
    let one = cached_share(KeyPool::builder(), 1).await;
    let eight = cached_share(KeyPool::builder().affinity(true), 8).await;
    let turns = cached_share(KeyPool::builder().round_robin(true), 8).await;
    println!("cached: {one} % at one organisation, {eight} % at eight, {turns} % in turn");
    assert!(one >= 85 && eight * 100 >= one * 95, "{eight} % of {one} %");
    assert!(turns < 30, "{turns} % in turn");
}

#[tokio::test(start_paused = true)]
async fn affinity_waits_briefly_and_then_moves() {
    let members = ["a", "b"].map(|name| Member::new(name, name).max_in_flight(1));
    let pool = KeyPool::builder().members(members).affinity(true).seed(7).build().unwrap();
    let request = LeaseRequest::new("m").affinity("acme", 7);
    let usage = Usage { cache_read: 900, ..Usage::new(1_000, 1) };
    let first = pool.lease(&request).await.unwrap();
    let home = *first.key();
    first.report(Outcome::success().usage(usage));
    assert_eq!(*pool.lease(&request).await.unwrap().key(), home);
    let held = pool.lease(&request).await.unwrap();
    let start = tokio::time::Instant::now();
    assert_ne!(*pool.lease(&request).await.unwrap().key(), home);
    assert!(start.elapsed() <= Duration::from_millis(200));
    drop(held);
}
