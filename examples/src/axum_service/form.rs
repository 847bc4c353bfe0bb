use async_openai::{
    error::OpenAIError,
    types::chat::{
        ChatCompletionRequestUserMessageArgs, CreateChatCompletionRequest, CreateChatCompletionRequestArgs,
        CreateChatCompletionResponse,
    },
};
use llm_core::Usage;
use serde::{Deserialize, Serialize};

/// What a customer sends.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Question {
    /// Who asks.
    pub organisation: String,
    /// What is to be tested.
    pub scenario: String,
}

/// What a customer gets.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct TestCases {
    /// The text of them.
    pub text: String,
}

impl Question {
    /// The question to the vendor.
    ///
    /// # Errors
    ///
    /// None in practice: nothing is missing.
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
    /// The test cases in an answer.
    pub fn of(answer: &CreateChatCompletionResponse) -> Self {
        let text = answer.choices.first().and_then(|choice| choice.message.content.clone());
        Self { text: text.unwrap_or_default() }
    }

    /// What an answer took, as its vendor says.
    pub fn usage(answer: &CreateChatCompletionResponse) -> Usage {
        let told = answer.usage.as_ref();
        told.map(|usage| Usage::new(usage.prompt_tokens.into(), usage.completion_tokens.into())).unwrap_or_default()
    }
}
