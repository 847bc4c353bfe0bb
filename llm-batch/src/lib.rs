//! Batching of calls to language models: many small questions become one paid call.
//!
//! **Status: not built yet; this crate holds its contract.** It exports nothing and has no dependency.
//!
//! # What it will be
//!
//! It collects questions for a short, bounded while, asks them together, and hands each caller his own answer:
//!
//! - Micro-batching of operations that can be divided and joined (embeddings first), with a window that adapts to the
//!   load and never outlasts a call's deadline.
//! - Packing of several prompts into one where the application allows it. One item that spoils its batch is found and
//!   isolated, and one customer's text cannot steer another's answer.
//! - A merged call carries its shares: usage and cost are split over the callers so that the parts sum exactly to the
//!   whole, the remainder going to the last.
//! - A caller that goes away takes nothing from the others; queues have a length, and waits a bound and a reason.
//! - Later, durable jobs over vendors' half-price batch interfaces, with a journal that survives a restart.
//! - The core works on its own: submit an item, await its answer, with any client and no tower.
//! - A mode that observes: it counts what would have been merged and saved, and merges nothing.
//!
//! # What it will not be
//!
//! - No cache: equal questions are `llm-cache`'s, only different ones meet here.
//! - No limiter and no choice of key; those are `llm-ratelimit`'s and `llm-keypool`'s.
//! - No reader of vendors' JSON or headers, no floating-point money, no background task that its constructor's name
//!   does not announce.
//! - No dependency on a sibling crate; it builds on `llm-core`.

#![cfg_attr(docsrs, feature(doc_cfg))]
