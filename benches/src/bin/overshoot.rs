//! Measures the share of calls that four processes grant beyond a common limit, and the share that they refuse too
//! early.
//!
//! `cargo run --release -p benches --bin overshoot` sends the same arrivals through limits in Redis that ask the server
//! for each call, through limits in chunks, and through a model of limiters that count in each process and add their
//! counts up in Redis every 100 ms. It needs a `redis-server`.

#[cfg(unix)]
mod model {
    use std::{
        cell::{Cell, RefCell},
        num::NonZeroU32,
        time::Duration,
    };

    use futures_util::future::{join_all, select};
    use llm_ratelimit::{
        Demand, Limit, Limiter, Plans, RedisAccounts, Settlement,
        llm_redis::{Command, Key, Redis},
    };
    use llm_testkit::redis::RedisServer;
    use tokio::time::{Instant, interval, sleep_until};

    const PROCESSES: usize = 4;
    /// Interval at which each process of the model synchronises with Redis.
    const BATCH: Duration = Duration::from_millis(100);
    /// Duration in which all arrivals fall. The limit allows half of them.
    const RUN: Duration = Duration::from_secs(2);
    const SEED: u64 = 2026;

    /// Arrival of one call at a process.
    #[derive(Clone, Copy)]
    struct Arrival {
        at: Duration,
        process: usize,
    }

    /// Design of the measured limiter.
    #[derive(Clone, Copy, Debug)]
    enum Design {
        PerCall,
        Chunks,
        Batching,
    }

    /// Limiter of one process.
    enum Process {
        Ours(Limiter),
        Batching(Batching),
    }

    /// Counter of one process that is added to the counter in Redis at intervals. In between, it does not see the calls
    /// of other processes.
    struct Batching {
        redis: Redis,
        key: Key,
        limit: u64,
        known: Cell<u64>,
        unsent: Cell<u64>,
    }

    /// Numbers of calls by outcome so far.
    #[derive(Default)]
    struct Tally {
        granted: Cell<u64>,
        deciding: Cell<u64>,
        early: Cell<u64>,
    }

    impl Batching {
        fn admit(&self) -> bool {
            let admits = self.known.get() + self.unsent.get() < self.limit;
            self.unsent.set(self.unsent.get() + u64::from(admits));
            admits
        }

        async fn synchronise(&self) {
            let mut rounds = interval(BATCH);
            loop {
                rounds.tick().await;
                let sent = self.unsent.take();
                self.known.set(self.known.get() + sent);
                let add = Command::new("INCRBY", &self.key).arg(sent.to_string());
                let total = self.redis.run(add).await.and_then(|total| total.into_int()).expect("the server is there");
                self.known.set(total.unsigned_abs());
            }
        }
    }

    impl Process {
        async fn open(design: Design, url: &str, limit: u64) -> Self {
            let redis = Redis::builder(url).prefix(format!("{design:?}{limit}")).call_timeout(Duration::from_secs(20));
            let redis = redis.spawn().expect("the settings are right");
            if let Design::Batching = design {
                let key = redis.key_space().tag("batching").key("total");
                return Self::Batching(Batching { redis, key, limit, known: Cell::new(0), unsent: Cell::new(0) });
            }
            let processes = NonZeroU32::new(4).expect("it is not zero");
            let is_chunked = matches!(design, Design::Chunks);
            let accounts = RedisAccounts::builder(redis, processes).chunked(move |_, _| is_chunked);
            let accounts = accounts.decision_timeout(Duration::from_secs(20)).open().await.expect("it is there");
            let limit: Limit = format!("{limit} requests/month").parse().expect("it is a limit");
            let plans = Plans::default().limit(limit).expect("it is new");
            Self::Ours(Limiter::builder(plans).redis(accounts).build().expect("the plans are right"))
        }

        async fn admit(&self) -> bool {
            match self {
                Self::Batching(batching) => batching.admit(),
                Self::Ours(limiter) => {
                    let outcome = limiter.reserve(&Demand::new("acme", "m")).await;
                    outcome.map(|reservation| reservation.settle(Settlement::Unknown)).is_ok()
                }
            }
        }
    }

    impl Tally {
        async fn call(&self, process: &Process, limit: u64) {
            self.deciding.set(self.deciding.get() + 1);
            let granted = process.admit().await;
            self.deciding.set(self.deciding.get() - 1);
            if granted {
                self.granted.set(self.granted.get() + 1);
            } else if self.granted.get() + self.deciding.get() < limit {
                self.early.set(self.early.get() + 1);
            }
        }
    }

    /// Returns arrivals at random times, with a mean of `rate` calls a second.
    fn arrivals(rate: u64) -> Vec<Arrival> {
        let state = RefCell::new(SEED);
        let random = || {
            let mut state = state.borrow_mut();
            *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *state >> 33
        };
        let nanos = u64::try_from(RUN.as_nanos()).expect("it is short");
        let mut arrivals: Vec<_> = (0..rate * RUN.as_secs())
            .map(|_| {
                let at = Duration::from_nanos((random() << 31 | random()) % nanos);
                Arrival { at, process: usize::try_from(random()).unwrap_or(0) % PROCESSES }
            })
            .collect();
        arrivals.sort_by_key(|arrival| arrival.at);
        arrivals
    }

    /// Returns the number of commands that limiters have sent to the server.
    fn requests(server: &RedisServer) -> u64 {
        let stats = server.command(&["INFO", "commandstats"]).expect("it responds");
        let calls = |name: &str| -> u64 {
            let line = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{name}:calls=")));
            line.and_then(|rest| rest.split(',').next()).map_or(0, |calls| calls.parse().expect("a number"))
        };
        calls("eval") + calls("evalsha") + calls("incrby")
    }

    /// Sends the arrivals through a limiter of `design`, and prints the outcomes.
    async fn replay(server: &RedisServer, design: Design, rate: u64, arrivals: &[Arrival]) {
        let limit = rate * RUN.as_secs() / 2;
        let url = server.url();
        let processes = join_all((0..PROCESSES).map(|_| Process::open(design, &url, limit))).await;
        let (tally, before) = (Tally::default(), requests(server));
        let start = Instant::now();
        let calls = join_all(arrivals.iter().map(|arrival| async {
            sleep_until(start + arrival.at).await;
            tally.call(&processes[arrival.process], limit).await;
        }));
        let synchronise = join_all(processes.iter().map(|process| async move {
            if let Process::Batching(batching) = process {
                batching.synchronise().await;
            }
            std::future::pending::<()>().await;
        }));
        select(Box::pin(calls), Box::pin(synchronise)).await;
        let (granted, sent) = (tally.granted.get(), requests(server) - before);
        println!(
            "{rate:>6} a second, limit {limit:>5}   {:<8}   granted {granted:>5}   overshoot {:>5.1} %   early refusals {:>5.1} %   \
             requests a call {:.3}",
            format!("{design:?}"),
            percent(granted.saturating_sub(limit), limit),
            percent(tally.early.get(), limit),
            ratio(sent, arrivals.len() as u64),
        );
    }

    fn percent(part: u64, whole: u64) -> f64 {
        100.0 * ratio(part, whole)
    }

    #[expect(clippy::cast_precision_loss, reason = "counts are small")]
    fn ratio(part: u64, whole: u64) -> f64 {
        part as f64 / whole as f64
    }

    pub(super) async fn run() {
        let server = RedisServer::spawn();
        for rate in [200, 1_000, 4_000] {
            let arrivals = arrivals(rate);
            for design in [Design::PerCall, Design::Chunks, Design::Batching] {
                replay(&server, design, rate, &arrivals).await;
            }
        }
    }
}

fn main() {
    #[cfg(unix)]
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("it can be made").block_on(model::run());
}
