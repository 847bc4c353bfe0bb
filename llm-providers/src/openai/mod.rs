//! OpenAI, and every server that speaks its format.
//!
//! [`OpenAi`] is the client; [`codec`] is its wire format without input or output. Servers differ by a row of one table:
//! [`codec::Dialect`].
//!
//! | server | client | differs in |
//! |---|---|---|
//! | OpenAI | [`OpenAi::new`](crate::Client::new) | |
//! | Azure OpenAI | [`azure`](OpenAi#method.azure), [`azure_deployments`](OpenAi#method.azure_deployments), [`azure_foundry`](OpenAi#method.azure_foundry) | header of the key, addresses, filters |
//! | Ollama | [`ollama`](OpenAi#method.ollama) | no key, no `tool_choice`, images by their bytes only |
//! | vLLM | [`vllm`](OpenAi#method.vllm) | `top_k` |
//! | Mistral | [`mistral`](OpenAi#method.mistral) | names of fields, ids of calls, parts of content |
//! | Groq | [`groq`](OpenAi#method.groq) | usage in `x_groq`, one answer a request |
//! | DeepSeek | [`deepseek`](OpenAi#method.deepseek) | text only, reasoning in and out |
//! | OpenRouter | [`openrouter`](OpenAi#method.openrouter) | errors in chunks, costs, reasoning with seals |
//! | Gemini's compatible endpoint | [`gemini`](OpenAi#method.gemini) | thinking that only the total shows |

mod client;
pub mod codec;
mod protocol;
mod route;
mod servers;

pub use self::client::OpenAi;
pub use self::protocol::OpenAiProtocol;
