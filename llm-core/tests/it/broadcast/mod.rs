//! Tests of one stream with many readers: each reader gets every item, no reader hangs, and no reader is woken without
//! a reason.

mod cases;
mod polls;
mod schedules;
mod source;
mod threads;
