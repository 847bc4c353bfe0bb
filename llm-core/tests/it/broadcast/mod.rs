//! One stream for many readers: everything arrives, nobody hangs, nobody is woken for nothing.

mod cases;
mod polls;
mod schedules;
mod source;
mod threads;
