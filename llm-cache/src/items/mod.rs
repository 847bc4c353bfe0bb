//! Operations that can be divided: each item is a question of its own.

mod fate;
mod gather;
mod item;
mod request;
mod together;

pub(crate) use self::{
    fate::{Fate, tell},
    gather::by_item,
    item::split,
    request::Items,
};
