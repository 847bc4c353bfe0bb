use std::{
    future::pending,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use llm_core::{
    Call, ChatEvent, ChatRequest, ChatResponse, ChatStream, EmbedRequest, Embeddings, Error, ErrorKind, Provider,
    Receipt, Reply, Role, Usage,
    layer::{Accounting, provider_services},
};
use tokio::time::sleep;

use super::{
    paced::{Paced, embedded_text, spoken_bytes, tokens, vector},
    rule::{Act, Rule, RuleInput, spoken, text_of},
    state::{Counts, State},
};
use crate::{deadline::Deadline, forward::Forward};

/// Provider that responds by [`Rule`]s. If no rule matches, a chat response repeats the user's last message, and
/// embeddings are vectors computed from the texts.
///
/// It is a [`Provider`] and a tower service for chat, streamed chat and embeddings. Always ready. Clones share rules
/// and counts. Receipts have a usage.
#[derive(Clone, Debug, Default)]
pub struct Scripted {
    state: Arc<Mutex<State>>,
}

impl Scripted {
    /// Returns a provider without rules.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a rule, which is tried after the existing ones.
    pub fn rule(self, rule: Rule) -> Self {
        self.add(rule);
        self
    }

    /// Adds a rule to a provider that is in use. The rule is tried after the existing ones.
    pub fn add(&self, rule: Rule) {
        self.state().rules.push(rule);
    }

    /// Returns the number of calls of all kinds, failed ones included.
    pub fn calls(&self) -> u64 {
        self.counts().total()
    }

    /// Returns the number of calls of each kind.
    pub fn counts(&self) -> Counts {
        self.state().counts
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The state stays consistent if the closure of a test panics.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn decide(&self, input: &RuleInput<'_>, count: impl FnOnce(&mut Counts)) -> Rule {
        let mut state = self.state();
        count(&mut state.counts);
        state.decide(input).unwrap_or_else(|| Rule::new(Act::Response(Arc::new(echo))))
    }

    async fn chat(&self, call: Call<ChatRequest>) -> Result<Reply<ChatResponse>, Error> {
        let (rule, receipt) = self.begin(&call, |counts| counts.chat += 1).await?;
        let (response, usage) = match &rule.act {
            Act::Events(events) => {
                let alarm = Deadline::of(&call).alarm();
                let paced = Paced::new(events.iter().cloned(), rule.pace, alarm);
                let forward = Forward::new(paced, receipt.clone(), None);
                let response = ChatStream::new(forward).complete().await?;
                let usage = receipt.usage();
                (response, usage)
            }
            act => (act.chat(&call.body)?, None),
        };
        let usage = rule.usage.or(usage).unwrap_or_else(|| used(&call.body, &response));
        receipt.edit(|accounting| accounting.usage = Some(usage));
        Ok(Reply::new(response, receipt))
    }

    async fn chat_stream(&self, call: Call<ChatRequest>) -> Result<Reply<ChatStream>, Error> {
        let (rule, receipt) = self.begin(&call, |counts| counts.streamed += 1).await?;
        let alarm = Deadline::of(&call).alarm();
        let events: Vec<_> = match &rule.act {
            Act::Events(events) => {
                if let Some(Err(error)) = events.first() {
                    return Err(error.clone());
                }
                let usage = rule.usage.map(|usage| Ok(ChatEvent::Usage(usage)));
                events.iter().cloned().chain(usage).collect()
            }
            act => {
                let response = act.chat(&call.body)?;
                let usage = rule.usage.unwrap_or_else(|| used(&call.body, &response));
                ChatEvent::replay(&response, Some(usage)).into_iter().map(Ok).collect()
            }
        };
        let forward = Forward::new(Paced::new(events, rule.pace, alarm), receipt.clone(), None);
        Ok(Reply::new(ChatStream::new(forward), receipt))
    }

    /// Chooses the rule, waits for the delay of the rule, and creates the receipt.
    async fn begin(&self, call: &Call<ChatRequest>, count: impl FnOnce(&mut Counts)) -> Result<(Rule, Receipt), Error> {
        let text = text_of(&call.body.messages);
        let input = RuleInput { model: &call.body.model, text: &text, chat: Some(&call.body) };
        let rule = self.decide(&input, count);
        call.body.validate()?;
        wait(call, &rule).await?;
        Ok((rule, receipt(&call.body.model)))
    }

    async fn embed(&self, call: Call<EmbedRequest>) -> Result<Reply<Embeddings>, Error> {
        let text = embedded_text(&call.body);
        let input = RuleInput { model: &call.body.model, text: &text, chat: None };
        let rule = self.decide(&input, |counts| counts.embed += 1);
        call.body.validate()?;
        wait(&call, &rule).await?;
        let vectors = match &rule.act {
            Act::Fail(error) => return Err(error.clone()),
            Act::Vectors(vectors) => vectors.to_vec(),
            _ => call.body.inputs.iter().map(|input| vector(input, call.body.dimensions)).collect(),
        };
        let receipt = receipt(&call.body.model);
        let usage = rule.usage.unwrap_or_else(|| Usage::new(tokens(text.len()), 0));
        receipt.edit(|accounting| accounting.usage = Some(usage));
        Ok(Reply::new(Embeddings::new(call.body.model.clone(), vectors), receipt))
    }
}

impl Act {
    fn chat(&self, request: &ChatRequest) -> Result<ChatResponse, Error> {
        match self {
            Self::Response(response) => response(request),
            Self::Fail(error) => Err(error.clone()),
            // Rules with vectors do not apply to chats, and the other rules were handled above.
            Self::Events(_) | Self::Vectors(_) | Self::Hang => {
                Err(Error::new(ErrorKind::Other, "the rule has no response to a chat"))
            }
        }
    }
}

async fn wait<T>(call: &Call<T>, rule: &Rule) -> Result<(), Error> {
    let deadline = Deadline::of(call);
    deadline.check()?;
    call.mark_sent();
    if let Act::Hang = rule.act {
        return deadline.bound(pending()).await?;
    }
    if !rule.delay.is_zero() {
        deadline.bound(sleep(rule.delay)).await?;
    }
    Ok(())
}

fn receipt(model: &Arc<str>) -> Receipt {
    let mut accounting = Accounting::default();
    accounting.model = Some(Arc::clone(model));
    Receipt::new(accounting)
}

fn used(request: &ChatRequest, response: &ChatResponse) -> Usage {
    Usage::new(tokens(text_of(&request.messages).len()), tokens(spoken_bytes(response)))
}

fn echo(request: &ChatRequest) -> Result<ChatResponse, Error> {
    let last = request.messages.iter().rfind(|message| message.role == Role::User);
    let text = last.map(|message| text_of(std::slice::from_ref(message))).unwrap_or_default();
    Ok(spoken(request, text.into()))
}

#[async_trait]
impl Provider for Scripted {
    async fn chat(&self, call: Call<ChatRequest>) -> Result<Reply<ChatResponse>, Error> {
        Self::chat(self, call).await
    }

    async fn chat_stream(&self, call: Call<ChatRequest>) -> Result<Reply<ChatStream>, Error> {
        Self::chat_stream(self, call).await
    }

    async fn embed(&self, call: Call<EmbedRequest>) -> Result<Reply<Embeddings>, Error> {
        Self::embed(self, call).await
    }
}

provider_services! {
    [] Scripted, |provider, call|
    chat: Self::chat(&provider, call),
    chat_stream: Self::chat_stream(&provider, call),
    embed: Self::embed(&provider, call),
}
