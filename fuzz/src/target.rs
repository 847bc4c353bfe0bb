use llm_cache::fuzzing;
use llm_providers::{
    anthropic::AnthropicProtocol,
    gemini::GeminiProtocol,
    openai::{Dialect, OpenAiProtocol},
};

use crate::{answer::answer, held, random::Random, refusal::refusal, sse::sse, stream::stream};

/// Something to feed bytes to.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, that of its corpus and of its harness too.
    pub name: &'static str,
    /// Feeds it; panics if something is wrong.
    pub run: fn(&[u8]),
}

/// All there are.
pub const TARGETS: [Target; 12] = [
    Target { name: "sse", run: sse },
    Target { name: "openai_stream", run: |data| stream(&openai(data), data) },
    Target { name: "openai_answer", run: |data| answer(&openai(data), data) },
    Target { name: "openai_error", run: |data| refusal(&openai(data), data) },
    Target { name: "anthropic_stream", run: |data| stream(&AnthropicProtocol::default(), data) },
    Target { name: "anthropic_answer", run: |data| answer(&AnthropicProtocol::default(), data) },
    Target { name: "anthropic_error", run: |data| refusal(&AnthropicProtocol::default(), data) },
    Target { name: "gemini_stream", run: |data| stream(&GeminiProtocol::default(), data) },
    Target { name: "gemini_answer", run: |data| answer(&GeminiProtocol::default(), data) },
    Target { name: "gemini_error", run: |data| refusal(&GeminiProtocol::default(), data) },
    Target { name: "cache_entry", run: |data| held::bounded(data.len() + ENTRY, 2, || fuzzing::entry(data)) },
    Target { name: "cache_url", run: |data| held::bounded(data.len(), 64, || fuzzing::url(data)) },
];

/// Feeds the target of this name.
///
/// # Panics
///
/// If there is none, or if something is wrong.
pub fn run(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("the name is a target's");
    (target.run)(data);
}

/// The largest entry that is unpacked, in bytes: room for as much as it says is made at once.
const ENTRY: usize = 64 << 20;

const DIALECTS: [Dialect; 9] = [
    Dialect::OPENAI,
    Dialect::AZURE,
    Dialect::OLLAMA,
    Dialect::VLLM,
    Dialect::MISTRAL,
    Dialect::GROQ,
    Dialect::DEEPSEEK,
    Dialect::OPENROUTER,
    Dialect::GEMINI,
];

/// OpenAI's format as the bytes themselves choose a server.
fn openai(data: &[u8]) -> OpenAiProtocol {
    OpenAiProtocol::new(*Random::of(data).pick(&DIALECTS))
}
