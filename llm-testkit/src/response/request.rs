//! Validated chat requests.

use crate::openai::response_hash;
use crate::refusal::Refusal;
use serde_json::Value;

/// The part of a chat request that determines the response.
#[derive(Debug)]
pub(crate) struct ChatRequest {
    pub(crate) hash: u64,
    pub(crate) model: String,
    pub(crate) n: u64,
    pub(crate) max_tokens: Option<u64>,
    pub(crate) stream: bool,
    pub(crate) include_usage: bool,
    pub(crate) stop: Vec<String>,
    pub(crate) form: Form,
}

/// Form of the content that a response must have.
#[derive(Debug)]
pub(crate) enum Form {
    Prose,
    /// A JSON object, which follows the schema if there is one.
    Json(Option<Value>),
    /// The text that the function of [`respond_with`](crate::VendorBuilder::respond_with) returned.
    Given(String),
    /// A call of one of these tools.
    Tool(Vec<Tool>),
}

/// A tool that may be called.
#[derive(Debug)]
pub(crate) struct Tool {
    pub(crate) name: String,
    /// The schema of its arguments.
    pub(crate) parameters: Value,
}

impl ChatRequest {
    pub(crate) fn read(body: &Value) -> Result<Self, Refusal> {
        let model = body["model"].as_str().ok_or_else(|| Refusal::missing("model"))?;
        messages(body)?;
        sampling(body)?;
        let longest = whole(body, "max_completion_tokens", 1, u64::MAX)?.or(whole(body, "max_tokens", 1, u64::MAX)?);
        Ok(Self {
            hash: response_hash(body),
            model: model.into(),
            n: whole(body, "n", 1, 128)?.unwrap_or(1),
            max_tokens: longest,
            stream: body["stream"] == true,
            include_usage: body["stream_options"]["include_usage"] == true,
            stop: stop(&body["stop"]),
            form: form(body)?,
        })
    }
}

fn messages(body: &Value) -> Result<(), Refusal> {
    let messages = body["messages"].as_array().ok_or_else(|| Refusal::missing("messages"))?;
    if messages.is_empty() {
        return Err(Refusal::invalid("messages", "there has to be at least one message"));
    }
    let roles = ["developer", "system", "user", "assistant", "tool", "function"];
    for (at, message) in messages.iter().enumerate() {
        if !message["role"].as_str().is_some_and(|role| roles.contains(&role)) {
            return Err(Refusal::invalid(&format!("messages[{at}].role"), "not a role"));
        }
    }
    Ok(())
}

fn sampling(body: &Value) -> Result<(), Refusal> {
    for (param, low, high) in [
        ("temperature", 0.0, 2.0),
        ("top_p", 0.0, 1.0),
        ("presence_penalty", -2.0, 2.0),
        ("frequency_penalty", -2.0, 2.0),
    ] {
        let given = body.get(param).filter(|value| !value.is_null());
        if given.is_some_and(|value| !value.as_f64().is_some_and(|number| (low..=high).contains(&number))) {
            return Err(Refusal::invalid(param, format!("'{param}' has to be a number from {low} to {high}")));
        }
    }
    Ok(())
}

fn whole(body: &Value, param: &str, low: u64, high: u64) -> Result<Option<u64>, Refusal> {
    match body.get(param) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_u64().filter(|number| (low..=high).contains(number)) {
            Some(number) => Ok(Some(number)),
            None => Err(Refusal::invalid(param, format!("'{param}' has to be a whole number from {low} to {high}"))),
        },
    }
}

fn stop(stop: &Value) -> Vec<String> {
    let sequences = stop.as_array().map_or(std::slice::from_ref(stop), Vec::as_slice);
    let texts = sequences.iter().filter_map(Value::as_str).filter(|text| !text.is_empty());
    texts.map(str::to_owned).collect()
}

fn form(body: &Value) -> Result<Form, Refusal> {
    let choice = &body["tool_choice"];
    let allowed = &choice["allowed_tools"];
    if choice == "required" {
        return tool_form(body, |_| true);
    }
    if choice["type"] == "function" {
        return tool_form(body, |name| choice["function"]["name"] == name);
    }
    if choice["type"] == "allowed_tools" && allowed["mode"] == "required" {
        let names = allowed["tools"].as_array().map_or(&[][..], Vec::as_slice);
        return tool_form(body, |name| names.iter().any(|tool| tool["function"]["name"] == name));
    }
    Ok(text_form(&body["response_format"]))
}

/// Returns the form of a call of one of the tools whose names are wanted.
fn tool_form(body: &Value, is_wanted: impl Fn(&str) -> bool) -> Result<Form, Refusal> {
    let tools = body["tools"].as_array().map_or(&[][..], Vec::as_slice);
    let named =
        tools.iter().filter_map(|tool| Some((tool["function"]["name"].as_str()?, &tool["function"]["parameters"])));
    let wanted: Vec<_> = named
        .filter(|(name, _)| is_wanted(name))
        .map(|(name, parameters)| Tool { name: name.into(), parameters: parameters.clone() })
        .collect();
    if wanted.is_empty() {
        return Err(Refusal::invalid("tool_choice", "the tool that has to be called is not among the tools"));
    }
    Ok(Form::Tool(wanted))
}

fn text_form(format: &Value) -> Form {
    match format["type"].as_str() {
        Some("json_object") => Form::Json(None),
        Some("json_schema") => Form::Json(format["json_schema"].get("schema").cloned()),
        _ => Form::Prose,
    }
}
