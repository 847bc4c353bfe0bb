//! Embeds each line of a file. If it is killed and started again, it pays for nothing twice, and states the cost of the
//! whole job.
//!
//! `cargo run -p examples --bin embedding_job -- /tmp/texts.txt`, where `seq 10000 > /tmp/texts.txt` made the file. A second
//! argument is the address of a real vendor, such as `https://api.openai.com/v1`, whose key is in `OPENAI_API_KEY`.

use llm_cache::{Cache, CacheLayer};
use llm_core::{BoxError, Call, EmbedRequest, into_provider};
use llm_providers::{Ledger, OpenAi, ledger::LedgerFile, prices, retry::RetryLayer};

#[expect(clippy::disallowed_methods, reason = "the program's edge reads the environment")]
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let simulated = llm_testkit::Vendor::new().serve().await;
    let mut arguments = std::env::args().skip(1);
    let path = std::path::absolute(arguments.next().ok_or("name a file of texts")?)?.display().to_string();
    let address = arguments.next().unwrap_or_else(|| simulated.base_url());
    let key = std::env::var("OPENAI_API_KEY").unwrap_or_else(|_| "no-real-key".into());

    let ledger = Ledger::new(prices::openai());
    let costs = LedgerFile::builder(format!("{path}.costs")).by_label("job").open(&ledger)?;
    let cache = Cache::builder("embeddings").open(&format!("file://{path}.entries?max_bytes=1gb"))?;
    let stack = tower::ServiceBuilder::new()
        .layer(CacheLayer::new(cache.clone()))
        .layer(RetryLayer::new())
        .layer(ledger.attempts())
        .service(OpenAi::new(key)?.base_url(&address)?);
    let provider = into_provider(stack);

    let texts = std::fs::read_to_string(&path)?;
    for lines in texts.lines().collect::<Vec<_>>().chunks(500) {
        let request = EmbedRequest::new("text-embedding-3-small", lines.iter().copied());
        let reply = provider.embed(Call::new("search", request).with_label("job", &path)?).await?;
        // … store `reply.output.vectors` here …
        cache.close().await?;
        costs.flush()?;
        println!("{} vectors, {} so far", reply.output.vectors.len(), costs.months().of_label("job", &path).paid);
    }
    Ok(())
}
