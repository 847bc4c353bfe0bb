//! Tests of token limits that are reached, for both ways in which vendors count tokens.

use std::{
    collections::VecDeque,
    ops::Range,
    sync::{Arc, Mutex},
    time::Duration,
};

use llm_core::{Error, Usage};
use llm_keypool::{
    Group, KeyPool, LeaseRequest, Member, Outcome, input_tokens_per_minute, output_tokens_per_minute, tokens_per_minute,
};
use tokio::{task::JoinSet, time::Instant};

use crate::support::{Prng, Traced, seeds, status, trace};

const LIMIT: u64 = 400_000;
const MINUTES: u64 = 5;

/// Vendor that counts tokens in a sliding minute.
struct Vendor {
    /// True if the vendor counts the input and the stated maximum when a request arrives. Otherwise it counts the input
    /// then, and the output at the end.
    reserves: bool,
    input: Log,
    output: Log,
    refused: u64,
    attempts: u64,
}

#[derive(Default)]
struct Log {
    entries: VecDeque<(Instant, u64)>,
    all: u64,
}

impl Log {
    fn used(&mut self, now: Instant) -> u64 {
        while self.entries.front().is_some_and(|(at, _)| *at + Duration::from_secs(60) <= now) {
            self.entries.pop_front();
        }
        self.entries.iter().map(|(_, amount)| amount).sum()
    }

    fn add(&mut self, amount: u64, now: Instant) {
        self.all += amount;
        self.entries.push_back((now, amount));
    }
}

/// Size of a request in tokens.
#[derive(Clone, Copy)]
struct Size {
    input: u64,
    most: u64,
    output: u64,
}

impl Size {
    /// Returns the sizes of the public trace; `None` if it is not available.
    fn of_trace() -> Option<Vec<Self>> {
        let size = |request: Traced| Self { input: request.input, most: 1_500, output: request.output };
        Some(trace()?.into_iter().map(size).collect())
    }

    /// Returns a random size like those of conversations: most are short, some are long.
    fn draw(prng: &mut Prng) -> Self {
        let input = 50 + prng.below(400) * (1 + prng.below(12)) / (1 + prng.below(4));
        let output = 1 + prng.below(600) / (1 + prng.below(5));
        Self { input, most: 600, output }
    }
}

impl Vendor {
    fn admit(&mut self, size: Size) -> Result<(), Error> {
        let now = Instant::now();
        self.attempts += 1;
        let amount = if self.reserves { size.input + size.most } else { size.input };
        let is_full = self.input.used(now) + amount > LIMIT || (!self.reserves && self.output.used(now) >= LIMIT / 5);
        if is_full {
            self.refused += 1;
            return Err(status(429));
        }
        self.input.add(amount, now);
        Ok(())
    }
}

async fn serve(pool: &KeyPool<Arc<Mutex<Vendor>>>, size: Size, latency: Duration) -> Result<(), Error> {
    loop {
        let lease = pool.lease(&LeaseRequest::new("m").tokens(size.input, size.most)).await?;
        let vendor = Arc::clone(lease.key());
        // Time until the request reaches the vendor.
        tokio::time::sleep(Duration::from_millis(100)).await;
        let admitted = vendor.lock().unwrap().admit(size);
        tokio::time::sleep(latency).await;
        match admitted {
            Ok(()) => {
                vendor.lock().unwrap().output.add(size.output, Instant::now());
                lease.report(Outcome::success().usage(Usage::new(size.input, size.output)));
                return Ok(());
            }
            Err(error) => lease.report(error.into()),
        }
    }
}

/// Makes calls continuously. Returns the served share of what the vendor would admit, and the share of refused
/// attempts, both in permille.
async fn saturate(reserves: bool, group: Group, sizes: Option<Arc<Vec<Size>>>, seed: u64) -> (u64, u64) {
    let (input, output) = (Log::default(), Log::default());
    let vendor = Arc::new(Mutex::new(Vendor { reserves, input, output, refused: 0, attempts: 0 }));
    let member = Member::new("a", Arc::clone(&vendor));
    let pool =
        KeyPool::builder().member(member).group(group).max_wait(Duration::from_secs(90)).seed(seed).build().unwrap();
    let end = Instant::now() + Duration::from_secs(60 * MINUTES);
    let mut workers = JoinSet::new();
    for worker in 0..60 {
        let (pool, mut prng, sizes) = (pool.clone(), Prng(1_000 * seed + worker), sizes.clone());
        workers.spawn(async move {
            while Instant::now() < end {
                let latency = Duration::from_millis(200 + prng.below(2_800));
                let size = match &sizes {
                    Some(sizes) => sizes[prng.below(sizes.len() as u64) as usize],
                    None => Size::draw(&mut prng),
                };
                if let Ok(served) = tokio::time::timeout_at(end, serve(&pool, size, latency)).await {
                    served.unwrap();
                }
            }
        });
    }
    tokio::time::sleep_until(end - Duration::from_millis(1)).await;
    let figures = {
        let vendor = vendor.lock().unwrap();
        let most = if reserves { vendor.input.all * 1_000 / LIMIT } else { vendor.output.all * 1_000 / (LIMIT / 5) };
        let most = most.max(vendor.input.all * 1_000 / LIMIT);
        (most / MINUTES, vendor.refused * 1_000 / vendor.attempts)
    };
    workers.join_all().await;
    figures
}

fn reserved() -> Group {
    Group::new("a").limit("m", tokens_per_minute(LIMIT))
}

fn used() -> Group {
    let group = Group::new("a").limit("m", input_tokens_per_minute(LIMIT));
    group.limit("m", output_tokens_per_minute(LIMIT / 5))
}

async fn check(seeds: Range<u64>, reserves: bool, group: Group, sizes: Option<&Arc<Vec<Size>>>) {
    let mut bad = Vec::new();
    for seed in seeds {
        let (served, refused) = saturate(reserves, group.clone(), sizes.cloned(), seed).await;
        println!("seed {seed}: {served} ‰ served, {refused} ‰ refused");
        bad.extend((served < 950 || refused > 5).then_some((seed, served, refused)));
    }
    assert!(bad.is_empty(), "seed, ‰ served, ‰ refused: {bad:?}");
}

#[tokio::test(start_paused = true)]
async fn token_limit_on_reserved_tokens_saturates() {
    check(seeds(), true, reserved(), None).await;
}

#[tokio::test(start_paused = true)]
async fn token_limits_on_used_tokens_saturate() {
    check(seeds(), false, used(), None).await;
}

#[tokio::test(start_paused = true)]
async fn token_limits_on_azure_trace_saturate() {
    if let Some(sizes) = Size::of_trace().map(Arc::new) {
        check(seeds(), true, reserved(), Some(&sizes)).await;
        check(seeds(), false, used(), Some(&sizes)).await;
    }
}
