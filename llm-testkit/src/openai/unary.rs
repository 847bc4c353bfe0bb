//! Encoding of responses that are not streamed, and the fields that compatible vendors add or omit.

use super::codec::OpenAi;
use super::dialect::Thoughts;
use crate::flavor::Flavor;
use crate::response::{ChatResponse, Choice, Content, EmbeddingResponse, Finish};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

/// Creation time that every simulated response states, in seconds since 1970.
pub(super) const CREATED: u64 = 1_763_700_000;

impl OpenAi {
    /// Returns the body of a chat completion that is not streamed.
    pub(super) fn completion(&self, response: &ChatResponse, usage: bool) -> Value {
        let choices = response.choices.iter().enumerate().map(|(index, choice)| self.whole(index, choice));
        let mut body = json!({
            "id": response.id, "object": "chat.completion", "created": CREATED, "model": response.model,
            "choices": choices.collect::<Vec<_>>(),
            "service_tier": "default", "system_fingerprint": "fp_simulated",
        });
        if usage {
            body["usage"] = self.usage(response);
        }
        self.dress(&mut body, response);
        if self.0.flavor == Flavor::Azure {
            body["prompt_filter_results"] = prompt_filter();
        }
        body
    }

    pub(super) fn vectors(&self, embed: &EmbeddingResponse, usage: bool) -> Value {
        let row = |(index, vector): (usize, &Vec<f32>)| json!({"object": "embedding", "index": index, "embedding": encode(vector, embed.base64)});
        let data: Vec<_> = embed.vectors.iter().enumerate().map(row).collect();
        let mut body = json!({"object": "list", "data": data, "model": embed.model});
        if usage {
            body["usage"] = json!({"prompt_tokens": embed.input, "total_tokens": embed.input});
            if self.0.flavor == Flavor::OpenRouter {
                body["usage"]["cost"] = usd(embed.nano_usd);
            }
        }
        body
    }

    pub(super) fn usage(&self, response: &ChatResponse) -> Value {
        let output = response.output();
        let mut usage = json!({
            "prompt_tokens": response.input, "completion_tokens": output, "total_tokens": response.input + output,
            "prompt_tokens_details": {"cached_tokens": response.cached, "audio_tokens": 0, "cache_write_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": response.thinking(), "audio_tokens": 0,
                "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0},
        });
        match self.0.flavor {
            Flavor::DeepSeek => {
                usage["prompt_cache_hit_tokens"] = json!(response.cached);
                usage["prompt_cache_miss_tokens"] = json!(response.input - response.cached);
            }
            Flavor::Groq => {
                for field in ["queue_time", "prompt_time", "completion_time", "total_time"] {
                    usage[field] = json!(0.001);
                }
            }
            Flavor::OpenRouter => {
                usage["cost"] = usd(response.nano_usd);
                usage["is_byok"] = json!(false);
                usage["cost_details"] = json!({"upstream_inference_cost": usd(response.nano_usd)});
            }
            _ => {}
        }
        usage
    }

    /// Applies the vendor's dialect to a response or a chunk.
    pub(super) fn dress(&self, body: &mut Value, response: &ChatResponse) {
        let choices = body["choices"].as_array_mut().map_or(&mut [][..], Vec::as_mut_slice);
        for choice in choices {
            match self.0.flavor {
                Flavor::Azure => choice["content_filter_results"] = filter_results(),
                Flavor::OpenRouter => choice["native_finish_reason"] = choice["finish_reason"].clone(),
                _ => {}
            }
        }
        match self.0.flavor {
            Flavor::OpenRouter => body["provider"] = json!("Simulated"),
            Flavor::Groq if body["object"] == "chat.completion" => {
                body["x_groq"] = json!({"id": response.id.replace("chatcmpl-", "req_")});
            }
            _ => {}
        }
        self.strip(body);
    }

    /// Removes the fields that the vendor does not send.
    pub(super) fn strip(&self, body: &mut Value) {
        match body {
            Value::Array(items) => items.iter_mut().for_each(|item| self.strip(item)),
            Value::Object(fields) => {
                // NOTE: the fields are copied to a new map, because the effect of a removal on their order depends on a
                // feature of serde_json.
                let kept =
                    std::mem::take(fields).into_iter().filter(|(name, _)| !self.0.lacks.contains(&name.as_str()));
                *fields = kept.collect::<Map<_, _>>();
                fields.values_mut().for_each(|value| self.strip(value));
            }
            _ => {}
        }
    }

    fn whole(&self, index: usize, choice: &Choice) -> Value {
        let mut message = json!({"role": "assistant", "content": null, "refusal": null, "annotations": []});
        match &choice.content {
            Content::Text(text) => message["content"] = json!(text),
            Content::Tool { hash, name, arguments } => {
                message["tool_calls"] = json!([{"id": self.call_id(*hash), "type": "function",
                    "function": {"name": name, "arguments": arguments}}]);
            }
        }
        match self.0.thoughts {
            _ if choice.thinking == 0 => {}
            Thoughts::Hidden => {}
            Thoughts::Field(name) => message[name] = json!(choice.thoughts),
            Thoughts::Parts => {
                let mut parts = vec![thought_part(&choice.thoughts)];
                parts[0]["closed"] = json!(true);
                parts.extend(message["content"].as_str().map(|text| json!({"type": "text", "text": text})));
                message["content"] = parts.into();
            }
        }
        json!({"index": index, "message": message, "logprobs": null, "finish_reason": finish(&choice.finish)})
    }

    /// Returns the id of a tool call. Mistral's ids have nine letters.
    pub(super) fn call_id(&self, hash: u64) -> String {
        match self.0.flavor {
            Flavor::Mistral => format!("{hash:016x}")[..9].to_owned(),
            _ => format!("call_{hash:016x}"),
        }
    }
}

/// Returns a part of content with a text of reasoning, in Mistral's format.
pub(super) fn thought_part(text: &str) -> Value {
    json!({"type": "thinking", "thinking": [{"type": "text", "text": text}]})
}

pub(super) fn finish(finish: &Finish) -> &'static str {
    match finish {
        Finish::Stop | Finish::Sequence(_) => "stop",
        Finish::Length => "length",
        Finish::Tool => "tool_calls",
        Finish::Filtered => "content_filter",
    }
}

/// Returns Azure's filter results for the prompt of every call.
pub(super) fn prompt_filter() -> Value {
    json!([{"prompt_index": 0, "content_filter_results": filter_results()}])
}

fn filter_results() -> Value {
    let safe = json!({"filtered": false, "severity": "safe"});
    json!({"hate": safe, "self_harm": safe, "sexual": safe, "violence": safe})
}

fn encode(vector: &[f32], base64: bool) -> Value {
    if base64 {
        let bytes: Vec<u8> = vector.iter().flat_map(|x| x.to_le_bytes()).collect();
        return json!(STANDARD.encode(bytes));
    }
    json!(vector.iter().copied().map(f64::from).collect::<Vec<_>>())
}

/// Converts nano-dollars to the decimal number of dollars that OpenRouter sends.
fn usd(nano: u64) -> Value {
    let text = format!("{}.{:09}", nano / 1_000_000_000, nano % 1_000_000_000);
    // NOTE: the standard library parses to the nearest number, independently of features of serde_json.
    json!(text.parse::<f64>().expect("digits around a point are a number"))
}
