//! Inputs of the codec benchmarks: one request of 2 KB, and one response in each vendor's format.

use llm_core::{ChatRequest, Message};
use serde::Deserialize;

/// Response and stream events in one vendor's format.
#[derive(Clone, Copy, Debug)]
pub struct Bytes {
    /// Bytes of the response before and after its text.
    response: [&'static str; 2],
    /// Events of a stream before the measured event.
    pub before: &'static [&'static str],
    /// Event of a stream that adds a word.
    pub event: &'static str,
}

/// Bytes in OpenAI's format.
pub const OPENAI: Bytes = Bytes {
    response: [
        r#"{"id":"chatcmpl-1","object":"chat.completion","created":1790000000,"model":"gpt-4o-mini-2024-07-18","choices":[{"index":0,"message":{"role":"assistant","content":""#,
        r#"","refusal":null,"annotations":[]},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":512,"completion_tokens":512,"total_tokens":1024,"prompt_tokens_details":{"cached_tokens":256,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}},"service_tier":"default","system_fingerprint":"fp_1"}"#,
    ],
    before: &[
        r#"{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1790000000,"model":"gpt-4o-mini-2024-07-18","service_tier":"default","system_fingerprint":"fp_1","choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null}],"usage":null,"obfuscation":"a1"}"#,
    ],
    event: r#"{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1790000000,"model":"gpt-4o-mini-2024-07-18","service_tier":"default","system_fingerprint":"fp_1","choices":[{"index":0,"delta":{"content":" given"},"logprobs":null,"finish_reason":null}],"usage":null,"obfuscation":"b2c3"}"#,
};

/// Bytes in Anthropic's format.
pub const ANTHROPIC: Bytes = Bytes {
    response: [
        r#"{"id":"msg_1","type":"message","role":"assistant","model":"claude-haiku-4-5","content":[{"type":"text","text":""#,
        r#""}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":256,"cache_creation_input_tokens":0,"cache_read_input_tokens":256,"cache_creation":{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":0},"output_tokens":512,"service_tier":"standard"}}"#,
    ],
    before: &[
        r#"{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"claude-haiku-4-5","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":256,"cache_creation_input_tokens":0,"cache_read_input_tokens":256,"output_tokens":1,"service_tier":"standard"}}}"#,
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
    ],
    event: r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" given"}}"#,
};

/// Bytes in Gemini's format.
pub const GEMINI: Bytes = Bytes {
    response: [
        r#"{"candidates":[{"content":{"role":"model","parts":[{"text":""#,
        r#""}]},"finishReason":"STOP","index":0}],"usageMetadata":{"promptTokenCount":512,"cachedContentTokenCount":256,"candidatesTokenCount":512,"totalTokenCount":1024,"promptTokensDetails":[{"modality":"TEXT","tokenCount":512}]},"modelVersion":"gemini-3-flash","responseId":"r1"}"#,
    ],
    before: &[
        r#"{"candidates":[{"content":{"role":"model","parts":[{"text":"a"}]},"index":0}],"usageMetadata":{"promptTokenCount":512,"candidatesTokenCount":1,"totalTokenCount":513,"promptTokensDetails":[{"modality":"TEXT","tokenCount":512}]},"modelVersion":"gemini-3-flash","responseId":"r1"}"#,
    ],
    event: r#"{"candidates":[{"content":{"role":"model","parts":[{"text":" given"}]},"index":0}],"usageMetadata":{"promptTokenCount":512,"candidatesTokenCount":2,"totalTokenCount":514,"promptTokensDetails":[{"modality":"TEXT","tokenCount":512}]},"modelVersion":"gemini-3-flash","responseId":"r1"}"#,
};

impl Bytes {
    /// Returns the bytes of a response with a text of 2 KB.
    pub fn response(&self) -> Vec<u8> {
        let [begin, end] = self.response;
        let text = "given a user\\nwhen ".repeat((2_048 - begin.len() - end.len()) / 19);
        [begin, &text, end].concat().into_bytes()
    }
}

/// Creates a request of 2 KB that every format can express: a prompt, a conversation and settings.
pub fn request() -> ChatRequest {
    let mut request = ChatRequest::new("a-model").system("Write test cases.");
    for _ in 0..4 {
        request = request.user("a login form with a \"remember me\" box,\nand a link ".repeat(5));
        request = request.message(Message::assistant("given a user when he opens the form then "));
    }
    request = request.user("a registration form ".repeat(25));
    request.sampling.temperature = Some(0.5);
    request.sampling.max_output_tokens = Some(1_024);
    request
}

/// Smallest type that reads the text of an OpenAI stream event.
#[derive(Debug, Deserialize)]
pub struct OpenAiDelta<'a> {
    /// Choices of the event.
    #[serde(borrow)]
    pub choices: Vec<OpenAiChoice<'a>>,
}

/// Choice in an [`OpenAiDelta`].
#[derive(Debug, Deserialize)]
pub struct OpenAiChoice<'a> {
    /// Content that the event adds.
    #[serde(borrow)]
    pub delta: Content<'a>,
}

/// Text in an [`OpenAiDelta`].
#[derive(Debug, Deserialize)]
pub struct Content<'a> {
    /// Text that the event adds.
    pub content: std::borrow::Cow<'a, str>,
}

/// Smallest type that reads the text of an Anthropic stream event.
#[derive(Debug, Deserialize)]
pub struct AnthropicDelta<'a> {
    /// Content that the event adds.
    #[serde(borrow)]
    pub delta: Text<'a>,
}

/// Text field in Anthropic's and Gemini's formats.
#[derive(Debug, Deserialize)]
pub struct Text<'a> {
    /// Text that the event adds.
    pub text: std::borrow::Cow<'a, str>,
}

/// Smallest type that reads the text of a Gemini stream event.
#[derive(Debug, Deserialize)]
pub struct GeminiChunk<'a> {
    /// Candidates of the event.
    #[serde(borrow)]
    pub candidates: Vec<Candidate<'a>>,
}

/// Candidate in a [`GeminiChunk`].
#[derive(Debug, Deserialize)]
pub struct Candidate<'a> {
    /// Content that the event adds.
    #[serde(borrow)]
    pub content: Parts<'a>,
}

/// Content of a [`Candidate`].
#[derive(Debug, Deserialize)]
pub struct Parts<'a> {
    /// Parts of the content.
    #[serde(borrow)]
    pub parts: Vec<Text<'a>>,
}
