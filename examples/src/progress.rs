//! Progress bar that is drawn on a terminal only.

use std::io::{self, IsTerminal, Stderr, Write};

/// Number of characters between the brackets.
const WIDTH: u64 = 30;

/// Counts calls and draws a bar on one line. The bar is drawn when its percentage changes, so at most 101 times, and
/// removed at the end or on drop. Errors of writing are ignored, because a bar must not end a run.
#[derive(Debug)]
pub struct Progress<W: Write = Stderr> {
    out: Option<W>,
    label: String,
    total: u64,
    done: u64,
    drawn: Option<u64>,
}

impl Progress {
    /// Creates a bar of `total` calls on the standard error. Nothing is drawn if that is not a terminal.
    #[must_use]
    pub fn new(label: impl Into<String>, total: u64) -> Self {
        let stderr = io::stderr();
        let is_terminal = stderr.is_terminal();
        Self::on(stderr, is_terminal, label, total)
    }
}

impl<W: Write> Progress<W> {
    /// Creates a bar on `out`, which is drawn if `is_terminal` is true.
    #[must_use]
    pub fn on(out: W, is_terminal: bool, label: impl Into<String>, total: u64) -> Self {
        let mut bar = Self { out: is_terminal.then_some(out), label: label.into(), total, done: 0, drawn: None };
        bar.draw();
        bar
    }

    /// Counts a completed call.
    pub fn tick(&mut self) {
        self.done += 1;
        self.draw();
    }

    /// Removes the bar.
    pub fn finish(self) {
        drop(self);
    }

    fn draw(&mut self) {
        let percent = (self.done.min(self.total) * 100).checked_div(self.total).unwrap_or(100);
        if self.drawn == Some(percent) {
            return;
        }
        self.drawn = Some(percent);
        if let Some(out) = &mut self.out {
            let full = percent * WIDTH / 100;
            let bar: String = (0..WIDTH).map(|at| if at < full { '#' } else { '.' }).collect();
            let drawn = write!(out, "\r{} [{bar}] {percent:>3} % of {} calls", self.label, self.total);
            drop(drawn.and_then(|()| out.flush()));
        }
    }
}

impl<W: Write> Drop for Progress<W> {
    fn drop(&mut self) {
        if let Some(out) = &mut self.out {
            // Moves to the beginning of the line, and erases the line.
            drop(write!(out, "\r\u{1b}[K").and_then(|()| out.flush()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(is_terminal: bool, total: u64, ticks: u64) -> String {
        let mut out = Vec::new();
        let mut bar = Progress::on(&mut out, is_terminal, "demo", total);
        (0..ticks).for_each(|_| bar.tick());
        bar.finish();
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn progress_bar_grows_and_is_removed() {
        assert_eq!(
            drawn(true, 2, 2),
            "\rdemo [..............................]   0 % of 2 calls\
             \rdemo [###############...............]  50 % of 2 calls\
             \rdemo [##############################] 100 % of 2 calls\r\u{1b}[K"
        );
    }

    #[test]
    fn progress_is_drawn_once_per_percent() {
        assert_eq!(drawn(true, 100_000, 100_000).matches("demo").count(), 101);
    }

    #[test]
    fn progress_is_not_drawn_without_terminal() {
        assert_eq!(drawn(false, 10, 10), "");
    }

    #[test]
    fn progress_of_zero_calls_is_complete() {
        assert_eq!(drawn(true, 0, 1).matches("100 %").count(), 1);
        assert_eq!(drawn(true, 1, 3).matches("100 %").count(), 1);
    }
}
