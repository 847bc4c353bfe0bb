//! Choices of a response.

use super::request::{ChatRequest, Form};
use super::schema;
use crate::openai::{choice_hash, prose};
use crate::prng::{Prng, mix};
use crate::protocol::Thinking;
use crate::settings::Settings;
use crate::tokens;
use serde_json::{Value, json};

/// Number of reasoning tokens for a request that asks for reasoning, if the settings state none.
const THOUGHTS: u64 = 8;

/// One of the alternative contents of a response, with the reasoning before it.
#[derive(Debug)]
pub(crate) struct Choice {
    pub(crate) content: Content,
    pub(crate) finish: Finish,
    /// Number of reasoning tokens before the content.
    pub(crate) thinking: u64,
    /// Text of the reasoning.
    pub(crate) thoughts: String,
    /// True if the request asks for the reasoning to be shown.
    pub(crate) shown: bool,
}

/// Content of a choice, which is a text or a tool call.
#[derive(Debug)]
pub(crate) enum Content {
    Text(String),
    Tool { hash: u64, name: String, arguments: String },
}

/// Finish reason of a choice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Finish {
    Stop,
    Length,
    Tool,
    /// The text reached this stop sequence of the request.
    Sequence(String),
    Filtered,
}

impl Content {
    /// Returns the text or the arguments, which are generated token by token.
    pub(crate) fn generated(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Tool { arguments, .. } => arguments,
        }
    }

    pub(crate) fn into_generated(self) -> String {
        match self {
            Self::Text(text) | Self::Tool { arguments: text, .. } => text,
        }
    }
}

impl Choice {
    /// Creates a choice without content.
    pub(crate) fn silent(finish: Finish) -> Self {
        Self { content: Content::Text(String::new()), finish, thinking: 0, thoughts: String::new(), shown: false }
    }

    /// Returns the reasoning in groups of `per_delta` tokens.
    pub(crate) fn thoughts(&self, per_delta: usize) -> Vec<String> {
        let pieces: Vec<_> = tokens::pieces(&self.thoughts).collect();
        pieces.chunks(per_delta).map(<[&str]>::concat).collect()
    }

    /// Returns the signature of the reasoning in base64, as vendors write it.
    pub(crate) fn signature(&self) -> String {
        use base64::Engine;
        base64::engine::general_purpose::STANDARD.encode(format!("simulated {} {}", self.thinking, self.thoughts.len()))
    }
}

/// Returns the arguments of a tool call as JSON, if they are valid.
pub(crate) fn arguments(text: &str) -> Option<Value> {
    serde_json::from_str(text).ok()
}

pub(super) fn choice(request: &ChatRequest, thinking: Thinking, index: u64, settings: &Settings) -> Choice {
    let hash = choice_hash(request.hash, index);
    let mut prng = Prng::new(hash, 1);
    let budget = request.max_tokens.unwrap_or(u64::MAX);
    let wanted = match (thinking, settings.reasoning_tokens) {
        (Thinking::Never, _) => 0,
        (Thinking::Asked { .. }, 0) => THOUGHTS,
        (_, tokens) => tokens,
    };
    let thought = wanted.min(budget);
    let left = budget - thought;
    let length = settings.response_length(&mut prng);
    let (content, finish) = match &request.form {
        Form::Prose => {
            let finish = if length > left { Finish::Length } else { Finish::Stop };
            stopped(prose(hash, length.min(left)), finish, &request.stop)
        }
        Form::Given(text) => {
            let (text, finish) = cut(text, left, Finish::Stop);
            stopped(text, finish, &request.stop)
        }
        Form::Json(schema) => {
            let value = match schema {
                Some(schema) => schema::instance(schema, &mut prng),
                None => json!({"response": prose(hash, length)}),
            };
            let (text, finish) = cut(&value.to_string(), left, Finish::Stop);
            (Content::Text(text), finish)
        }
        Form::Tool(tools) => {
            let tool = &tools[usize::try_from(prng.below(tools.len() as u64)).unwrap_or(0)];
            let value = schema::instance(&tool.parameters, &mut prng);
            let (arguments, finish) = cut(&value.to_string(), left, Finish::Tool);
            (Content::Tool { hash, name: tool.name.clone(), arguments }, finish)
        }
    };
    let shown = thinking == Thinking::Asked { shown: true };
    Choice { content, finish, thinking: thought, thoughts: prose(mix(!hash), thought), shown }
}

/// Returns the text up to its first stop sequence, with the finish reason.
fn stopped(mut text: String, finish: Finish, sequences: &[String]) -> (Content, Finish) {
    let found = sequences.iter().filter_map(|sequence| Some((text.find(sequence.as_str())?, sequence)));
    let Some((at, sequence)) = found.min_by_key(|(at, _)| *at) else {
        return (Content::Text(text), finish);
    };
    text.truncate(at);
    (Content::Text(text), Finish::Sequence(sequence.clone()))
}

/// Cuts `text` to at most `budget` tokens. Returns the text with its finish reason, which is `whole` if nothing was
/// cut.
fn cut(text: &str, budget: u64, whole: Finish) -> (String, Finish) {
    if tokens::count(text) <= budget {
        return (text.to_owned(), whole);
    }
    (tokens::pieces(text).take(usize::try_from(budget).unwrap_or(usize::MAX)).collect(), Finish::Length)
}
