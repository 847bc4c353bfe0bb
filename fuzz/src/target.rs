use llm_cache::fuzzing;
use llm_providers::{
    anthropic::AnthropicWire,
    gemini::GeminiWire,
    openai::{OpenAiWire, codec::Dialect},
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
    Target { name: "anthropic_stream", run: |data| stream(&AnthropicWire::default(), data) },
    Target { name: "anthropic_answer", run: |data| answer(&AnthropicWire::default(), data) },
    Target { name: "anthropic_error", run: |data| refusal(&AnthropicWire::default(), data) },
    Target { name: "gemini_stream", run: |data| stream(&GeminiWire::default(), data) },
    Target { name: "gemini_answer", run: |data| answer(&GeminiWire::default(), data) },
    Target { name: "gemini_error", run: |data| refusal(&GeminiWire::default(), data) },
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
fn openai(data: &[u8]) -> OpenAiWire {
    OpenAiWire::new(*Random::of(data).pick(&DIALECTS))
}
