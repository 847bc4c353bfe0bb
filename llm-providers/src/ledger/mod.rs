//! Accounts of the cost of attempts and the value of responses, by tenant, label and model, and in total.
//!
//! # Two layers
//!
//! [`Ledger::requests`] is the top layer of a stack and books the responses that callers got. [`Ledger::attempts`] is
//! the layer right above the client, below everything that retries, coalesces or caches, and books every attempt at a
//! vendor, including attempts for which no caller waits. Both layers write to one [`Ledger`].
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
//! Amounts and counts of attempts. An attempt is one call to a vendor:
//!
//! - **paid**: cost of the attempts whose usage arrived, at the table's prices for the service class that served them.
//! - **unconfirmed**: attempts that were sent and whose usage never arrived. They are not part of `paid` and are
//!   counted separately at their *upper bound* ([`PriceTable::bound`](llm_core::price::PriceTable::bound)). The vendor
//!   bills some of them.
//! - **used**: the part of `paid` whose response a caller used.
//! - **wasted**: the part of `paid` whose response no caller used, by [cause](Waste).
//! - **open**: the part of `paid` that is not settled yet, because the response has not reached its caller.
//! - **unpriced attempts**: number of attempts whose usage arrived but whose cost is unknown, for a
//!   [cause](llm_core::price::UnknownCost) that [`Snapshot::unknown_costs`] names. An amount that lacks the cost of
//!   such attempts is printed as `unknown` or as a lower bound (`≥ $0.12`).
//!
//! Amounts and counts of responses. A call has one response, which is counted only if it arrived completely:
//!
//! - **list**: list price of the responses, which is the table's price of each response as if it was requested alone at
//!   the standard service class. The list price of a response to a packed request is an estimate.
//! - **useful**: amount paid for these responses. If one attempt produces several responses, the response that ends
//!   first takes the whole amount.
//! - **saved**: amount that did not have to be paid for these responses, by [cause](llm_core::Cause). A cache hit or a
//!   coalesced call saves the *cost* of the response, which is its price at the service class that served it. A packed
//!   request and a cheaper service class save the difference between the list price and that cost for each of their
//!   responses. A dearer class, such as priority, saves a negative amount.
//! - **unpriced responses**: number of responses whose cost is unknown.
//! - **unlisted**: useful and saved amounts of the responses whose list price is unknown. `saved` is then printed as
//!   `unknown` or with `+ ?`, because the missing part may be negative.
//!
//! # Identities
//!
//! Each amount is counted independently of the others, so that these identities can be checked ([`Row::balance`]):
//!
//! ```text
//! paid = used + wasted + open        in every row
//! list + unlisted = useful + saved   in every row
//! used = useful                      in the total, so that   paid = useful + wasted + open
//! ```
//!
//! In the row of a label or a model, `used` and `useful` can differ, because an attempt is booked under the labels of
//! the call that sent it, and a response under the labels of the call that got it.
//!
//! # Behaviour
//!
//! - An attempt that was not sent costs nothing. A failed attempt that was sent costs the [`Charge`](llm_core::Charge)
//!   of its error. A stream that broke off costs the usage that arrived. If no usage arrived, the attempt is
//!   unconfirmed.
//! - The price is that of the response's model, if the table lists this model for its provider. Otherwise it is that of
//!   the requested model, if the name of the response's model only extends the requested name
//!   (`text-embedding-ada-002-v2`). If the table lists neither, the cost is the amount that the vendor states it billed
//!   (OpenRouter's `usage.cost`). If the vendor states none, an alias
//!   ([`PriceTable::alias`](llm_core::price::PriceTable::alias)) decides the price. A provider's prices never apply to
//!   another provider's responses. The rows of models are those of requested models.
//! - A usage that is larger than any response can have counts as no usage. The attempt is unconfirmed, and no total
//!   includes this usage.
//! - The service class is the one that the vendor names ([`ServiceTier::named`](llm_core::price::ServiceTier::named));
//!   if the vendor names none, it is the class that a chat request sets in its field `service_tier`, otherwise
//!   standard. If the price of the class is unknown for the model, the attempt is unpriced and the cause names the
//!   class. The standard price is not used in its place.
//! - Surcharges ([`PriceOptions::surcharges`](llm_core::price::PriceOptions::surcharges)), such as processing in one
//!   region or a fast mode, are those that the vendor's response names, and those that apply to the host of the
//!   client's base URL. A surcharge that Anthropic's response does not state is taken from the request. A surcharge
//!   without a known factor for the model makes the cost unknown.
//! - The upper bound is the cost at the requested class or at the standard class, whichever is higher. For a request
//!   without a class, [`Ledger::default_tier`] counts as the requested class. Surcharges that a request sets
//!   (`inference_geo`, `speed`) and [`Ledger::default_surcharge`] raise the bound.
//! - A call keeps the prices with which it began, even if [`Ledger::replace_prices`] replaces them meanwhile.
//! - A reply from a cache or from another call is not an attempt, wherever the layer is.
//! - An attempt of a [merged call](llm_core::layer::call_merged) is divided among its members by their estimated input.
//!   Each share is booked under the member's tenant and labels, even if the member's caller dropped its call. A row
//!   counts the attempt once.
//! - A stack must have only one ledger. With two ledgers, the upper attempts layer takes the cost shares of the lower
//!   one, and both ledgers have wrong amounts.
//! - Put the attempts layer below [`Tasks`](llm_core::Tasks), where the request is the chat request that is sent, and
//!   its bound is known.
//!
//! # Cloning and readiness
//!
//! Both services are always ready; each call waits for its own clone of the inner service. Clones of a ledger, its
//! layers and its services share the same accounts. The accounts are kept in memory, under one lock that is never held
//! while code from outside the ledger runs. Booking a call costs a few map look-ups. A [`LedgerFile`] keeps the totals
//! of each month after a restart. The number of rows is bounded: see [`Ledger::max_tenants`].

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
