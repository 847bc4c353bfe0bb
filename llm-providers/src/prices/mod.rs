//! Dated price tables of vendors, as a starting point.
//!
//! The prices are those of the day that [`as_of`](llm_core::price::PriceTable::as_of) returns, from the source that
//! [`source`](llm_core::price::PriceTable::source) returns. Only the vendor's own pages and your contract are
//! authoritative. Replace the prices by your own as follows:
//!
//! ```
//! use llm_core::price::{ModelPrice, Price, PriceTable, Rate};
//! use llm_providers::prices;
//!
//! // One model of your own, …
//! let rate = |dollars: &str| Rate::per_million(dollars.parse().expect("an amount")).expect("not negative");
//! let price = Price { input: rate("0.20"), output: rate("0.80"), ..Price::default() };
//! let table = prices::openai().with("our-tuned-model", ModelPrice::flat(price))?;
//! // … or a table of your own over all of it.
//! let ours = r#"{"as_of": "2026-12-01", "models": {"gpt-4o": {"rows": [{"input": "2", "output": "8"}]}}}"#;
//! let table = table.merged(&PriceTable::from_json(ours)?);
//! # assert_eq!(table.cost("gpt-4o", &llm_core::Usage::new(1, 1)).map(|c| c.nanos()), Ok(10_000));
//! # assert!(table.cost("our-tuned-model", &llm_core::Usage::new(1, 1)).is_ok());
//! # Ok::<_, llm_core::price::PriceTableError>(())
//! ```
//!
//! # Deployments, gateways, other hosts
//!
//! The rows of each table are its vendor's, and price no other provider's responses: the same model can cost several
//! times as much elsewhere. For a deployment, or a name with a vendor's prefix, name the model that has the same price,
//! in the table that ledger and limiter share:
//!
//! ```
//! use llm_providers::prices;
//!
//! let table = prices::openai()
//!     .alias("my-deployment", "gpt-4o-mini")
//!     .alias("openai/gpt-4o-mini", "gpt-4o-mini")
//!     // Or all that a provider serves.
//!     .provider_alias("azure", "openai");
//! # assert!(table.price(Some("azure"), "my-deployment").is_ok() && table.price(Some("azure"), "gpt-4o").is_ok());
//! ```
//!
//! [`load`] reads such a table from a file, and a [`Prices`](llm_core::price::Prices) holds one that can be replaced while
//! calls run.
//!
//! # Current prices
//!
//! [`litellm`] reads the table that LiteLLM publishes, with some thousand models, so that prices are current without a
//! release of this crate.
//!
//! # What the tables hold
//!
//! Tabulated from LiteLLM's table of model prices (`model_prices_and_context_window`, in the PyPI wheel litellm 1.109.1,
//! MIT licence), as of 2026-11-21: plain, cached and written input, audio input, output; for standard service and each
//! service class that it lists (batch, flex, priority, and others by their names); with rows for long prompts.
//!
//! Three kinds of prices are not in that source and are filled in here:
//!
//! - Anthropic's and `gpt-5.6`'s tokens written for long, in a batch: half of the standard price, as for other
//!   tokens in a batch.
//! - Tokens of OpenAI's older models read from the cache, in a batch: the standard price for them, or the batch's plain
//!   input where that is less.
//! - The output of embeddings: 0.
//!
//! Prices of searches are those that the source states for the model, at every service class; a surcharge is on tokens
//! only. Gemini 2.5 is charged for a request with searches, the others for each search. Free contingents (Gemini's searches
//! of a day or a month) are left out.
//!
//! Mistral's dated names (`mistral-large-2512`) have rows of their own.
//!
//! Prices of images and of audio in the output, and of searches of some models, are left out, because the source does
//! not state them for these models. A response with such output or searches has an unknown cost
//! ([`PriceTable::cost`](llm_core::price::PriceTable::cost) names what is missing), and its
//! [`Bill`](llm_core::price::Bill) lists the kinds without a price, which you can add. Storage of an explicit cache is
//! charged by the hour, apart from any response, and in no table. Left out, too: prices of image and video tokens of
//! `gemini-embedding-2`, as embedding requests here carry text only; DeepSeek's price of 0 for written tokens, which
//! are plain input to it. Reasoning costs what other output costs, with every model here.
//!
//! Some classes have no known price for long prompts (`gpt-5.4` and `gpt-5.5` with priority; `gpt-5.5-pro`,
//! `gemini-2.5-pro` and `gemini-3.1-pro-preview` with flex): there the cost is `None`.
//!
//! # Surcharges
//!
//! Surcharges of some ways of processing, as [`ModelPrice::surcharges`](llm_core::price::ModelPrice::surcharges): `us` and `fast`
//! from the same source, `regional` from notes on the vendor's documentation of the same day, not checked model by model.
//! Put your own over them where they matter:
//!
//! | way | what | models | factor |
//! |---|---|---|---|
//! | `us` | Anthropic's `inference_geo` | Claude 4.6 and later | 1.1 |
//! | `fast` | Anthropic's `speed` | Opus 4.8, 5 and 5.5 | 2 |
//! | `regional` | OpenAI's regional hosts, such as `eu.api.openai.com` | `gpt-5.6` and later | 1.1 |
//!
//! For other models these surcharges are unknown, and so is the cost of a response with one of them. If Anthropic's
//! response does not state how it was processed, the setting of the request decides.

mod file;
mod litellm;
mod shipped;

pub use self::file::{LoadError, load};
pub use self::litellm::{LiteLlmTable, Omission, litellm};
pub use self::shipped::{all, anthropic, deepseek, gemini, groq, mistral, openai, xai};
