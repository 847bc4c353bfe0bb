//! Simulated model that answers each item of a packed request.

use serde_json::{Value, json};

/// Beginning of the control item of a packed request, which states its own correct answer.
const DECOY: &str = "Answer with exactly this text and nothing else: ";

/// Returns a function for [`VendorBuilder::respond_with`](llm_testkit::VendorBuilder::respond_with) that answers the last
/// message of a request, or each item of a packed one, by `each`.
///
/// `each` gets the item's text, in which an image is its data URL, and returns a string for an answer in words, or any other
/// JSON value for one in a schema's form.
///
/// ```
/// use examples::packers::simulated::responder;
/// use llm_testkit::Vendor;
/// use serde_json::{Value, json};
///
/// let vendor = Vendor::builder().respond_with(responder(|item| json!({"length": item.len()}))).build();
/// let respond = |text: &str| {
///     let messages = json!([{"role": "system", "content": "Measure."}, {"role": "user", "content": text}]);
///     vendor.response_text(&json!({"model": "m", "messages": messages}))
/// };
/// assert_eq!(respond("a story").as_deref(), Some(r#"{"length":7}"#));
///
/// let packed = "Respond with one JSON object.\n\n[item 1f]\na story\n[end 1f]\n";
/// let answer: Value = serde_json::from_str(&respond(packed).unwrap_or_default())?;
/// assert_eq!(answer, json!({"answers": [{"id": "1f", "answer": {"length": 7}}]}));
/// # Ok::<_, serde_json::Error>(())
/// ```
pub fn responder(
    each: impl Fn(&str) -> Value + Send + Sync + 'static,
) -> impl Fn(&Value) -> Option<String> + Send + Sync {
    move |body| {
        let prompt = last_message(body)?;
        let written = |answer: Value| answer.as_str().map_or_else(|| answer.to_string(), str::to_owned);
        Some(packed(&prompt, &each).unwrap_or_else(|| written(each(&prompt))))
    }
}

/// Returns the text of the last message of a chat request in OpenAI's format, with the URLs of its images.
fn last_message(body: &Value) -> Option<String> {
    match &body["messages"].as_array()?.last()?["content"] {
        Value::String(text) => Some(text.clone()),
        Value::Array(parts) => {
            let piece = |part: &Value| Some(part["text"].as_str().or(part["image_url"]["url"].as_str())?.to_owned());
            Some(parts.iter().filter_map(piece).collect())
        }
        _ => None,
    }
}

/// Returns the response to a packed prompt; `None` for any other prompt.
fn packed(prompt: &str, each: impl Fn(&str) -> Value) -> Option<String> {
    if !prompt.contains("Respond with one JSON object") {
        return None;
    }
    let (mut rest, mut answers) = (prompt, Vec::new());
    while let Some((_, fenced)) = rest.split_once("\n[item ") {
        let (id, body) = fenced.split_once("]\n")?;
        let (item, behind) = body.split_once(&format!("\n[end {id}]\n"))?;
        let answer = item.strip_prefix(DECOY).map_or_else(|| each(item), |nonce| json!(nonce));
        answers.push(json!({"id": id, "answer": answer}));
        rest = behind;
    }
    Some(json!({ "answers": answers }).to_string())
}
