#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod always_ready;
mod batch_limits;
mod broadcast;
mod call;
pub mod chat;
mod clock;
mod embed;
mod error;
mod extensions;
mod extra;
mod fingerprint;
mod future;
mod heap_size;
#[cfg(feature = "http")]
pub mod http;
pub mod layer;
mod limits;
mod llm_service;
mod merged;
mod money;
mod operation;
mod output;
pub mod price;
mod provider;
mod receipt;
mod reply;
mod retry;
mod task;
mod usage;

pub use self::call::{Call, Labels, Priority, Tenant};
pub use self::chat::{
    ChatEvent, ChatRequest, ChatResponse, ChatStream, Choice, FinishReason, Message, Part, Role, Tool, ToolCall,
    ToolResult,
};
pub use self::clock::{Clock, ManualClock, SystemClock};
pub use self::embed::{EmbedInput, EmbedRequest, Embeddings};
pub use self::error::{BoxError, Charge, Error, ErrorKind};
pub use self::extra::Extra;
pub use self::money::Usd;
pub use self::operation::{Estimate, Operation};
pub use self::output::Output;
pub use self::provider::{Provider, erase, into_provider, into_service};
pub use self::receipt::{Amount, Cause, Origin, Receipt, Savings};
pub use self::reply::Reply;
pub use self::task::{Task, Tasks};
pub use self::usage::Usage;
