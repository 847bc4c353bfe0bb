//! Decoding of complete responses.

mod billed;
mod chat;
mod content;
mod embed;
mod models;
mod tool;
mod usage;

pub(super) use self::{
    billed::billed,
    chat::{service_tier, take_finish},
    content::{details_part, split_content, take_details},
    tool::arguments,
    usage::take_usage,
};
pub(crate) use self::{chat::chat, embed::vectors, models::models};
use crate::protocol::Decoded;
