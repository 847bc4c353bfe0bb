/// Prefix of ids that this crate creates.
const MADE: &str = "gemini_";
/// Length of a response's id within the ids of its calls.
const MOST: usize = 24;

/// Ids for the tool calls of a candidate that came without one.
///
/// They name the response, the candidate and the call's number in it, so that the same response gives the same ids and
/// two responses of one conversation do not.
#[derive(Debug, Default)]
pub(super) struct CallIds {
    candidate: u32,
    calls: u32,
    /// True after a function call without a name.
    malformed: bool,
}

impl CallIds {
    pub(super) fn new(candidate: u32) -> Self {
        Self { candidate, calls: 0, malformed: false }
    }

    /// Returns the id of the next call.
    pub(super) fn next(&mut self, response: &str, stated: Option<String>) -> String {
        let nth = self.calls;
        self.calls += 1;
        match stated {
            Some(id) if !id.is_empty() => id,
            _ => {
                let in_id = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
                let response: String = response.chars().filter(in_id).take(MOST).collect();
                format!("{MADE}{response}_{}_{nth}", self.candidate)
            }
        }
    }

    /// Records a function call without a name.
    pub(super) fn note_malformed(&mut self) {
        self.malformed = true;
    }

    /// Returns `true` if a function call without a name came.
    pub(super) fn has_malformed(&self) -> bool {
        self.malformed
    }

    /// Returns the number of calls so far.
    pub(super) fn calls(&self) -> u32 {
        self.calls
    }
}

/// Returns the id that the vendor knows; `None` if this crate created it.
pub(super) fn sent(id: &str) -> Option<&str> {
    (!id.is_empty() && !id.starts_with(MADE)).then_some(id)
}
