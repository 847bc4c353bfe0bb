use llm_core::ToolCall;

/// Returns the arguments of a tool call as a vendor takes them back: `{}` where the model wrote none.
pub(crate) fn arguments(call: &ToolCall) -> &str {
    if call.arguments.trim().is_empty() { "{}" } else { &call.arguments }
}
