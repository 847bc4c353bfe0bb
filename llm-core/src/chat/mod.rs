//! Chat: requests, responses, streams.

mod affinity;
mod aggregate;
mod event;
mod live;
mod message;
mod part;
mod request;
mod response;
mod sampling;
mod schema;
mod stream;
mod tool;
mod validate;
mod watchers;

pub use self::event::{ChatEvent, ExtraOf};
pub use self::message::{Message, Role};
pub use self::part::{Image, ImageSource, Part, Reasoning, ToolCall, ToolResult};
pub use self::request::ChatRequest;
pub use self::response::{ChatResponse, Choice, FinishReason};
pub use self::sampling::Sampling;
pub use self::stream::ChatStream;
pub use self::tool::{FunctionTool, JsonSchema, ResponseFormat, Tool, ToolChoice};
