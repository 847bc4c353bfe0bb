//! One answer of chat, thought through and not yet written.

use super::choice::{Choice, Content, Finish, choice};
use super::question::Question;
use crate::dialect::{Inquiry, Target};
use crate::refusal::Refusal;
use crate::settings::Settings;
use crate::tokens;

/// One answer: what it says, and what it costs.
#[derive(Debug)]
pub(crate) struct Answer {
    /// How it names itself.
    pub(crate) id: String,
    pub(crate) model: String,
    pub(crate) hash: u64,
    pub(crate) stream: bool,
    /// A stream that is one array.
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

impl Answer {
    /// Answers the request. What it says depends on nothing but the inquiry and the settings.
    pub(crate) fn new(id: String, target: &Target, inquiry: &Inquiry, settings: &Settings) -> Result<Self, Refusal> {
        let question = Question::read(&inquiry.body)?;
        if !settings.serves(&question.model) {
            return Err(Refusal::unknown_model(&question.model));
        }
        let choices = (0..question.n).map(|index| choice(&question, inquiry.thinking, index, settings)).collect();
        let input = tokens::chat_input(&inquiry.body);
        let cached = settings.cached(input);
        let written = settings.written(input - cached, inquiry.breakpoints);
        let mut answer = Self {
            id,
            hash: question.hash,
            stream: target.stream.unwrap_or(question.stream),
            bare: target.bare,
            include_usage: question.include_usage,
            input,
            cached,
            written,
            choices,
            nano_usd: 0,
            model: question.model,
        };
        answer.nano_usd = settings.prices.row(&answer.model).cost(input, cached, written, answer.output());
        Ok(answer)
    }

    /// The text or the tool arguments of each choice.
    pub(crate) fn texts(self) -> Vec<String> {
        self.choices.into_iter().map(|choice| choice.content.into_generated()).collect()
    }

    /// Tokens generated, thoughts included.
    pub(crate) fn output(&self) -> u64 {
        self.thinking() + self.said()
    }

    /// Tokens thought.
    pub(crate) fn thinking(&self) -> u64 {
        self.choices.iter().map(|choice| choice.thinking).sum()
    }

    /// Tokens said.
    pub(crate) fn said(&self) -> u64 {
        self.choices.iter().map(|choice| tokens::count(choice.content.generated())).sum()
    }

    /// Tokens of the longest choice: they are generated one after the other, the choices side by side.
    pub(crate) fn longest(&self) -> u64 {
        self.choices.iter().map(|choice| tokens::count(choice.content.generated())).max().unwrap_or(0)
    }

    /// Makes the arguments of every tool call something that is not JSON.
    pub(crate) fn spoil_arguments(&mut self) {
        for choice in &mut self.choices {
            if let Content::Tool { arguments, .. } = &mut choice.content {
                arguments.truncate(arguments.len().saturating_sub(1));
                arguments.push_str(", \"unquoted: ");
            }
        }
    }

    /// Nothing is said, because of what it would be.
    pub(crate) fn filter(&mut self) {
        for choice in &mut self.choices {
            *choice = Choice::silent(Finish::Filtered);
        }
    }
}
