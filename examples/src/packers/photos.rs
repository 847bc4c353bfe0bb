//! Scores of photos.

use std::sync::Arc;

use llm_batch::pack::Packer;
use llm_core::{
    ChatRequest, ChatResponse, Error, ErrorKind, Estimate, Message, Operation, Part, Role, Task,
    chat::{JsonSchema, ResponseFormat},
    layer::Fingerprinter,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Instruction that stands before each photo.
const INSTRUCTION: &str = "You score photos of listings by their light, sharpness and tidiness, from 1 to 10.";

/// A photo to score.
#[derive(Clone, Debug)]
pub struct ScorePhoto {
    /// The PNG file.
    pub photo: Vec<u8>,
}

/// Score of a photo.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Score {
    /// From 1 to 10.
    pub score: u8,
}

impl Operation for ScorePhoto {
    type Output = Score;

    const NAME: &'static str = "score_photo";

    fn model(&self) -> &str {
        "gpt-4o-mini"
    }

    fn fingerprint(&self, h: &mut Fingerprinter) {
        h.text(INSTRUCTION).bytes(&self.photo);
    }

    fn estimate(&self) -> Estimate {
        self.to_request().estimate()
    }
}

impl Task for ScorePhoto {
    fn to_request(&self) -> ChatRequest {
        let schema = json!({
            "type": "object",
            "properties": {"score": {"type": "integer"}},
            "required": ["score"],
            "additionalProperties": false,
        });
        let format =
            JsonSchema { name: "score".into(), description: None, schema: Arc::new(schema), strict: Some(true) };
        ChatRequest::new(self.model())
            .system(INSTRUCTION)
            .message(Message::new(Role::User, vec![Part::image("image/png", self.photo.clone())]))
            .response_format(ResponseFormat::JsonSchema(format))
            .max_output_tokens(16)
    }

    fn parse_response(&self, response: ChatResponse) -> Result<Score, Error> {
        serde_json::from_str(&response.text()).map_err(|error| Error::from_cause(ErrorKind::Malformed, error))
    }
}

/// Packs photos to score. Two scores are equivalent if they differ by at most one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Photos;

impl Packer for Photos {
    fn name(&self) -> &'static str {
        "photos"
    }

    fn accepts(&self, request: &ChatRequest) -> bool {
        request.messages.first() == Some(&Message::system(INSTRUCTION))
    }

    fn instruction(&self) -> &str {
        "Each item is one photo: score it by itself, not beside the others."
    }

    fn equivalent(&self, alone: &ChatResponse, packed: &ChatResponse) -> bool {
        let score = |response: &ChatResponse| Some(serde_json::from_str::<Score>(&response.text()).ok()?.score);
        score(alone).zip(score(packed)).is_some_and(|(alone, packed)| alone.abs_diff(packed) <= 1)
    }
}
