//! Price tables of vendors as of a stated day, as a starting point.
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
//! The rows of each table hold for responses of its vendor only, because the same model can cost several times as much
//! at another provider. For a deployment, or a name with a vendor's prefix, add an alias of the model that has the same
//! price to the table that ledger and limiter share:
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
//! [`load`] reads such a table from a file, and [`Prices`](llm_core::price::Prices) holds a table that can be replaced
//! while calls run.
//!
//! # Current prices
//!
//! [`litellm`] reads the table that LiteLLM publishes, with some thousand models, so that prices are current without a
//! release of this crate.
//!
//! # Contents of the tables
//!
//! The tables are taken from LiteLLM's table of model prices (`model_prices_and_context_window`, in the PyPI wheel
//! litellm 1.109.1, MIT licence), as of 2026-11-21. They have prices of plain input, of tokens read from and written to
//! the cache, of audio input and of output, for standard service and each service class that LiteLLM lists (batch,
//! flex, priority, and others by their names), with rows for long prompts.
//!
//! Three kinds of prices are not in that source and are filled in here:
//!
//! - Tokens of Anthropic's models and of `gpt-5.6` that are written to the cache with the long lifetime, in a batch,
//!   cost half of the standard price, as other tokens in a batch do.
//! - Tokens of OpenAI's older models that are read from the cache, in a batch, cost the standard price of cache reads,
//!   or the batch price of plain input if that is lower.
//! - The output of embedding models costs 0.
//!
//! Prices of searches are those that the source states for the model, at every service class. A surcharge raises only
//! the prices of tokens. Gemini 2.5 charges each request with searches, other models charge each search. Free searches,
//! of which Gemini has a number for each day or month, are not taken into account.
//!
//! Mistral's dated names (`mistral-large-2512`) have rows of their own.
//!
//! Prices of images and of audio in the output, and of searches of some models, are left out, because the source does
//! not state them for these models. A response with such output or searches has an unknown cost
//! ([`PriceTable::cost`](llm_core::price::PriceTable::cost) names what is missing), and its
//! [`Bill`](llm_core::price::Bill) lists the kinds without a price, which you can add. Storage of an explicit cache is
//! charged by the hour and not with a response, so no table has its price. Prices of image and video tokens of
//! `gemini-embedding-2` are left out, because embedding requests of this library contain only text. DeepSeek's price of
//! 0 for written tokens is left out, because DeepSeek charges them as plain input. Reasoning costs as much as other
//! output for every model in the tables.
//!
//! Some classes have no known price for long prompts (`gpt-5.4` and `gpt-5.5` with priority; `gpt-5.5-pro`,
//! `gemini-2.5-pro` and `gemini-3.1-pro-preview` with flex). The cost of a long prompt at such a class is unknown.
//!
//! # Surcharges
//!
//! The tables have surcharges ([`ModelPrice::surcharges`](llm_core::price::ModelPrice::surcharges)) for some ways of
//! processing. `us` and `fast` are from the same source. `regional` is from notes on the vendor's documentation of the
//! same day, and was not checked for each model. Replace these factors by your own if they matter:
//!
//! | surcharge | applies to | models | factor |
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
