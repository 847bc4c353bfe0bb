//! Requests, and where they come from.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use crate::error::Error;

/// The fixed instruction of every request: the system message that stands before a [`Request::text`].
pub const INSTRUCTION: &str = "\
     You write test cases. For the function, scenario or user story that follows, list the cases that a careful \
     tester would run: the ordinary ones first, then limits, then wrong input. For each case give a name, the \
     preconditions, the steps and the expected result. Answer in the language of the text, with nothing but the \
     cases.";

/// One organisation asks for the test cases of one text.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Request {
    /// Who asks; the tenant of the call.
    pub organisation: Arc<str>,
    /// What is asked about: the user message. It names no path, commit or time, so that equal items are equal
    /// questions.
    pub text: Arc<str>,
    /// When it was asked, for a replay that sets the wall clock; `None` means now.
    pub at: Option<SystemTime>,
    /// The model asked; `None` means [`MODEL`](crate::simulation::MODEL).
    pub model: Option<Arc<str>>,
    /// Whether [`INSTRUCTION`] stands before the text; otherwise the text is all that is sent.
    pub instructed: bool,
}

impl Request {
    /// A request asked now.
    #[must_use]
    pub fn new(organisation: impl Into<Arc<str>>, text: impl Into<Arc<str>>) -> Self {
        Self { organisation: organisation.into(), text: text.into(), at: None, model: None, instructed: true }
    }

    /// Sets the wall-clock time of asking.
    #[must_use]
    pub fn at(mut self, at: SystemTime) -> Self {
        self.at = Some(at);
        self
    }

    /// The whole prompt as one text: [`INSTRUCTION`], an empty line, the text; or the text alone.
    #[must_use]
    pub fn prompt(&self) -> String {
        if self.instructed { format!("{INSTRUCTION}\n\n{}", self.text) } else { self.text.to_string() }
    }
}

/// A named workload of known size: an iterator of requests in the order they are to be asked, with what is to be said
/// about them.
pub struct Source {
    name: String,
    notes: Vec<String>,
    calls: u64,
    requests: Box<dyn Iterator<Item = Result<Request, Error>> + Send>,
}

impl Source {
    /// A workload of `calls` requests.
    #[must_use]
    pub fn new(
        name: impl Into<String>,
        calls: u64,
        requests: impl Iterator<Item = Result<Request, Error>> + Send + 'static,
    ) -> Self {
        Self { name: name.into(), notes: Vec::new(), calls, requests: Box::new(requests) }
    }

    /// A workload that is wholly in memory.
    #[must_use]
    pub fn of(name: impl Into<String>, requests: Vec<Request>) -> Self {
        Self::new(name, requests.len() as u64, requests.into_iter().map(Ok))
    }

    /// Adds a line to print beside the results: where the requests come from, and what is missing.
    #[must_use]
    pub fn note(mut self, line: impl Into<String>) -> Self {
        self.notes.push(line.into());
        self
    }

    /// A short title.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The lines to print beside the results.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// How many requests there are in all, also after some were taken.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.calls
    }
}

impl Iterator for Source {
    type Item = Result<Request, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.requests.next()
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source")
            .field("name", &self.name)
            .field("notes", &self.notes)
            .field("calls", &self.calls)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workload_prompt_is_instruction_and_text() {
        let request = Request::new("org", "fn f() {}").at(SystemTime::UNIX_EPOCH);
        assert_eq!(request.prompt(), format!("{INSTRUCTION}\n\nfn f() {{}}"));
        assert_eq!(Request { instructed: false, ..request }.prompt(), "fn f() {}");
    }

    #[test]
    fn workload_source_yields_requests_in_order() {
        let mut source = Source::of("two", vec![Request::new("a", "1"), Request::new("b", "2")]).note("said");
        assert_eq!(source.next().map(|r| r.expect("in memory").text), Some("1".into()));
        assert_eq!((source.name(), source.calls(), source.notes().len()), ("two", 2, 1));
        assert_eq!(source.map(|r| r.expect("in memory").organisation).collect::<Vec<_>>(), [Arc::<str>::from("b")]);
    }
}
