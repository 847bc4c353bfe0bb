//! The servers that speak OpenAI's format: what is sent to each, what each answers, and what it cannot do.

mod answers;
mod asked;
mod cross_vendor;
mod listing;
mod recordings;
mod refusals;
mod rows;
