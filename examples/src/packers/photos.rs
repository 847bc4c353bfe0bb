//! Scores of photos.

use llm_batch::pack::Packer;
use llm_core::{
    ChatRequest, ChatResponse, Error, Estimate, Message, Operation, Part, Role, Task, layer::Fingerprinter,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{begins_with, object_of, read};

/// Instruction before each photo.
const INSTRUCTION: &str = "You score photos of listings by their light, sharpness and tidiness, from 1 to 10.";

/// Task that scores a photo.
#[derive(Clone, Debug)]
pub struct ScorePhoto {
    /// Content of the PNG file.
    pub photo: Vec<u8>,
}

/// Score of a photo.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Score {
    /// Score from 1 to 10.
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
        ChatRequest::new(self.model())
            .system(INSTRUCTION)
            .message(Message::new(Role::User, vec![Part::image("image/png", self.photo.clone())]))
            .response_format(object_of("score", "score", json!({"type": "integer"})))
            .max_output_tokens(16)
    }

    fn parse_response(&self, response: ChatResponse) -> Result<Score, Error> {
        read(&response)
    }
}

/// Packer of photos to score. Two scores are equivalent if they differ by at most one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Photos;

impl Packer for Photos {
    fn name(&self) -> &'static str {
        "photos"
    }

    fn accepts(&self, request: &ChatRequest) -> bool {
        begins_with(request, INSTRUCTION)
    }

    fn instruction(&self) -> &str {
        "Each item is one photo: score it by itself, not beside the others."
    }

    fn equivalent(&self, alone: &ChatResponse, packed: &ChatResponse) -> bool {
        let score = |response: &ChatResponse| Some(read::<Score>(response).ok()?.score);
        score(alone).zip(score(packed)).is_some_and(|(alone, packed)| alone.abs_diff(packed) <= 1)
    }
}
