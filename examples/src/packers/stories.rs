//! Test cases for user stories.

use std::{collections::BTreeSet, sync::Arc};

use llm_batch::pack::Packer;
use llm_core::{ChatRequest, ChatResponse, Error, Operation, Task, layer::Fingerprinter};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{begins_with, object_of, read};

/// Instruction before each story.
const INSTRUCTION: &str = "You write test cases. List the names of the cases that a careful tester would run for the user story: the \
    ordinary ones first, then limits, then wrong input.";

/// Task that lists the names of test cases for a user story.
#[derive(Clone, Debug)]
pub struct ListTestCases {
    /// The story's text.
    pub story: Arc<str>,
}

/// Names of test cases.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestCases {
    /// Names in the order in which the test cases are run.
    pub cases: Vec<String>,
}

impl Operation for ListTestCases {
    type Output = TestCases;

    const NAME: &'static str = "list_test_cases";

    fn model(&self) -> &str {
        "gpt-4o-mini"
    }

    fn fingerprint(&self, h: &mut Fingerprinter) {
        h.text(INSTRUCTION).text(&self.story);
    }
}

impl Task for ListTestCases {
    fn to_request(&self) -> ChatRequest {
        let cases = json!({"type": "array", "items": {"type": "string"}});
        ChatRequest::new(self.model())
            .system(INSTRUCTION)
            .user(Arc::clone(&self.story))
            .response_format(object_of("test_cases", "cases", cases))
            .max_output_tokens(800)
    }

    fn parse_response(&self, response: ChatResponse) -> Result<TestCases, Error> {
        read(&response)
    }
}

/// Packer of requests for test cases. Two lists are equivalent if they share at least half of all names.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stories;

impl Packer for Stories {
    fn name(&self) -> &'static str {
        "stories"
    }

    fn accepts(&self, request: &ChatRequest) -> bool {
        begins_with(request, INSTRUCTION)
    }

    fn instruction(&self) -> &str {
        "Each item is a user story of its own: write as many cases for each as if you had it alone."
    }

    fn equivalent(&self, alone: &ChatResponse, packed: &ChatResponse) -> bool {
        let names = |response: &ChatResponse| -> Option<BTreeSet<String>> {
            let list: TestCases = read(response).ok()?;
            Some(list.cases.iter().map(|name| name.trim().to_lowercase()).collect())
        };
        names(alone)
            .zip(names(packed))
            .is_some_and(|(alone, packed)| 2 * alone.intersection(&packed).count() >= alone.union(&packed).count())
    }
}
