//! Accounts of the cost of attempts and the value of responses: per tenant, label and model, and in total.
//!
//! # Two layers
//!
//! [`Ledger::requests`] is the top layer of a stack and books the responses that callers got. [`Ledger::attempts`] is the
//! layer right above the client, below everything that retries, coalesces or caches, and books every attempt at a vendor,
//! also those without a waiting caller. Both write into one [`Ledger`].
//!
//! ```
//! use llm_core::{Call, ChatRequest, into_provider};
//! use llm_providers::{Ledger, prices};
//! # use std::sync::Arc;
//! # use llm_core::*;
//! # struct Client;
//! # #[async_trait::async_trait]
//! # impl Provider for Client {
//! #     async fn chat(&self, call: Call<ChatRequest>) -> Result<Reply<ChatResponse>, Error> {
//! #         let receipt = Receipt::default();
//! #         receipt.edit(|accounting| accounting.usage = Some(Usage::new(1_000, 100)));
//! #         let choice = Choice::new(0, vec![Part::text("yes")], FinishReason::Stop);
//! #         Ok(Reply::new(ChatResponse::new("1", call.body.model, vec![choice]), receipt))
//! #     }
//! #     async fn chat_stream(&self, _: Call<ChatRequest>) -> Result<Reply<ChatStream>, Error> { unreachable!() }
//! #     async fn embed(&self, _: Call<EmbedRequest>) -> Result<Reply<Embeddings>, Error> { unreachable!() }
//! # }
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! # let client = into_service(Arc::new(Client));
//! let ledger = Ledger::new(prices::openai());
//! let stack = tower::ServiceBuilder::new()
//!     .layer(ledger.requests())
//!     // cache, limits, batches, keys: between the two
//!     .layer(ledger.attempts())
//!     .service(client);
//! let provider = into_provider(stack);
//! provider.chat(Call::new("acme", ChatRequest::new("gpt-4o-mini").user("Is it safe?"))).await?;
//!
//! let books = ledger.snapshot();
//! assert_eq!(books.total().paid.to_string(), "$0.00021");
//! assert!(books.total().balance().is_balanced());
//! println!("{books}");
//! # Ok::<_, llm_core::Error>(()) }).unwrap();
//! ```
//!
//! # Terms
//!
//! Of attempts, each of which is one try at a vendor:
//!
//! - **paid**: cost of the attempts whose usage arrived, at the table's prices for the service class they got.
//! - **unconfirmed**: attempts that were sent and whose usage never arrived. They are not part of `paid` and are
//!   counted apart at their *upper bound* ([`PriceTable::bound`](llm_core::price::PriceTable::bound)). The vendor bills
//!   some of them.
//! - **used**: the part of `paid` whose response a caller used.
//! - **wasted**: the part of `paid` whose response no caller used, by [cause](Waste).
//! - **open**: the part of `paid` that is not settled yet, because the response has not reached its caller.
//! - **unpriced attempts**: usage arrived, but its cost is unknown for a [cause](llm_core::price::UnknownCost) that
//!   [`Snapshot::unknown_costs`] names. An amount with such a part prints as `unknown` or as a lower bound (`≥ $0.12`).
//!
//! Of responses, one for each call, and only those that arrived completely:
//!
//! - **list**: list price of the responses, which is the table's price of each as if bought alone at the standard service
//!   class. That of a packed response is an estimate.
//! - **useful**: amount paid for these responses. Of all responses that come of one attempt, the first to end takes it.
//! - **saved**: amount that did not have to be paid for them, by [cause](llm_core::Cause). A cache hit or a coalesced call
//!   saves the *cost* of the response, which is its price as it was served. A packed request and a cheaper service class
//!   save the difference between that cost and the list price, for each response that comes of them. A dearer class, such
//!   as priority, saves a negative amount.
//! - **unpriced responses**: those whose cost is unknown.
//! - **unlisted**: useful and saved amounts of the responses whose list price is unknown. `saved` then prints as `unknown`
//!   or with `+ ?`, because the missing part may be negative.
//!
//! # Identities
//!
//! Each amount is counted independently and none is computed from the others, so that these identities can be checked
//! ([`Row::balance`]):
//!
//! ```text
//! paid = used + wasted + open        in every row
//! list + unlisted = useful + saved   in every row
//! used = useful                      in the total, so that   paid = useful + wasted + open
//! ```
//!
//! In the row of a label or a model `used` and `useful` can differ: an attempt is booked under the labels of the call
//! that made it, and a response under those of the call that got it.
//!
//! # Behaviour
//!
//! - A call known not to have been sent costs nothing. An error that was sent costs what its
//!   [`Charge`](llm_core::Charge) says; a stream that broke off costs the usage that arrived, else it is unconfirmed.
//! - The price is that of the model of the response, if the table lists it for its provider; else that of the
//!   requested model, if the response's name only extends it (`text-embedding-ada-002-v2`). Where the table lists neither, the
//!   amount that the vendor states it billed counts (OpenRouter's `usage.cost`); else an alias
//!   ([`PriceTable::alias`](llm_core::price::PriceTable::alias)). A provider's prices never apply to another provider's
//!   responses. The rows of models have the requested model.
//! - A usage larger than any response can have counts as no usage: the attempt is unconfirmed, and no total includes
//!   it.
//! - The service class is the one that the vendor names ([`ServiceTier::named`](llm_core::price::ServiceTier::named)); if it
//!   names none, the one that a chat request asks for in its field `service_tier`; else standard. A class without a known
//!   price for the model is unpriced and named, never taken for standard.
//! - Surcharges (processing in one region, a fast mode) are those that the vendor names in its response, or its client
//!   knows by its address: [`PriceOptions::surcharges`](llm_core::price::PriceOptions::surcharges). What Anthropic's response does
//!   not tell of them is as the request asked. One without a known factor
//!   for the model makes the cost unknown, never the list price.
//! - The bound is the dearer of standard service and the class asked for; of a request that asks for none,
//!   [`Ledger::default_tier`]. Surcharges that a request asks for (`inference_geo`, `speed`) raise it, and so does
//!   [`Ledger::default_surcharge`].
//! - A call keeps the prices with which it began, even if [`Ledger::replace_prices`] replaces them meanwhile.
//! - A reply from a cache or from another call is not an attempt, wherever the layer is.
//! - An attempt of a [merged call](llm_core::layer::call_merged) is divided among its members by their estimated input. Each
//!   share is booked under the member's tenant and labels, also if its caller has left. A row counts the attempt once.
//! - A stack must have only one ledger. With two, the upper attempts layer takes the cost shares of the lower one, and
//!   both have wrong amounts.
//! - Put the attempts layer below [`Tasks`](llm_core::Tasks), where the request is the chat request that is sent, and
//!   its bound is known.
//!
//! # Cloning and readiness
//!
//! Both services are always ready; each call waits for its own clone of the inner service. Clones of a ledger, its
//! layers and its services share the same books. They are kept in memory, under one lock that is never held while other
//! code runs; a call costs a few map look-ups. A [`LedgerFile`] keeps the totals of each month over restarts. Maps are
//! bounded: see [`Ledger::max_tenants`].

mod account_table;
mod accounts;
mod amounts;
mod attempt;
mod attempts;
mod balance;
mod call_outcome;
mod csv;
mod file;
mod future;
mod keys;
mod meter;
mod month;
mod months;
mod request_log;
mod requests;
mod row;
mod running;
mod shared;
mod snapshot;
mod stack_faults;
mod table;
mod terms;
mod texts;
mod unknown_costs;
mod waste;

pub use self::attempt::{Attempt, Charged, Outcome};
pub use self::attempts::{Attempts, AttemptsLayer};
pub use self::balance::Balance;
pub use self::file::{LedgerFile, LedgerFileBuilder, LedgerFileError};
pub use self::month::{Month, ParseMonthError};
pub use self::months::Months;
pub use self::requests::{Requests, RequestsLayer};
pub use self::row::{Row, Unconfirmed};
pub use self::shared::Ledger;
pub use self::snapshot::Snapshot;
pub use self::stack_faults::StackFault;
pub use self::waste::{Waste, WastedSpend};
