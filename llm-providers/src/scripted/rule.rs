use std::{fmt, sync::Arc, time::Duration};

use llm_core::{ChatEvent, ChatRequest, ChatResponse, Choice, Error, FinishReason, Message, Part, Usage};

/// Response, and the condition on the calls that get it. Without a condition, all calls get it. The first rule that
/// matches a call decides.
#[derive(Clone)]
pub struct Rule {
    pub(super) act: Act,
    pub(super) delay: Duration,
    pub(super) pace: Duration,
    pub(super) usage: Option<Usage>,
    fits: Vec<Test>,
    first: u64,
    most: Option<u64>,
    seen: u64,
}

type Test = Arc<dyn Fn(&RuleInput<'_>) -> bool + Send + Sync>;
type Reply = Arc<dyn Fn(&ChatRequest) -> Result<ChatResponse, Error> + Send + Sync>;

/// Action of a rule.
#[derive(Clone)]
pub(super) enum Act {
    Response(Reply),
    Events(Arc<Vec<Result<ChatEvent, Error>>>),
    Vectors(Arc<Vec<Arc<[f32]>>>),
    Fail(Error),
    Hang,
}

/// Properties of a call that rules match on.
pub(super) struct RuleInput<'a> {
    pub(super) model: &'a str,
    pub(super) text: &'a str,
    pub(super) chat: Option<&'a ChatRequest>,
}

impl Rule {
    /// Creates a rule that responds with a text.
    ///
    /// ```
    /// use llm_providers::scripted::{Rule, Scripted};
    ///
    /// Scripted::new().rule(Rule::say("yes"));
    /// ```
    pub fn say(text: impl Into<Arc<str>>) -> Self {
        let text = text.into();
        Self::respond_with(move |request| Ok(spoken(request, Arc::clone(&text))))
    }

    /// Creates a rule that responds with this response.
    pub fn respond(response: ChatResponse) -> Self {
        Self::respond_with(move |_| Ok(response.clone()))
    }

    /// Creates a rule that responds with the result of `response` for the request.
    pub fn respond_with(
        response: impl Fn(&ChatRequest) -> Result<ChatResponse, Error> + Send + Sync + 'static,
    ) -> Self {
        Self::new(Act::Response(Arc::new(response)))
    }

    /// Creates a rule that streams these events. An error ends the stream. If the error is the first item, the call
    /// returns it in place of a stream. A call that is not streamed gets the events as one response.
    pub fn stream(events: impl IntoIterator<Item = Result<ChatEvent, Error>>) -> Self {
        Self::new(Act::Events(Arc::new(events.into_iter().collect())))
    }

    /// Creates a rule that responds to embeddings with these vectors.
    ///
    /// ```
    /// use llm_providers::scripted::{Rule, Scripted};
    ///
    /// Scripted::new().rule(Rule::vectors([vec![0.5, 0.5]]));
    /// ```
    pub fn vectors(vectors: impl IntoIterator<Item = Vec<f32>>) -> Self {
        Self::new(Act::Vectors(Arc::new(vectors.into_iter().map(Arc::from).collect())))
    }

    /// Creates a rule that fails calls with this error.
    ///
    /// ```
    /// use llm_core::{Error, ErrorKind};
    /// use llm_providers::scripted::{Rule, Scripted};
    ///
    /// Scripted::new().rule(Rule::fail(Error::new(ErrorKind::RateLimited, "slow down")).times(1));
    /// ```
    pub fn fail(error: Error) -> Self {
        Self::new(Act::Fail(error))
    }

    /// Creates a rule that never responds.
    ///
    /// ```
    /// use llm_providers::scripted::{Rule, Scripted};
    ///
    /// Scripted::new().rule(Rule::hang().containing("slow"));
    /// ```
    pub fn hang() -> Self {
        Self::new(Act::Hang)
    }

    /// Restricts the rule to calls whose text contains `part`. The text consists of all messages, or of all inputs to
    /// embed, each in a line of its own.
    ///
    /// ```
    /// use llm_providers::scripted::{Rule, Scripted};
    ///
    /// Scripted::new().rule(Rule::say("4").containing("2 + 2"));
    /// ```
    pub fn containing(self, part: impl Into<String>) -> Self {
        let part = part.into();
        self.test(move |input| input.text.contains(&part))
    }

    /// Restricts the rule to calls for a model.
    ///
    /// ```
    /// use llm_providers::scripted::{Rule, Scripted};
    ///
    /// Scripted::new().rule(Rule::say("large").model("gpt-4o"));
    /// ```
    pub fn model(self, model: impl Into<String>) -> Self {
        let model = model.into();
        self.test(move |input| input.model == model)
    }

    /// Restricts the rule to chat calls, streamed or not, for which the function returns `true`.
    ///
    /// NOTE: the function runs while the provider's rules are locked, so it must not use that provider.
    ///
    /// ```
    /// use llm_providers::scripted::{Rule, Scripted};
    ///
    /// Scripted::new().rule(Rule::say("tools").when(|request| !request.tools.is_empty()));
    /// ```
    pub fn when(self, fits: impl Fn(&ChatRequest) -> bool + Send + Sync + 'static) -> Self {
        self.test(move |input| input.chat.is_some_and(&fits))
    }

    /// Restricts the rule to the call with this number, counted from 1, among the calls that match.
    ///
    /// ```
    /// use llm_providers::scripted::{Rule, Scripted};
    ///
    /// Scripted::new().rule(Rule::say("the second time").nth(2));
    /// ```
    pub fn nth(mut self, number: u64) -> Self {
        self.first = number.saturating_sub(1);
        self.most = Some(1);
        self
    }

    /// Restricts the rule to the first `calls` calls that match.
    ///
    /// ```
    /// use llm_providers::scripted::{Rule, Scripted};
    ///
    /// Scripted::new().rule(Rule::say("at most twice").times(2));
    /// ```
    pub fn times(mut self, calls: u64) -> Self {
        self.most = Some(calls);
        self
    }

    /// Delays the response, or the error.
    ///
    /// ```
    /// use std::time::Duration;
    /// use llm_providers::scripted::{Rule, Scripted};
    ///
    /// Scripted::new().rule(Rule::say("late").after(Duration::from_secs(2)));
    /// ```
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Sets the pause before each event of a stream but the first.
    ///
    /// ```
    /// use std::time::Duration;
    /// use llm_providers::scripted::{Rule, Scripted};
    ///
    /// Scripted::new().rule(Rule::say("one word a second").pace(Duration::from_secs(1)));
    /// ```
    pub fn pace(mut self, each: Duration) -> Self {
        self.pace = each;
        self
    }

    /// Sets the usage of the response. Default: one token for every four bytes of the request's and the response's
    /// text.
    ///
    /// ```
    /// use llm_core::Usage;
    /// use llm_providers::scripted::{Rule, Scripted};
    ///
    /// Scripted::new().rule(Rule::say("yes").usage(Usage::new(1_000, 10)));
    /// ```
    pub fn usage(mut self, usage: Usage) -> Self {
        self.usage = Some(usage);
        self
    }

    pub(super) fn new(act: Act) -> Self {
        let (delay, pace) = (Duration::ZERO, Duration::ZERO);
        Self { act, delay, pace, usage: None, fits: Vec::new(), first: 0, most: None, seen: 0 }
    }

    /// Returns `true` if the rule decides this call. Counts the call if it matches.
    pub(super) fn takes(&mut self, input: &RuleInput<'_>) -> bool {
        let chats = matches!(self.act, Act::Response(_) | Act::Events(_));
        let embeds = matches!(self.act, Act::Vectors(_));
        if (chats && input.chat.is_none()) || (embeds && input.chat.is_some()) {
            return false;
        }
        if !self.fits.iter().all(|test| test(input)) {
            return false;
        }
        let number = self.seen;
        self.seen += 1;
        number >= self.first && self.most.is_none_or(|most| number - self.first < most)
    }

    fn test(mut self, test: impl Fn(&RuleInput<'_>) -> bool + Send + Sync + 'static) -> Self {
        self.fits.push(Arc::new(test));
        self
    }
}

/// Returns a response with a single text.
pub(super) fn spoken(request: &ChatRequest, text: Arc<str>) -> ChatResponse {
    let choice = Choice::new(0, vec![Part::text(text)], FinishReason::Stop);
    ChatResponse::new("scripted", request.model.clone(), vec![choice])
}

/// Returns the texts of messages, one in each line.
pub(super) fn text_of(messages: &[Message]) -> String {
    let parts = messages.iter().flat_map(|message| &message.parts);
    let mut texts = Vec::new();
    for part in parts {
        match part {
            Part::Text { text, .. } => texts.push(&**text),
            Part::ToolResult(result) => texts.extend(result.content.iter().filter_map(|part| match part {
                Part::Text { text, .. } => Some(&**text),
                _ => None,
            })),
            _ => {}
        }
    }
    texts.join("\n")
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let act = match &self.act {
            Act::Response(_) => "response",
            Act::Events(_) => "stream",
            Act::Vectors(_) => "vectors",
            Act::Fail(_) => "fail",
            Act::Hang => "hang",
        };
        f.debug_struct("Rule").field("act", &act).field("seen", &self.seen).finish_non_exhaustive()
    }
}
