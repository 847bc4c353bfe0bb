//! Response to a chat request, before a format encodes it.

use super::choice::{Choice, Content, Finish, choice};
use super::request::{ChatRequest, Form};
use crate::protocol::{CanonicalRequest, Target};
use crate::refusal::Refusal;
use crate::settings::Settings;
use crate::tokens;

/// Content and cost of a response.
#[derive(Debug)]
pub(crate) struct ChatResponse {
    /// Id that the body of the response states.
    pub(crate) id: String,
    pub(crate) model: String,
    pub(crate) hash: u64,
    pub(crate) stream: bool,
    /// True if the stream is one JSON array, as in Gemini's format.
    pub(crate) bare: bool,
    pub(crate) include_usage: bool,
    pub(crate) choices: Vec<Choice>,
    /// Tokens of the prompt, of which `cached` were read from a cache and `written` written to one, for five minutes
    /// and for an hour.
    pub(crate) input: u64,
    pub(crate) cached: u64,
    pub(crate) written: [u64; 2],
    pub(crate) nano_usd: u64,
}

impl ChatResponse {
    /// Creates the response to a prompt, `cached` tokens of which are read from a cache. It depends only on the
    /// arguments.
    pub(crate) fn new(
        id: String,
        target: &Target,
        canonical: &CanonicalRequest,
        cached: u64,
        settings: &Settings,
    ) -> Result<Self, Refusal> {
        let mut request = ChatRequest::read(&canonical.body)?;
        if !settings.serves(&request.model) {
            return Err(Refusal::unknown_model(&request.model));
        }
        if let Some(text) = settings.responder.as_ref().and_then(|respond| respond(&canonical.body)) {
            request.form = Form::Given(text);
        }
        let choices = (0..request.n).map(|index| choice(&request, canonical.thinking, index, settings)).collect();
        let input = tokens::chat_input(&canonical.body);
        let cached = cached.min(input);
        let written = settings.written(input - cached, canonical.breakpoints);
        let mut response = Self {
            id,
            hash: request.hash,
            stream: target.stream.unwrap_or(request.stream),
            bare: target.bare,
            include_usage: request.include_usage,
            input,
            cached,
            written,
            choices,
            nano_usd: 0,
            model: request.model,
        };
        response.nano_usd = settings.prices.row(&response.model).cost(input, cached, written, response.output());
        Ok(response)
    }

    /// Returns the text or the tool arguments of each choice.
    pub(crate) fn texts(self) -> Vec<String> {
        self.choices.into_iter().map(|choice| choice.content.into_generated()).collect()
    }

    /// Returns the number of generated tokens, including reasoning.
    pub(crate) fn output(&self) -> u64 {
        self.thinking() + self.said()
    }

    /// Returns the number of reasoning tokens.
    pub(crate) fn thinking(&self) -> u64 {
        self.choices.iter().map(|choice| choice.thinking).sum()
    }

    /// Returns the number of tokens in the content of all choices.
    pub(crate) fn said(&self) -> u64 {
        self.choices.iter().map(|choice| tokens::count(choice.content.generated())).sum()
    }

    /// Returns the number of tokens in the longest choice, because choices are generated in parallel.
    pub(crate) fn longest(&self) -> u64 {
        self.choices.iter().map(|choice| tokens::count(choice.content.generated())).max().unwrap_or(0)
    }

    /// Makes the arguments of every tool call invalid JSON.
    pub(crate) fn corrupt_arguments(&mut self) {
        for choice in &mut self.choices {
            if let Content::Tool { arguments, .. } = &mut choice.content {
                arguments.truncate(arguments.len().saturating_sub(1));
                arguments.push_str(", \"unquoted: ");
            }
        }
    }

    /// Replaces every choice by an empty choice with the finish reason of a filter.
    pub(crate) fn filter(&mut self) {
        for choice in &mut self.choices {
            *choice = Choice::silent(Finish::Filtered);
        }
    }
}
