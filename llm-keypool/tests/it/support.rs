//! Pools over the simulated vendor of these tests.

use std::{fs::File, io::Read, path::PathBuf, time::Duration};

use flate2::read::GzDecoder;
use llm_core::{
    Call, ChatRequest, ChatResponse, Choice, Error, ErrorKind, FinishReason, Part, Receipt, Reply,
    layer::ResponseFuture,
};
use llm_keypool::{KeyPool, KeyPoolBuilder, LeaseRequest, Member, Outcome};
use tokio::task::JoinSet;
use tower::Service;

use crate::vendor::Key;

impl Service<Call<ChatRequest>> for Key {
    type Response = Reply<ChatResponse>;
    type Error = Error;
    type Future = ResponseFuture<ChatResponse>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Error>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: Call<ChatRequest>) -> Self::Future {
        let key = self.clone();
        ResponseFuture::waiting(async move {
            call.mark_sent();
            let limits = key.send().await?;
            let choice = Choice::new(0, vec![Part::text("hello")], FinishReason::Stop);
            let reply = Reply::new(ChatResponse::new("1", call.body.model, vec![choice]), Receipt::default());
            Ok(reply.with_limits(limits.map(Into::into)))
        })
    }
}

/// Returns a builder of a pool with one member for each key.
pub(crate) fn pool<const N: usize>(keys: [Key; N]) -> KeyPoolBuilder<Key> {
    KeyPool::builder().members(keys.map(|key| Member::new(key.name, key))).seed(7)
}

/// Returns the error for an HTTP status.
pub(crate) fn status(status: u16) -> Error {
    Outcome::status(status, None).error().unwrap().clone()
}

pub(crate) fn reset() -> Error {
    Error::new(ErrorKind::Transport, "connection reset")
}

/// Makes calls at a rate. Returns the errors of the calls that failed.
pub(crate) async fn run_calls(pool: &KeyPool<Key>, calls: u32, every: Duration) -> Vec<Error> {
    let mut running = JoinSet::new();
    for _ in 0..calls {
        let pool = pool.clone();
        running.spawn(async move {
            let request = LeaseRequest::new("gpt-4o");
            pool.run(&request, |key: Key| async move { key.send().await.map_err(Outcome::failed) }).await
        });
        tokio::time::sleep(every).await;
    }
    let outcomes = running.join_all().await;
    outcomes.into_iter().filter_map(Result::err).collect()
}

/// Request of the public trace of conversations.
pub(crate) struct Traced {
    pub(crate) arrived_at: Duration,
    pub(crate) input: u64,
    pub(crate) output: u64,
}

/// Returns the requests of the public trace; `None` if it is not available.
#[expect(clippy::disallowed_methods, reason = "a test's edge: where the public traces lie")]
pub(crate) fn trace() -> Option<Vec<Traced>> {
    let Some(directory) = std::env::var_os("LLM_TRACES").map(PathBuf::from) else {
        eprintln!("skipped: LLM_TRACES names no directory");
        return None;
    };
    let (mut text, path) = (String::new(), directory.join("azure2023_conv.csv.gz"));
    GzDecoder::new(File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    let request = |line: &str| {
        let mut fields = line.split(',').map(|field| field.parse::<f64>().unwrap());
        let arrived_at = Duration::from_secs_f64(fields.next()?);
        Some(Traced { arrived_at, input: fields.next()? as u64, output: fields.next()? as u64 })
    };
    text.lines().skip(1).map(request).collect()
}

/// Random number generator SplitMix64.
pub(crate) struct Prng(pub(crate) u64);

impl Prng {
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end.max(1)
    }
}

/// Returns the seeds for a run whose figures depend on chance: one, or ten with `LLM_FULL=1`.
#[expect(clippy::disallowed_methods, reason = "a test's edge: the size of the run")]
pub(crate) fn seeds() -> std::ops::Range<u64> {
    0..if std::env::var("LLM_FULL").is_ok_and(|full| full == "1") { 10 } else { 1 }
}
