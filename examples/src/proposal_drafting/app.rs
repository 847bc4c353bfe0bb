//! Application: search, summaries, analyses and streamed proposals.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use llm_core::{Call, ChatRequest, EmbedRequest, Error, Priority, Provider, layer::NoFallback};
use tokio::time::Instant;

use super::stack::MODELS;

const EMBEDDER: &str = "text-embedding-3-small";

/// Application on top of a stack.
pub struct App {
    provider: Arc<dyn Provider>,
    tenders: Arc<[String]>,
    index: Mutex<Vec<(u32, Arc<[f32]>)>>,
    taken: Mutex<Vec<(Duration, bool)>>,
}

impl App {
    /// Creates an application with an empty index. `tenders` are the descriptions, which are used in turn.
    #[must_use]
    pub fn new(provider: Arc<dyn Provider>, tenders: Arc<[String]>) -> Self {
        Self { provider, tenders, index: Mutex::default(), taken: Mutex::default() }
    }

    /// Embeds the description of a tender, and adds it to the index.
    ///
    /// # Errors
    ///
    /// The error of the stack.
    pub async fn index(&self, tender: u32) -> Result<(), Error> {
        let vector = self.embed("index", self.description(tender)).await?;
        let mut index = lock(&self.index);
        index.retain(|(known, _)| *known != tender);
        index.push((tender, vector));
        Ok(())
    }

    /// Finds the tender whose description is nearest to a query, and summarises it.
    ///
    /// # Errors
    ///
    /// The error of the stack, or an index without tenders.
    pub async fn search(&self, customer: &str, query: &str) -> Result<u32, Error> {
        let vector = self.embed(customer, query).await?;
        let near = |(_, other): &(u32, Arc<[f32]>)| vector.iter().zip(&**other).map(|(a, b)| a * b).sum::<f32>();
        let best = lock(&self.index).iter().max_by(|a, b| near(a).total_cmp(&near(b))).map(|(tender, _)| *tender);
        let tender = best.ok_or_else(|| Error::invalid("the index is empty: index tenders before a search"))?;
        self.chat(self.call(customer, "summary", tender)?).await?;
        Ok(tender)
    }

    /// Analyses a tender.
    ///
    /// # Errors
    ///
    /// The error of the stack.
    pub async fn analyse(&self, customer: &str, tender: u32) -> Result<(), Error> {
        self.chat(self.call(customer, "analysis", tender)?).await
    }

    /// Writes a digest of a tender. Digests can wait for the first vendor, so none is sent to the dearer one.
    ///
    /// # Errors
    ///
    /// The error of the stack.
    pub async fn digest(&self, customer: &str, tender: u32) -> Result<(), Error> {
        let call = self.call(customer, "digest", tender)?.with_priority(Priority::Background);
        self.chat(call.with_option(NoFallback)).await
    }

    /// Streams a proposal, and returns its length in characters.
    ///
    /// # Errors
    ///
    /// The error of the stack, at the beginning or within the stream.
    pub async fn propose(&self, customer: &str, tender: u32) -> Result<usize, Error> {
        let call = self.call(customer, "proposal", tender)?;
        let stream = async { self.provider.chat_stream(call).await?.output.complete().await };
        Ok(self.timed(stream).await?.text().chars().count())
    }

    /// Returns the time that each call so far took, and `true` if it got a response.
    #[must_use]
    pub fn taken(&self) -> Vec<(Duration, bool)> {
        lock(&self.taken).clone()
    }

    /// Returns a call with the label of its kind, by which its time to live, quota and budget are chosen.
    fn call(&self, customer: &str, kind: &str, tender: u32) -> Result<Call<ChatRequest>, Error> {
        let system = format!("You help builders to win tenders. Write a {kind} of the tender that follows.");
        let request = ChatRequest::new(MODELS[0]).system(system).user(self.description(tender));
        Call::new(customer, request.temperature(0.0).max_output_tokens(500)).with_label("kind", kind)
    }

    fn description(&self, tender: u32) -> &str {
        &self.tenders[tender as usize % self.tenders.len()]
    }

    async fn chat(&self, call: Call<ChatRequest>) -> Result<(), Error> {
        self.timed(async { self.provider.chat(call).await.map(drop) }).await
    }

    async fn embed(&self, customer: &str, text: &str) -> Result<Arc<[f32]>, Error> {
        let call = Call::new(customer, EmbedRequest::new(EMBEDDER, [text]));
        let vectors = self.timed(async { self.provider.embed(call).await.map(|reply| reply.output.vectors) }).await?;
        vectors.first().cloned().ok_or_else(|| Error::invalid("no vector came for a text"))
    }

    async fn timed<T>(&self, call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let start = Instant::now();
        let result = call.await;
        lock(&self.taken).push((start.elapsed(), result.is_ok()));
        result
    }
}

/// Writes a small description of a tender.
pub(super) fn description(tender: u32) -> String {
    const WORKS: [&str; 5] = ["a school", "a bridge", "a clinic", "a library", "a water tower"];
    const TRADES: [&str; 7] = ["roofing", "windows", "steel work", "painting", "electrics", "plumbing", "earthworks"];
    let (work, trade) = (WORKS[tender as usize % WORKS.len()], TRADES[tender as usize % TRADES.len()]);
    let lot =
        format!("Lot {tender}: {trade} of {work}, {} square metres, within {} weeks. ", 80 + tender, 4 + tender % 9);
    lot.repeat(8)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
