//! Dated price tables of vendors, as a starting point.
//!
//! They are facts of the day that [`as_of`](llm_core::PriceTable::as_of) names, gathered from the place that
//! [`source`](llm_core::PriceTable::source) names, and not authoritative: a vendor's own pages and your contract with it
//! are. Put your own prices over them:
//!
//! ```
//! use llm_core::{ModelPrice, Price, PriceTable, Rate};
//! use llm_providers::prices;
//!
//! // One model of your own, …
//! let rate = |dollars: &str| Rate::per_million(dollars.parse().expect("an amount")).expect("not negative");
//! let price = Price { input: rate("0.20"), output: rate("0.80"), ..Price::default() };
//! let table = prices::openai().with("our-tuned-model", ModelPrice::flat(price))?;
//! // … or a table of your own over all of it.
//! let ours = r#"{"as_of": "2026-12-01", "models": {"gpt-4o": {"rows": [{"input": "2", "output": "8"}]}}}"#;
//! let table = table.merged(&PriceTable::from_json(ours)?);
//! # assert_eq!(table.cost("gpt-4o", &llm_core::Usage::new(1, 1)).map(|c| c.nanos()), Some(10_000));
//! # assert!(table.cost("our-tuned-model", &llm_core::Usage::new(1, 1)).is_some());
//! # Ok::<_, llm_core::PriceTableError>(())
//! ```
//!
//! [`load`] reads such a table from a file, and a [`Prices`](llm_core::Prices) holds one that can be replaced while
//! calls run.
//!
//! # What the tables hold
//!
//! Tabulated from LiteLLM's table of model prices (`model_prices_and_context_window`, in the PyPI wheel litellm 1.109.1,
//! MIT licence), as of 2026-11-21: plain, cached and written input, audio input, output; for standard service and each
//! service class that it lists (batch, flex, priority, and others by their names); with rows for long prompts.
//!
//! Three kinds of prices are not in that source and are filled in here:
//!
//! - Anthropic's and `gpt-5.6`'s tokens written for long, in a batch: half of the standard price, as all else there.
//! - Tokens of OpenAI's older models read from the cache, in a batch: the standard price for them, or the batch's plain
//!   input where that is less.
//! - The output of embeddings: 0.
//!
//! Left out: fees that are not by token (a search, storage of an explicit cache), which that source does not state for
//! these models; prices of image and video tokens of `gemini-embedding-2`, as embedding requests here carry text only;
//! DeepSeek's price of 0 for written tokens, which are plain input to it. Reasoning costs what other output costs, with
//! every model here.
//!
//! Some classes have no known price for long prompts (`gpt-5.4` and `gpt-5.5` with priority; `gpt-5.5-pro`,
//! `gemini-2.5-pro` and `gemini-3.1-pro-preview` with flex): there the cost is `None`.
//!
//! # Factors
//!
//! What some ways of processing cost on top is no price of a model, but a factor for
//! [`PriceOptions::per_mille`](llm_core::PriceOptions::per_mille): [`ANTHROPIC_US_ONLY`], [`ANTHROPIC_OPUS_5_5_FAST`]
//! and [`OPENAI_REGIONAL`].

mod file;
mod shipped;

pub use self::file::{LoadError, load};
pub use self::shipped::{
    ANTHROPIC_OPUS_5_5_FAST, ANTHROPIC_US_ONLY, OPENAI_REGIONAL, all, anthropic, deepseek, gemini, groq, mistral,
    openai,
};
