//! Chat completions.

use super::question::{Form, Question};
use super::text::{choice_hash, prose};
use super::{Refusal, schema};
use crate::prng::Prng;
use crate::settings::Settings;
use crate::tokens;
use bytes::Bytes;
use serde_json::{Value, json};

/// When every simulated answer claims to have been made, in seconds since 1970.
pub(super) const CREATED: u64 = 1_763_700_000;

/// One chat completion, thought through and not yet written.
#[derive(Debug)]
pub(crate) struct Chat {
    pub(crate) model: String,
    pub(crate) hash: u64,
    pub(crate) stream: bool,
    pub(super) include_usage: bool,
    pub(super) choices: Vec<Choice>,
    pub(crate) input: u64,
    pub(crate) cached: u64,
    reasoning: u64,
}

/// One of the `n` answers.
#[derive(Debug)]
pub(super) struct Choice {
    pub(super) content: Content,
    pub(super) finish: &'static str,
    /// Tokens thought before the first one that is said.
    pub(super) reasoning: u64,
}

#[derive(Debug)]
pub(super) enum Content {
    Text(String),
    Tool { id: String, name: String, arguments: String },
}

impl Content {
    /// What is generated token by token.
    pub(super) fn generated(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Tool { arguments, .. } => arguments,
        }
    }
}

impl Chat {
    /// Answers the request. It depends on nothing but the body and the settings.
    pub(crate) fn answer(body: &Value, settings: &Settings) -> Result<Self, Refusal> {
        let question = Question::read(body)?;
        if !settings.serves(&question.model) {
            return Err(Refusal::unknown_model(&question.model));
        }
        let choices: Vec<_> = (0..question.n).map(|index| choice(&question, index, settings)).collect();
        let input = tokens::chat_input(body);
        Ok(Self {
            hash: question.hash,
            model: question.model,
            stream: question.stream,
            include_usage: question.include_usage,
            input,
            cached: settings.cached(input),
            reasoning: choices.iter().map(|choice| choice.reasoning).sum(),
            choices,
        })
    }

    /// The text or the tool arguments of each choice.
    pub(crate) fn texts(self) -> Vec<String> {
        let generated = |choice: Choice| match choice.content {
            Content::Text(text) | Content::Tool { arguments: text, .. } => text,
        };
        self.choices.into_iter().map(generated).collect()
    }

    /// Tokens generated, reasoning included.
    pub(crate) fn output(&self) -> u64 {
        self.reasoning + self.choices.iter().map(|choice| tokens::count(choice.content.generated())).sum::<u64>()
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

    /// The answer in one piece.
    pub(crate) fn unary(&self, id: &str, usage: bool) -> Bytes {
        let mut body = json!({
            "id": id, "object": "chat.completion", "created": CREATED, "model": self.model,
            "choices": self.choices.iter().enumerate().map(|(index, choice)| choice.whole(index)).collect::<Vec<_>>(),
            "service_tier": "default", "system_fingerprint": "fp_simulated",
        });
        if usage {
            body["usage"] = self.usage();
        }
        body.to_string().into()
    }

    pub(super) fn usage(&self) -> Value {
        let output = self.output();
        json!({
            "prompt_tokens": self.input, "completion_tokens": output, "total_tokens": self.input + output,
            "prompt_tokens_details": {"cached_tokens": self.cached, "audio_tokens": 0, "cache_write_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": self.reasoning, "audio_tokens": 0,
                "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0},
        })
    }
}

impl Choice {
    fn whole(&self, index: usize) -> Value {
        let mut message = json!({"role": "assistant", "content": null, "refusal": null, "annotations": []});
        match &self.content {
            Content::Text(text) => message["content"] = json!(text),
            Content::Tool { id, name, arguments } => {
                message["tool_calls"] =
                    json!([{"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}]);
            }
        }
        json!({"index": index, "message": message, "logprobs": null, "finish_reason": self.finish})
    }
}

fn choice(question: &Question, index: u64, settings: &Settings) -> Choice {
    let hash = choice_hash(question.hash, index);
    let mut prng = Prng::new(hash, 1);
    let budget = question.max_tokens.unwrap_or(u64::MAX);
    let reasoning = settings.reasoning_tokens.min(budget);
    let left = budget - reasoning;
    let length = settings.answer_length(&mut prng);
    match &question.form {
        Form::Prose => {
            let finish = if length > left { "length" } else { "stop" };
            Choice { content: Content::Text(prose(hash, length.min(left))), finish, reasoning }
        }
        Form::Json(schema) => {
            let value = match schema {
                Some(schema) => schema::instance(schema, &mut prng),
                None => json!({"answer": prose(hash, length)}),
            };
            let (text, finish) = cut(&value.to_string(), left, "stop");
            Choice { content: Content::Text(text), finish, reasoning }
        }
        Form::Tool(tools) => {
            let at = usize::try_from(prng.below(tools.len() as u64)).unwrap_or(0);
            let function = &tools[at]["function"];
            let value = schema::instance(&function["parameters"], &mut prng);
            let (arguments, finish) = cut(&value.to_string(), left, "tool_calls");
            let name = function["name"].as_str().unwrap_or_default().to_owned();
            Choice { content: Content::Tool { id: format!("call_{hash:016x}"), name, arguments }, finish, reasoning }
        }
    }
}

/// At most `budget` tokens of `text`, and why it ends.
fn cut(text: &str, budget: u64, whole: &'static str) -> (String, &'static str) {
    if tokens::count(text) <= budget {
        return (text.to_owned(), whole);
    }
    (tokens::pieces(text).take(usize::try_from(budget).unwrap_or(usize::MAX)).collect(), "length")
}
