use std::time::Duration;

use llm_core::{Usage, Usd};

/// One call as a log states it, before it is reduced to digests and counts.
///
/// The readers create records for the formats that they know. For another format, create records yourself and pass them
/// to [`Analysis::push`](crate::Analysis::push).
///
/// ```
/// use llm_core::Usage;
/// use llm_savings::{Analysis, Options, Prompt, Record, Segment, SegmentKind};
///
/// let mut analysis = Analysis::new(Options::default());
/// for seconds in [0, 60] {
///     let mut record = Record::new("gpt-4o-mini");
///     record.time = Some(1_764_000_000_000 + seconds * 1_000);
///     record.prompt = Some(Prompt::whole(vec![Segment::new(SegmentKind::User, "Write test cases for a login form.")]));
///     record.usage = Some(Usage::new(1_000, 500));
///     analysis.push(record);
/// }
/// assert_eq!(analysis.finish().lever("exact cache").rows()[0].calls, Some(1));
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Record {
    /// Time of the request, in milliseconds since the Unix epoch.
    pub time: Option<u64>,
    /// Time from the request to the end of its response.
    pub latency: Option<Duration>,
    /// Tenant that made the call. Tenants never share a response.
    pub tenant: String,
    /// Requested model.
    pub model: String,
    /// Request without its model; `None` if the log does not contain it.
    pub prompt: Option<Prompt>,
    /// Tokens of the request and the response; `None` if the log does not state them.
    pub usage: Option<Usage>,
    /// Price of the response if requested alone at the standard class; `None` if the log does not state it.
    pub list: Option<Usd>,
    /// Amount that was saved already, according to the log.
    pub saved: Option<Usd>,
    /// True if the call failed. A failed call is counted, and no lever applies to it.
    pub is_failed: bool,
}

impl Record {
    /// Creates a record of a completed call, of which only the model is known.
    pub fn new(model: impl Into<String>) -> Self {
        Self {
            time: None,
            latency: None,
            tenant: String::new(),
            model: model.into(),
            prompt: None,
            usage: None,
            list: None,
            saved: None,
            is_failed: false,
        }
    }
}

/// Content of a request, without its model.
///
/// ```
/// use llm_savings::{Prompt, Segment, SegmentKind};
///
/// let mut prompt = Prompt::whole(vec![
///     Segment::new(SegmentKind::System, "You write test cases."),
///     Segment::new(SegmentKind::User, "The login form."),
/// ]);
/// prompt.parameters = "temperature=0".into();
/// // A trace often has only the number of a text.
/// let anonymous = Prompt::identified(vec![Segment::new(SegmentKind::User, "4711")]);
/// assert!(prompt.is_whole && !anonymous.is_whole);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Prompt {
    /// Parameters that change the response, as one text. Two requests with equal texts have equal parameters.
    pub parameters: String,
    /// Parts in the order in which vendors read them: tools, system, messages.
    pub segments: Vec<Segment>,
    /// False if the texts of the segments only identify the content that was sent, as the numbers of a trace do.
    pub is_whole: bool,
}

impl Prompt {
    /// Creates a prompt from its complete texts, without parameters.
    pub fn whole(segments: Vec<Segment>) -> Self {
        Self { parameters: String::new(), segments, is_whole: true }
    }

    /// Creates a prompt from texts that only identify the content that was sent.
    pub fn identified(segments: Vec<Segment>) -> Self {
        Self { is_whole: false, ..Self::whole(segments) }
    }

    /// Returns the number of bytes of all segments.
    pub(crate) fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.text.len() as u64).sum()
    }
}

/// Part of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Kind of the part.
    pub kind: SegmentKind,
    /// Text of the part, or its canonical JSON.
    pub text: String,
}

impl Segment {
    /// Creates a part of this kind, with its text or canonical JSON.
    pub fn new(kind: SegmentKind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into() }
    }
}

/// Kind of a part of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SegmentKind {
    /// Definitions of tools.
    Tools,
    /// Instructions of the application.
    System,
    /// Message of the user.
    User,
    /// Message of the model or of a tool.
    Other,
}

impl SegmentKind {
    /// Returns the name of the kind in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::System => "system prompt",
            Self::User => "user message",
            Self::Other => "message",
        }
    }
}
