use llm_core::ToolCall;

/// Returns the arguments of a tool call in the form that vendors accept: `{}` if the model wrote none.
pub(crate) fn arguments(call: &ToolCall) -> &str {
    if call.arguments.trim().is_empty() { "{}" } else { &call.arguments }
}
