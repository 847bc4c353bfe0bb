//! Requests, and the sources of workloads.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use crate::error::Error;

/// Instruction of every request: the system message before a [`Request::text`].
pub const INSTRUCTION: &str = "\
     You write test cases. For the function, scenario or user story that follows, list the cases that a careful \
     tester would run: the ordinary ones first, then limits, then wrong input. For each case give a name, the \
     preconditions, the steps and the expected result. Answer in the language of the text, with nothing but the \
     cases.";

/// Request of an organisation for the test cases of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Request {
    /// Organisation that sends the request: the tenant of the call.
    pub organisation: Arc<str>,
    /// Text to test: the user message. It names no path, commit or time, so that equal items make equal requests.
    pub text: Arc<str>,
    /// Time of the request, for a replay that sets the wall clock; `None` means now.
    pub at: Option<SystemTime>,
    /// Requested model; `None` means [`MODEL`](crate::simulation::MODEL).
    pub model: Option<Arc<str>>,
    /// `true` if [`INSTRUCTION`] is sent before the text; otherwise only the text is sent.
    pub instructed: bool,
}

impl Request {
    /// Creates a request that is sent now.
    #[must_use]
    pub fn new(organisation: impl Into<Arc<str>>, text: impl Into<Arc<str>>) -> Self {
        Self { organisation: organisation.into(), text: text.into(), at: None, model: None, instructed: true }
    }

    /// Sets the wall-clock time of the request.
    #[must_use]
    pub fn at(mut self, at: SystemTime) -> Self {
        self.at = Some(at);
        self
    }

    /// Returns the whole prompt as one text: [`INSTRUCTION`], an empty line and the text, or the text alone.
    #[must_use]
    pub fn prompt(&self) -> String {
        if self.instructed { format!("{INSTRUCTION}\n\n{}", self.text) } else { self.text.to_string() }
    }
}

/// Workload with a name and a known size: an iterator over requests in their order, with notes about them.
pub struct Source {
    name: String,
    notes: Vec<String>,
    calls: u64,
    requests: Box<dyn Iterator<Item = Result<Request, Error>> + Send>,
}

impl Source {
    /// Creates a workload of `calls` requests.
    #[must_use]
    pub fn new(
        name: impl Into<String>,
        calls: u64,
        requests: impl Iterator<Item = Result<Request, Error>> + Send + 'static,
    ) -> Self {
        Self { name: name.into(), notes: Vec::new(), calls, requests: Box::new(requests) }
    }

    /// Creates a workload from requests in memory.
    #[must_use]
    pub fn of(name: impl Into<String>, requests: Vec<Request>) -> Self {
        Self::new(name, requests.len() as u64, requests.into_iter().map(Ok))
    }

    /// Adds a line to print beside the results, such as the source of the requests or what the source lacks.
    #[must_use]
    pub fn note(mut self, line: impl Into<String>) -> Self {
        self.notes.push(line.into());
        self
    }

    /// Returns the short title.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the lines to print beside the results.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Returns the number of all requests, including those that were taken already.
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
