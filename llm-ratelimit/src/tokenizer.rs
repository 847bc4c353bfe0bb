//! Estimator that counts tokens exactly by OpenAI's vocabularies, on top of another estimator.

use bpe_openai::Tokenizer;
use llm_core::{ChatRequest, EmbedInput, EmbedRequest, Estimate, Message, Part, Role, Tenant, Usage};

use crate::{EstimateInput, Estimator, Learned};

/// Estimator that counts the input tokens of OpenAI's models with their own vocabularies. The output, and any input
/// that it cannot count exactly, are estimated by another estimator, which is [`Learned`] by default.
///
/// It counts exactly: conversations that consist of text, without tools and without a form for the response, and texts
/// to embed. The tokens around each message are counted as OpenAI documents them, which the vendor may change. Counting
/// a thousand words takes about 0.1 ms.
///
/// ```
/// use llm_ratelimit::{Limiter, OpenAiTokens, Plans, RateLimitLayer, UpperBound};
///
/// let limiter = Limiter::builder(Plans::uniform(["100k tokens/day"])?).build()?;
/// let layer = RateLimitLayer::new(limiter).estimator(OpenAiTokens::over(UpperBound::new(16_384)));
/// # let _ = layer;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct OpenAiTokens<E = Learned> {
    rest: E,
}

/// Number of tokens around each message, and once around the conversation.
const FRAME: u64 = 3;

impl OpenAiTokens {
    /// Creates an estimator that uses [`Learned`] for everything else. It reads the vocabularies once in a process,
    /// which takes some tens of milliseconds.
    pub fn new() -> Self {
        Self::over(Learned::new())
    }
}

impl<E> OpenAiTokens<E> {
    /// Creates an estimator that uses `rest` for everything else. It reads the vocabularies, as
    /// [`new`](OpenAiTokens::new) does.
    pub fn over(rest: E) -> Self {
        bpe_openai::cl100k_base();
        bpe_openai::o200k_base();
        Self { rest }
    }
}

impl<E: Estimator> Estimator for OpenAiTokens<E> {
    fn estimate(&self, question: &EstimateInput<'_>) -> (u64, u64) {
        let (input, output) = self.rest.estimate(question);
        (counted(question).unwrap_or(input), output)
    }

    fn learn(&self, tenant: &Tenant, model: &str, estimate: &Estimate, usage: &Usage) {
        self.rest.learn(tenant, model, estimate, usage);
    }
}

impl Default for OpenAiTokens {
    fn default() -> Self {
        Self::new()
    }
}

fn counted(question: &EstimateInput<'_>) -> Option<u64> {
    let tokenizer = of(question.model)?;
    match (question.chat(), question.embed()) {
        (Some(chat), _) => conversation(tokenizer, chat),
        (None, Some(embed)) => Some(embedded(tokenizer, embed)),
        (None, None) => None,
    }
}

/// Returns the tokenizer for a model, by the beginning of the model's name.
fn of(model: &str) -> Option<&'static Tokenizer> {
    const O200K: [&str; 8] = ["gpt-4o", "gpt-4.1", "gpt-4.5", "gpt-5", "chatgpt-4o", "o1", "o3", "o4-mini"];
    const CL100K: [&str; 2] = ["gpt-4", "gpt-3.5-turbo"];
    let is = |names: &[&str]| {
        let fits = |name: &&str| model.strip_prefix(*name).is_some_and(|rest| !rest.starts_with(char::is_alphanumeric));
        names.iter().any(fits)
    };
    match () {
        () if is(&O200K) => Some(bpe_openai::o200k_base()),
        () if is(&CL100K) || model.starts_with("text-embedding-") => Some(bpe_openai::cl100k_base()),
        () => None,
    }
}

fn conversation(tokenizer: &Tokenizer, chat: &ChatRequest) -> Option<u64> {
    if !chat.tools.is_empty() || chat.response_format.is_some() {
        return None;
    }
    let messages = chat.messages.iter().map(|each| message(tokenizer, each));
    messages.sum::<Option<u64>>().map(|tokens| tokens + FRAME)
}

fn message(tokenizer: &Tokenizer, message: &Message) -> Option<u64> {
    if matches!(message.role, Role::Tool) || !message.extra.is_empty() {
        return None;
    }
    // A role takes one token.
    let name = message.name.as_ref().map_or(0, |name| 1 + count(tokenizer, name));
    let texts = message.parts.iter().map(|part| match part {
        Part::Text { text, .. } => Some(count(tokenizer, text)),
        _ => None,
    });
    texts.sum::<Option<u64>>().map(|tokens| FRAME + 1 + name + tokens)
}

fn embedded(tokenizer: &Tokenizer, embed: &EmbedRequest) -> u64 {
    let inputs = embed.inputs.iter().map(|input| match input {
        EmbedInput::Text(text) => count(tokenizer, text),
        EmbedInput::Tokens(tokens) => tokens.len() as u64,
    });
    inputs.sum()
}

fn count(tokenizer: &Tokenizer, text: &str) -> u64 {
    tokenizer.count(text) as u64
}

#[cfg(test)]
mod tests {
    use llm_core::{Call, Operation};

    use super::*;
    use crate::UpperBound;

    fn input<T: Operation>(body: T) -> u64 {
        let call = Call::new("t", body);
        let estimator = OpenAiTokens::over(UpperBound::new(100));
        estimator.estimate(&EstimateInput::of(&call, call.body.estimate())).0
    }

    /// The expected counts are those of the vendor's own tokenizer.
    #[test]
    fn tokenizer_counts_known_models() {
        let known = [
            ("hello world", 2, 2),
            ("tiktoken is great!", 6, 6),
            ("antidisestablishmentarianism", 6, 6),
            ("2 + 2 = 4", 7, 7),
            ("お誕生日おめでとう", 9, 8),
            ("", 0, 0),
        ];
        for (text, cl100k, o200k) in known {
            assert_eq!(input(EmbedRequest::new("text-embedding-3-small", [text])), cl100k, "{text}");
            // Three tokens for the message, one for its role, three for the conversation.
            assert_eq!(input(ChatRequest::new("gpt-4o-mini").user(text)), o200k + 7, "{text}");
            assert_eq!(input(ChatRequest::new("gpt-4-0613").user(text)), cl100k + 7, "{text}");
        }
    }

    #[test]
    fn tokenizer_leaves_unknown_models_to_fallback() {
        let image =
            ChatRequest::new("gpt-4o").message(Message::new(Role::User, vec![Part::image_url("https://a.example/")]));
        let strange = ChatRequest::new("claude-sonnet-4-5").user("hello world");
        let alike = ChatRequest::new("gpt-4omega").user("hello world");
        for request in [image, strange, alike] {
            let call = Call::new("t", request);
            let question = EstimateInput::of(&call, call.body.estimate());
            let other = UpperBound::new(100);
            assert_eq!(OpenAiTokens::over(other).estimate(&question), other.estimate(&question), "{}", call.body.model);
        }
    }

    #[test]
    fn tokenizer_takes_linear_time() {
        let text = "a".repeat(300_000);
        assert_eq!(input(ChatRequest::new("gpt-4o").user(text.as_str())), 300_000 / 8 + 7);
    }
}
