use llm_cache::fuzzing;
use llm_providers::{
    anthropic::AnthropicProtocol,
    gemini::GeminiProtocol,
    openai::{Dialect, OpenAiProtocol},
};

use crate::{held, random::Random, refusal::refusal, response::response, sse::sse, stream::stream};

/// Function that takes bytes of any shape.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Name of the target, of its corpus and of its harness.
    pub name: &'static str,
    /// Runs the target; panics if a property fails.
    pub run: fn(&[u8]),
}

/// All targets.
pub const TARGETS: [Target; 12] = [
    Target { name: "sse", run: sse },
    Target { name: "openai_stream", run: |data| stream(&openai(data), data) },
    Target { name: "openai_response", run: |data| response(&openai(data), data) },
    Target { name: "openai_error", run: |data| refusal(&openai(data), data) },
    Target { name: "anthropic_stream", run: |data| stream(&AnthropicProtocol::default(), data) },
    Target { name: "anthropic_response", run: |data| response(&AnthropicProtocol::default(), data) },
    Target { name: "anthropic_error", run: |data| refusal(&AnthropicProtocol::default(), data) },
    Target { name: "gemini_stream", run: |data| stream(&GeminiProtocol::default(), data) },
    Target { name: "gemini_response", run: |data| response(&GeminiProtocol::default(), data) },
    Target { name: "gemini_error", run: |data| refusal(&GeminiProtocol::default(), data) },
    Target { name: "cache_entry", run: |data| held::bounded(data.len() + ENTRY, 2, || fuzzing::entry(data)) },
    Target { name: "cache_url", run: |data| held::bounded(data.len(), 64, || fuzzing::url(data)) },
];

/// Runs the target of this name.
///
/// # Panics
///
/// If there is no such target, or if a property fails.
pub fn run(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("the name is a target's");
    (target.run)(data);
}

/// Largest entry that is unpacked, in bytes, because memory for the stated size is allocated at once.
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

/// Returns OpenAI's format for a server that the bytes themselves choose.
fn openai(data: &[u8]) -> OpenAiProtocol {
    OpenAiProtocol::new(*Random::of(data).pick(&DIALECTS))
}
