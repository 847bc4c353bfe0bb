//! A progress bar, on a terminal only.

use std::io::{self, IsTerminal, Stderr, Write};

/// The characters between the brackets.
const WIDTH: u64 = 30;

/// Counts calls and draws a bar on one line. It is drawn anew when its percentage changes, so at most 101 times, and
/// removed at the end or on drop. What cannot be written is passed over: a bar must not end a run.
#[derive(Debug)]
pub struct Progress<W: Write = Stderr> {
    out: Option<W>,
    label: String,
    total: u64,
    done: u64,
    drawn: Option<u64>,
}

impl Progress {
    /// A bar on the standard error, of `total` calls. Where that is no terminal, nothing is ever drawn.
    #[must_use]
    pub fn new(label: impl Into<String>, total: u64) -> Self {
        let stderr = io::stderr();
        let is_terminal = stderr.is_terminal();
        Self::on(stderr, is_terminal, label, total)
    }
}

impl<W: Write> Progress<W> {
    /// A bar on `out`, if that `is_terminal`.
    #[must_use]
    pub fn on(out: W, is_terminal: bool, label: impl Into<String>, total: u64) -> Self {
        let mut bar = Self { out: is_terminal.then_some(out), label: label.into(), total, done: 0, drawn: None };
        bar.draw();
        bar
    }

    /// Counts one call as done.
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
            // To the line's beginning, then erase it.
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
