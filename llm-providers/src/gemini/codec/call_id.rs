/// Prefix of the ids that this crate creates for tool calls.
const MADE: &str = "gemini_";
/// Largest number of bytes of a response's id in the ids of its tool calls.
const MOST: usize = 24;

/// Creates ids for those tool calls of a candidate that have no id from the vendor.
///
/// An id consists of the response's id, the candidate's index and the call's index in the candidate. So the same
/// response always has the same ids, and two responses of a conversation have different ones.
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

    /// Returns the id of the next call: the `stated` id, or a new id if the vendor stated none.
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

    /// Records that a function call has no name.
    pub(super) fn note_malformed(&mut self) {
        self.malformed = true;
    }

    /// Returns `true` if a function call had no name.
    pub(super) fn has_malformed(&self) -> bool {
        self.malformed
    }

    /// Returns the number of tool calls so far.
    pub(super) fn calls(&self) -> u32 {
        self.calls
    }
}

/// Returns the id that is sent for a tool call; `None` if this crate created the id, so that the vendor does not know
/// it.
pub(super) fn sent(id: &str) -> Option<&str> {
    (!id.is_empty() && !id.starts_with(MADE)).then_some(id)
}
