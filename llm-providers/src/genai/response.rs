use std::sync::Arc;

use ::genai::{
    adapter::AdapterKind,
    chat::{
        Binary, BinarySource, ChatResponse as GenaiResponse, ContentPart, StopReason, ToolCall as GenaiCall,
        Usage as GenaiUsage,
    },
};
use base64::{Engine, engine::general_purpose::STANDARD};
use llm_core::{ChatResponse, Choice, Error, ErrorKind, Extra, FinishReason, Part, ToolCall, Usage, chat::Reasoning};
use serde_json::Value;

use super::{error::charge, message::SIGNATURES};
use crate::protocol::{finish_reason, usage::output};

/// Converts a complete response of `genai`.
pub(super) fn read_response(response: GenaiResponse) -> Result<ChatResponse, Error> {
    let spent = usage(&response.usage);
    let model: Arc<str> = Arc::from(&*response.provider_model_iden.model_name);
    let kind = response.provider_model_iden.adapter_kind;
    let finish = finish(response.stop_reason.as_ref());
    let mut parts = Vec::new();
    let thoughts = response.content.iter().any(|part| matches!(part, ContentPart::ReasoningContent(_)));
    if let Some(text) = response.reasoning_content.filter(|text| !text.is_empty() && !thoughts) {
        parts.push(Part::Reasoning(Reasoning { text: text.into(), ..Reasoning::default() }));
    }
    for content in response.content {
        push(content, kind, &mut parts).map_err(|error| error.with_charge(charge(spent)))?;
    }
    let id = response.response_id.unwrap_or_default();
    Ok(ChatResponse::new(id, model, vec![Choice::new(0, parts, finish)]))
}

/// Converts the usage. `genai` counts as this library does: cached tokens are part of the prompt's tokens, and
/// reasoning is part of the completion's tokens or added to them. Returns `None` if the vendor stated no usage, a
/// prompt of zero tokens or a negative count.
pub(super) fn usage(stated: &GenaiUsage) -> Option<Usage> {
    let count = |stated: Option<i32>| stated.and_then(|stated| u64::try_from(stated).ok());
    let prompt = count(stated.prompt_tokens).filter(|prompt| *prompt > 0)?;
    let completion = match stated.completion_tokens {
        None => 0,
        stated => count(stated)?,
    };
    let thoughts = stated.completion_tokens_details.as_ref().and_then(|details| count(details.reasoning_tokens));
    let (output, reasoning) = output(prompt, completion, thoughts.unwrap_or(0), count(stated.total_tokens));
    let mut usage = Usage { reasoning, ..Usage::new(prompt, output) };
    if let Some(details) = &stated.prompt_tokens_details {
        let long = details.cache_creation_details.as_ref().and_then(|written| count(written.ephemeral_1h_tokens));
        usage.cache_read = count(details.cached_tokens).unwrap_or(0);
        usage.cache_write_long = long.unwrap_or(0);
        let written = count(details.cache_creation_tokens).unwrap_or(0);
        usage.cache_write = written.saturating_sub(usage.cache_write_long);
        usage.audio_input = count(details.audio_tokens).unwrap_or(0);
    }
    if let Some(details) = &stated.completion_tokens_details {
        usage.audio_output = count(details.audio_tokens).unwrap_or(0);
    }
    Some(usage)
}

/// Returns the reason for the end of a response. It is read from the vendor's word, because `genai` reports some
/// failures as normal ends.
pub(super) fn finish(reason: Option<&StopReason>) -> FinishReason {
    reason.map_or(FinishReason::Unknown, |reason| finish_reason(reason.raw()))
}

/// Converts a tool call. Arguments that `genai` could not parse are kept as the text that the model wrote.
pub(super) fn called(call: GenaiCall) -> ToolCall {
    let GenaiCall { call_id, fn_name, fn_arguments, thought_signatures } = call;
    let arguments = match fn_arguments {
        Value::String(text) => text,
        Value::Null => String::new(),
        value => value.to_string(),
    };
    let mut extra = Extra::default();
    if let Some(signatures) = thought_signatures {
        extra.insert(SIGNATURES, signatures);
    }
    ToolCall { id: call_id.into(), name: fn_name.into(), arguments: arguments.into(), extra }
}

/// Returns the unknown fields that mark reasoning as signed through an adapter.
pub(super) fn signed_through(kind: AdapterKind) -> Extra {
    let mut extra = Extra::default();
    extra.insert(SIGNATURES, kind.as_lower_str());
    extra
}

fn push(content: ContentPart, kind: AdapterKind, parts: &mut Vec<Part>) -> Result<(), Error> {
    let part = match content {
        ContentPart::Text(text) => Part::text(text),
        ContentPart::ToolCall(call) => Part::ToolCall(called(call)),
        ContentPart::ThoughtSignature(signature) => Part::Reasoning(Reasoning {
            text: "".into(),
            signature: Some(signature.into()),
            extra: signed_through(kind),
        }),
        ContentPart::ReasoningContent(text) => {
            // A signature arrives right before the text that it signs.
            if let Some(Part::Reasoning(signed)) = parts.last_mut()
                && signed.text.is_empty()
            {
                signed.text = text.into();
                return Ok(());
            }
            Part::Reasoning(Reasoning { text: text.into(), ..Reasoning::default() })
        }
        ContentPart::Binary(binary) => image(binary)?,
        ContentPart::Custom(custom) => Part::Other { value: Arc::new(custom.data) },
        ContentPart::ToolResponse(_) => return Err(unread("a tool's result")),
    };
    parts.push(part);
    Ok(())
}

fn image(binary: Binary) -> Result<Part, Error> {
    match &binary.source {
        BinarySource::Url(url) if binary.is_image() => Ok(Part::image_url(url.as_str())),
        BinarySource::Base64(text) if binary.is_image() => {
            let data = STANDARD.decode(text.as_bytes()).map_err(|_| unread("an image that is no base64"))?;
            Ok(Part::image(binary.content_type.as_str(), data))
        }
        _ => Err(unread("a file that is no image")),
    }
}

fn unread(what: &str) -> Error {
    Error::new(ErrorKind::Malformed, format!("the response holds {what}"))
}

#[cfg(test)]
mod tests {
    use ::genai::chat::CompletionTokensDetails;

    use super::*;

    fn read(prompt: Option<i32>, completion: Option<i32>, reasoning: i32, total: Option<i32>) -> Option<Usage> {
        let completion_tokens_details =
            Some(CompletionTokensDetails { reasoning_tokens: Some(reasoning), ..Default::default() });
        usage(&GenaiUsage {
            prompt_tokens: prompt,
            completion_tokens: completion,
            completion_tokens_details,
            total_tokens: total,
            ..GenaiUsage::default()
        })
    }

    #[test]
    fn usage_without_usable_prompt_is_unknown() {
        for prompt in [None, Some(0), Some(-5)] {
            assert_eq!(read(prompt, Some(9), 0, None), None);
        }
        assert_eq!(read(Some(12), Some(-1), 0, None), None);
        assert_eq!(read(Some(12), None, 0, None), Some(Usage::new(12, 0)));
    }

    #[test]
    fn usage_reasoning_placed_by_total() {
        let expected = Some(Usage { reasoning: 386, ..Usage::new(12, 387) });
        assert_eq!(read(Some(12), Some(1), 386, Some(399)), expected);
        assert_eq!(read(Some(12), Some(387), 386, Some(399)), expected);
    }

    #[test]
    fn finish_reason_of_genai_is_vendors_word() {
        let read = |word: &str| finish(Some(&StopReason::from(word.to_owned())));
        for (word, meant) in [
            ("completed", FinishReason::Stop),
            ("eos", FinishReason::Stop),
            ("TOOL_CALL", FinishReason::ToolCalls),
            ("sensitive", FinishReason::ContentFilter),
            ("MAX_TOKENS", FinishReason::Length),
            ("repetition", FinishReason::Failed("repetition".into())),
            ("pause_turn", FinishReason::Other("pause_turn".into())),
            ("", FinishReason::Unknown),
        ] {
            assert_eq!(read(word), meant, "{word}");
        }
        assert_eq!(finish(None), FinishReason::Unknown);
    }
}
