use llm_core::FinishReason;

/// Converts a vendor's word for the reason why a response ended. All codecs and bridges share this table, because
/// servers that imitate one vendor return the words of another.
///
/// Only words that certainly end a complete response are [`FinishReason::Stop`] or [`FinishReason::ToolCalls`]. A word that
/// is not in the table, such as Anthropic's `pause_turn`, is [`FinishReason::Other`].
pub(crate) fn finish_reason(word: &str) -> FinishReason {
    match word {
        "" | "FINISH_REASON_UNSPECIFIED" => FinishReason::Unknown,
        "stop" | "STOP" | "end_turn" | "stop_sequence" | "STOP_SEQUENCE" | "eos" | "eos_token" | "COMPLETE"
        // Status of a complete response in OpenAI's Responses API.
        | "completed" => FinishReason::Stop,
        "tool_calls" | "tool_use" | "function_call" | "TOOL_CALL" => FinishReason::ToolCalls,
        "length" | "max_tokens" | "MAX_TOKENS" | "max_output_tokens" | "incomplete"
        // The response filled the model's context.
        | "model_length" | "model_context_window_exceeded" => FinishReason::Length,
        "content_filter" | "sensitive" | "refusal" | "guardrail_intervened" | "SAFETY" | "RECITATION" | "BLOCKLIST"
        | "PROHIBITED_CONTENT" | "SPII" | "IMAGE_SAFETY" | "IMAGE_PROHIBITED_CONTENT" | "IMAGE_RECITATION"
        | "ERROR_TOXIC" => FinishReason::ContentFilter,
        "abort" | "cancelled" | "error" | "ERROR" | "insufficient_system_resource" | "network_error" | "repetition"
        | "IMAGE_OTHER" | "LANGUAGE" | "MALFORMED_FUNCTION_CALL" | "MALFORMED_RESPONSE" | "MISSING_THOUGHT_SIGNATURE"
        | "NO_IMAGE" | "OTHER" | "TOO_MANY_TOOL_CALLS" | "UNEXPECTED_TOOL_CALL" => FinishReason::Failed(word.into()),
        other => FinishReason::Other(other.into()),
    }
}
