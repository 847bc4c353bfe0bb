//! One stream for many readers: every item arrives, no reader hangs, none is woken in vain.

mod cases;
mod polls;
mod schedules;
mod source;
mod threads;
