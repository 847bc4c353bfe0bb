//! Tests of the requests and events of each format.

use crate::client::Received;
use bytes::Bytes;
use http::Request;
use llm_testkit::Flavor;
use serde_json::Value;

pub(crate) fn anthropic(path: &str, body: &Value) -> Request<Bytes> {
    let request =
        Request::post(format!("/v1/{path}")).header("x-api-key", "sk-a").header("anthropic-version", "2023-06-01");
    request.body(body.to_string().into()).expect("a valid request")
}

pub(crate) fn gemini(call: &str, body: &Value) -> Request<Bytes> {
    let request = Request::post(format!("/v1beta/models/{call}")).header("x-goog-api-key", "sk-a");
    request.body(body.to_string().into()).expect("a valid request")
}

/// Returns a chat request at the path of a flavor.
pub(crate) fn compatible(flavor: Flavor, body: &Value) -> Request<Bytes> {
    let request = Request::post(format!("{}/chat/completions", flavor.path_prefix()));
    request.header("authorization", "Bearer sk-a").body(body.to_string().into()).expect("a valid request")
}

/// Returns the data of each event that is JSON, for any line ends and comments.
pub(crate) fn events(response: &Received) -> Vec<Value> {
    let text = String::from_utf8(response.bytes().to_vec()).expect("events are UTF-8");
    let data = text.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| *data != "[DONE]");
    data.map(|data| serde_json::from_str(data).expect("an event is JSON")).collect()
}

/// Returns the joined texts at `pointer` of all events.
pub(crate) fn joined(events: &[Value], pointer: &str) -> String {
    events.iter().filter_map(|event| event.pointer(pointer)?.as_str()).collect()
}
