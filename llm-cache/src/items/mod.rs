//! Operations that can be divided: each item is a question of its own.

mod all;
mod fate;
mod gather;
mod item;
mod request;
mod together;

pub(crate) use self::{
    all::all,
    fate::{Fate, tell},
    gather::by_item,
    item::split,
    request::Items,
};
