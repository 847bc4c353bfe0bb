//! Decoding of complete responses.

mod array;
mod blocked;
mod chat;
mod embed;
mod finish;
mod listing;
mod part;
mod partial;
mod usage;

pub(crate) use self::chat::decode_chat;
pub(crate) use self::embed::decode_embeddings;
pub(crate) use self::listing::{decode_count, decode_models};
pub(super) use self::{
    blocked::blocked,
    finish::take_finish,
    part::read_part,
    partial::PartialCall,
    usage::{GROUNDS, ResponseUsage, searches},
};
