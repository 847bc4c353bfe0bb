//! Log of prompts as JSON lines; the file may be compressed with gzip. Each line is an object:
//!
//! ```json
//! {"prompt": "Summarise this ticket: …", "tenant": "acme", "model": "gpt-4o", "ts": "2026-03-01T09:30:00Z"}
//! {"prompt": "Summarise this ticket: …", "tenant": 7, "ts": 1772357400.25}
//! {"prompt": "Summarise this ticket: …"}
//! ```
//!
//! - `prompt`: the whole text that was sent; a conversation is written as one text.
//! - `tenant`: its tenant, as a text or a whole number; without it, [`DEFAULT_TENANT`]'s.
//! - `model`: the requested model; without it, [`MODEL`](crate::simulation::MODEL).
//! - `ts`: time of the request, in unix seconds or as RFC 3339 text; on every line, or on none. The lines are put
//!   into the order of their times.
//!
//! Other fields, and empty lines, are passed over.

mod line;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use crate::error::Error;
use crate::lines;
use crate::workload::{Request, Source};

/// Tenant of lines that name none.
pub const DEFAULT_TENANT: &str = "everybody";

/// Requests of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompts {
    name: String,
    requests: Vec<Request>,
}

impl Prompts {
    /// Reads a log.
    ///
    /// # Errors
    ///
    /// The file cannot be read or holds no prompt, a line has none of the accepted forms, or only some lines have a
    /// time.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let mut requests: Vec<Request> = Vec::new();
        for (text, number) in lines::read(path)?.zip(1..) {
            let text = text.map_err(|e| Error::io(path, e).on_line(number))?;
            if text.trim().is_empty() {
                continue;
            }
            let wrong = |why: String| Error::content(path, why).on_line(number);
            let request = line::request(&text).map_err(wrong)?;
            if requests.first().is_some_and(|first| first.at.is_some() != request.at.is_some()) {
                let (here, before) = if request.at.is_some() { ("a", "none") } else { ("no", "one") };
                let why =
                    format!("there is {here} ts, and the lines before have {before}: give every line one, or none");
                return Err(wrong(why));
            }
            requests.push(request);
        }
        if requests.is_empty() {
            return Err(Error::content(path, format!("it holds no prompt: write lines such as {}", line::EXAMPLE)));
        }
        requests.sort_by_key(|request| request.at);
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { name, requests })
    }

    /// Returns `true` if the lines have times.
    #[must_use]
    pub fn are_timed(&self) -> bool {
        self.requests.first().is_some_and(|request| request.at.is_some())
    }

    /// Returns the models that the lines name.
    #[must_use]
    pub fn models(&self) -> BTreeSet<Arc<str>> {
        self.requests.iter().filter_map(|request| request.model.clone()).collect()
    }

    /// Returns the requests in the order of their times, or in that of the file if they have none.
    #[must_use]
    pub fn into_source(self) -> Source {
        let order = match self.are_timed() {
            true => "requested at their times, which the cache's clock follows",
            false => "requested one after the other, because no line has a ts",
        };
        let note = format!("{} prompts of {}, {order}", self.requests.len(), self.name);
        Source::of("prompts", self.requests).note(note)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::tree::scratch::Scratch;

    fn read(text: &str) -> Result<Prompts, String> {
        let scratch = Scratch::new();
        Prompts::read(&scratch.file("log.jsonl", text)).map_err(|e| {
            let said = e.to_string();
            said.split_once("log.jsonl").expect("the file is named").1.to_owned()
        })
    }

    #[test]
    fn prompts_are_requested_in_time_order() {
        let log = "{\"prompt\": \"later\", \"ts\": \"1970-01-01T00:01:00Z\", \"tenant\": 7, \"model\": \"m\"}\n\n\
            {\"prompt\": \"sooner\", \"ts\": 5.5, \"status\": 200}\n";
        let prompts = read(log).expect("it is right");
        assert!(prompts.are_timed());
        assert_eq!(prompts.models(), BTreeSet::from(["m".into()]));
        let source = prompts.into_source();
        assert_eq!(
            source.notes(),
            ["2 prompts of log.jsonl, requested at their times, which the cache's clock follows"]
        );
        let requests: Vec<_> = source.map(|request| request.expect("in memory")).collect();
        let request = |who, text, millis, model: Option<&str>| {
            let at = Some(SystemTime::UNIX_EPOCH + Duration::from_millis(millis));
            Request { at, instructed: false, model: model.map(Into::into), ..Request::new(who, text) }
        };
        assert_eq!(
            requests,
            [request(DEFAULT_TENANT, "sooner", 5_500, None), request("7", "later", 60_000, Some("m"))]
        );
    }

    #[test]
    fn prompts_without_times_keep_file_order() {
        let prompts = read("{\"prompt\": \"b\"}\n{\"prompt\": \"a\"}\n").expect("it is right");
        assert!(!prompts.are_timed());
        let requests: Vec<_> = prompts.into_source().map(|request| request.expect("in memory").text).collect();
        assert_eq!(requests, ["b", "a"].map(std::sync::Arc::<str>::from));
    }

    #[test]
    fn prompts_error_names_line() {
        let some = "{\"prompt\": \"a\", \"ts\": 1}\n{\"prompt\": \"a\"}\n";
        assert_eq!(
            read(some),
            Err(", line 2: there is no ts, and the lines before have one: give every line one, or none".to_owned())
        );
        assert!(read("{\"prompt\": \"a\"}\n\n{\"promt\": \"a\"}").expect_err("no prompt").starts_with(", line 3: "));
        assert!(read("\n").expect_err("empty").starts_with(": it holds no prompt: write lines such as {"));
    }
}
