use async_openai::{
    error::OpenAIError,
    types::chat::{
        ChatCompletionRequestUserMessageArgs, CreateChatCompletionRequest, CreateChatCompletionRequestArgs,
        CreateChatCompletionResponse,
    },
};
use llm_core::Usage;
use serde::{Deserialize, Serialize};

/// Request of a customer for test cases.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Form {
    /// Organisation that sends it: the tenant of the call.
    pub organisation: String,
    /// Scenario to test.
    pub scenario: String,
}

/// Test cases for a customer.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct TestCases {
    /// Their text.
    pub text: String,
}

impl Form {
    /// Returns the request to the vendor.
    ///
    /// # Errors
    ///
    /// None in practice, because every required field is set.
    pub fn request(&self) -> Result<CreateChatCompletionRequest, OpenAIError> {
        let scenario = format!("Write test cases for: {}", self.scenario);
        let message = ChatCompletionRequestUserMessageArgs::default().content(scenario).build()?;
        CreateChatCompletionRequestArgs::default()
            .model("gpt-4o-mini")
            .temperature(0.0)
            .messages([message.into()])
            .build()
    }
}

impl TestCases {
    /// Reads the test cases from a response.
    pub fn of(response: &CreateChatCompletionResponse) -> Self {
        let text = response.choices.first().and_then(|choice| choice.message.content.clone());
        Self { text: text.unwrap_or_default() }
    }

    /// Returns the usage that the vendor states in a response.
    pub fn usage(response: &CreateChatCompletionResponse) -> Usage {
        let usage = response.usage.as_ref();
        usage.map(|usage| Usage::new(usage.prompt_tokens.into(), usage.completion_tokens.into())).unwrap_or_default()
    }
}
