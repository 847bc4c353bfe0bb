//! Tests of every documented form of a unary response, with bodies written for these tests.

use llm_providers::llm_core::{
    Charge, ChatResponse, ChatStream, ErrorKind, FinishReason, Output, Part, Usage,
    chat::{ImageSource, Reasoning},
};
use serde_json::{Value, json};

use crate::codec::gemini::{Decoded, decode_chat, decode_count, decode_embeddings, decode_models};

fn decode(body: Value) -> Decoded<ChatResponse> {
    decode_chat(body.to_string().as_bytes()).unwrap()
}

fn said(parts: Value, finish: &str) -> Value {
    json!({"responseId": "R-1", "candidates": [{"content": {"role": "model", "parts": parts}, "finishReason": finish}]})
}

fn response(parts: Value) -> ChatResponse {
    decode(said(parts, "STOP")).output
}

#[test]
fn gemini_response_text_keeps_every_field() {
    let decoded = decode(json!({
        "candidates": [{"content": {"role": "model", "parts": [{"text": "Hola"}], "x": 1}, "finishReason": "STOP", "index": 0,
            "safetyRatings": [{"category": "C", "probability": "LOW"}], "avgLogprobs": -0.5}],
        "promptFeedback": {"safetyRatings": []},
        "usageMetadata": {"promptTokenCount": 100, "cachedContentTokenCount": 60, "candidatesTokenCount": 20,
            "thoughtsTokenCount": 7, "toolUsePromptTokenCount": 11, "totalTokenCount": 138, "serviceTier": "priority",
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 68}, {"modality": "AUDIO", "tokenCount": 30},
                {"modality": "IMAGE", "tokenCount": 2}],
            "toolUsePromptTokensDetails": [{"modality": "AUDIO", "tokenCount": 1}],
            "cacheTokensDetails": [{"modality": "TEXT", "tokenCount": 48}, {"modality": "AUDIO", "tokenCount": 12}],
            "candidatesTokensDetails": [{"modality": "AUDIO", "tokenCount": 5}, {"modality": "IMAGE", "tokenCount": 4}]},
        "modelVersion": "gemini-x", "responseId": "R-1", "modelStatus": {"a": 1}}));
    let response = decoded.output;
    assert_eq!((&*response.id, &*response.model, &*response.text()), ("R-1", "gemini-x", "Hola"));
    assert_eq!(response.finish(), &FinishReason::Stop);
    let usage = Usage { cache_read: 60, reasoning: 7, tool_prompt: 11, ..Usage::new(111, 27) };
    let usage =
        Usage { audio_input: 31, audio_cache_read: 12, image_input: 2, audio_output: 5, image_output: 4, ..usage };
    assert_eq!(decoded.usage, Some(usage));
    assert_eq!(decoded.service_tier.as_deref(), Some("priority"));
    // The order of the fields depends on the features of serde_json.
    let names: std::collections::BTreeSet<_> = response.extra.iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["modelStatus", "promptFeedback", "usageMetadata"].into());
    let stated = response.extra.get("usageMetadata").unwrap();
    assert!(stated.get("promptTokenCount").is_none() && stated.get("totalTokenCount").is_none());
    assert_eq!(
        (stated["promptTokensDetails"][2]["tokenCount"].as_u64(), &stated["serviceTier"]),
        (Some(2), &json!("priority"))
    );
    let choice = &response.choices[0];
    assert_eq!(choice.extra.get("avgLogprobs"), Some(&json!(-0.5)));
    assert_eq!(choice.extra.get("safetyRatings").unwrap()[0]["probability"], "LOW");
    assert_eq!((choice.extra.get("index"), choice.message_extra.get("x")), (None, Some(&json!(1))));
}

#[test]
fn gemini_thoughts_are_reasoning_with_signature() {
    let response =
        response(json!([{"text": "hm", "thought": true}, {"text": "mm", "thought": true, "thoughtSignature": "S1"},
        {"text": "yes", "thoughtSignature": "S2"}, {"text": "", "thoughtSignature": "S3"}, {"text": ""},
        {"text": "", "thought": true}]));
    let parts = &response.choices[0].parts;
    let thought = |text: &str, signature: Option<&str>| {
        Part::Reasoning(Reasoning { text: text.into(), signature: signature.map(Into::into), ..Reasoning::default() })
    };
    let signed = thought("mm", Some("S1")).with_extra("thought", true);
    assert_eq!(parts[..2], [thought("hm", None), signed]);
    for (part, words, signature) in [(&parts[2], "yes", "S2"), (&parts[3], "", "S3")] {
        assert!(
            matches!(part, Part::Text { text, extra }
            if **text == *words && extra.get("thoughtSignature") == Some(&json!(signature))),
            "{part:?}"
        );
    }
    assert_eq!((parts.len(), &*response.text(), response.choices[0].reasoning()), (4, "yes", "hmmm".to_owned()));
}

#[test]
fn gemini_function_calls_get_ids_and_reason() {
    let response =
        response(json!([{"functionCall": {"id": "c1", "name": "f", "args": {"a": [1, 2.5]}}, "thoughtSignature": "S"},
        {"functionCall": {"name": "g"}}, {"functionCall": {"name": "h", "args": null, "mood": "calm"}}]));
    let calls: Vec<_> = response.tool_calls().collect();
    let plain: Vec<_> = calls.iter().map(|call| (&*call.id, &*call.name, &*call.arguments)).collect();
    assert_eq!(plain, [("c1", "f", r#"{"a":[1,2.5]}"#), ("gemini_R-1_0_1", "g", "{}"), ("gemini_R-1_0_2", "h", "{}")]);
    assert_eq!(calls[0].extra.get("thoughtSignature"), Some(&json!("S")));
    assert!(calls[1].extra.is_empty());
    assert_eq!(calls[2].extra.get("functionCall"), Some(&json!({"mood": "calm"})));
    assert_eq!(response.finish(), &FinishReason::ToolCalls);
}

#[test]
fn gemini_images_decode_from_either_base64() {
    let code = json!({"executableCode": {"language": "PYTHON", "code": "1"}, "thoughtSignature": "S"});
    let sound = json!({"inlineData": {"mimeType": "audio/L16", "data": "AA=="}});
    let torn = json!({"inlineData": {"mimeType": "image/png", "data": "!"}});
    let thought = json!({"thought": true, "inlineData": {"mimeType": "image/png", "data": "AA=="}});
    let response = response(json!([{"inlineData": {"mimeType": "image/png", "data": "+/8="}, "thoughtSignature": "S"},
        {"inlineData": {"mimeType": "image/png", "data": "-_8"}}, code, sound, torn, thought, 7]));
    let parts = &response.choices[0].parts;
    for part in &parts[..2] {
        let Part::Image(image) = part else { panic!("{part:?}") };
        assert!(matches!(&image.source, ImageSource::Bytes { media_type, data }
            if **media_type == *"image/png" && data[..] == [0xfb, 0xff]));
    }
    assert!(matches!(&parts[0], Part::Image(image) if image.extra.get("thoughtSignature") == Some(&json!("S"))));
    for (part, whole) in parts[2..].iter().zip([code, sound, torn, thought, json!(7)]) {
        assert!(matches!(part, Part::Other { value } if **value == whole), "{part:?}");
    }
}

#[test]
fn finish_reason_of_gemini_is_mapped() {
    use FinishReason::{ContentFilter, Failed, Length, Other, Stop, Unknown};
    let unary = |word: Value| {
        let body = json!({"candidates": [{"content": {"parts": [{"text": "x"}]}, "finishReason": word}]});
        decode(body).output.choices.remove(0)
    };
    for (word, meant) in [
        (json!("STOP"), Stop),
        (json!(1), Stop),
        (json!("MAX_TOKENS"), Length),
        (json!(2), Length),
        (json!(null), Unknown),
        (json!("FINISH_REASON_UNSPECIFIED"), Unknown),
        (json!("LANGUAGE"), Failed("LANGUAGE".into())),
        (json!("MALFORMED_FUNCTION_CALL"), Failed("MALFORMED_FUNCTION_CALL".into())),
        (json!("MISSING_THOUGHT_SIGNATURE"), Failed("MISSING_THOUGHT_SIGNATURE".into())),
        (json!(99), Other("99".into())),
    ] {
        let choice = unary(word.clone());
        assert_eq!((choice.finish, choice.extra.is_empty()), (meant, true), "{word}");
    }
    for word in ["SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY"] {
        let choice = unary(json!(word));
        assert_eq!((choice.finish, choice.extra.get("finishReason")), (ContentFilter, Some(&json!(word))));
    }
}

#[test]
fn gemini_candidates_keep_their_index() {
    let one = |text: &str| json!({"content": {"parts": [{"text": text}]}, "finishReason": "STOP"});
    let mut second = one("a");
    second["index"] = json!(0);
    let mut first = one("b");
    first["index"] = json!(1);
    let response = decode(json!({"candidates": [first, second]})).output;
    let seen: Vec<_> = response.choices.iter().map(|choice| (choice.index, choice.text())).collect();
    assert_eq!(seen, [(0, "a".into()), (1, "b".into())]);
    let response = decode(json!({"candidates": [one("x"), one("y")]})).output;
    assert_eq!(response.choices.iter().map(|choice| choice.index).collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn gemini_candidates_of_one_index_are_joined() {
    let call = json!({"functionCall": {"name": "f", "args": {}}});
    let candidates = json!([
        {"index": 1, "content": {"parts": [{"text": "b"}]}, "finishReason": "STOP"},
        {"index": 0, "content": {"parts": [{"text": "a"}, call]}, "safetyRatings": [1]},
        {"index": 0, "content": {"parts": [call]}, "finishReason": "STOP", "safetyRatings": [2]}]);
    let response = decode(json!({"responseId": "R", "candidates": candidates})).output;
    assert_eq!(response.choices.iter().map(|choice| choice.index).collect::<Vec<_>>(), [0, 1]);
    let first = &response.choices[0];
    assert_eq!((first.finish.clone(), first.text()), (FinishReason::ToolCalls, "a".into()));
    assert_eq!(first.tool_calls().map(|call| &*call.id).collect::<Vec<_>>(), ["gemini_R_0_0", "gemini_R_0_1"]);
    assert_eq!(first.extra.get("safetyRatings"), Some(&json!([1, 2])));
    // If the response is replayed in pieces, the result is the same.
    let again = crate::streaming::block_on(ChatStream::replay(response.clone().into(), None).complete()).unwrap();
    assert_eq!(again, response);
}

#[test]
fn gemini_searches_are_counted() {
    let grounds =
        |queries: &[&str]| json!({"groundingMetadata": {"webSearchQueries": queries}, "finishReason": "STOP"});
    let usage = json!({"promptTokenCount": 5, "candidatesTokenCount": 1});
    let stated = json!({"candidates": [grounds(&["a", "b"]), grounds(&["c"])], "usageMetadata": usage});
    assert_eq!(decode(stated).usage, Some(Usage { searches: 3, ..Usage::new(5, 1) }));
    assert_eq!(decode(json!({"candidates": [grounds(&["a"])]})).usage, None);
}

#[test]
fn gemini_candidates_or_parts_may_be_missing() {
    let eaten = decode(json!({"usageMetadata": {"promptTokenCount": 5, "thoughtsTokenCount": 9}, "modelVersion": "m"}));
    assert!(eaten.output.choices.is_empty());
    assert_eq!(eaten.usage, Some(Usage { reasoning: 9, ..Usage::new(5, 9) }));
    for content in [json!({}), json!({"role": "model"}), Value::Null] {
        let body = json!({"candidates": [{"content": content, "finishReason": "MAX_TOKENS"}]});
        let response = decode(body).output;
        assert_eq!((response.choices[0].parts.len(), response.finish()), (0, &FinishReason::Length));
    }
    assert_eq!(
        decode(json!({"candidates": [{"finishReason": "SAFETY"}]})).output.finish(),
        &FinishReason::ContentFilter
    );
}

#[test]
fn gemini_blocked_prompt_is_error_with_reason() {
    let blocked = |mut body: Value, usage: Option<Value>| {
        if let Some(usage) = usage {
            body["usageMetadata"] = usage;
        }
        decode_chat(body.to_string().as_bytes()).unwrap_err()
    };
    let body = json!({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT", "blockReasonMessage": "no"}});
    let error = blocked(body.clone(), Some(json!({"promptTokenCount": 8, "totalTokenCount": 8})));
    assert_eq!((error.kind(), error.code()), (ErrorKind::ContentFiltered, Some("PROHIBITED_CONTENT")));
    assert_eq!(error.charge(), Charge::Known(Usage::new(8, 0)));
    assert!(error.message().contains("no") && !error.is_retryable());
    assert_eq!(blocked(body, None).charge(), Charge::Unknown);
}

#[test]
fn gemini_usage_reads_partial_counts() {
    let with = |usage: Value| decode(json!({"candidates": [], "usageMetadata": usage})).usage;
    assert_eq!(with(json!({})), None);
    assert_eq!(with(Value::Null), None);
    assert_eq!(with(json!({"promptTokenCount": "12", "candidatesTokenCount": 3})), Some(Usage::new(12, 3)));
    assert_eq!(with(json!({"candidatesTokenCount": 3, "promptTokensDetails": null})), None);
}

#[test]
fn gemini_invalid_response_is_malformed_unknown_charge() {
    for (body, why) in [
        (&b""[..], "empty"),
        (b"<!DOCTYPE html><html></html>", "HTML"),
        (b"OK", "not JSON"),
        (b"{\"candidates\": [", "not JSON"),
        (b"7", "not an object"),
        (b"{}", "no candidates"),
        (b"{\"candidates\": [1]}", "not an object"),
        (b"[1]", "not an object"),
        (b"[{\"candidates\": [", "not JSON"),
        (b"{\"responseId\": \"\xff\"}", "UTF-8"),
        (b"[\"\xff\"]", "UTF-8"),
    ] {
        let error = decode_chat(body).unwrap_err();
        assert_eq!((error.kind(), error.charge()), (ErrorKind::Malformed, Charge::Unknown), "{error}");
        assert!(error.message().contains(why), "{error}");
    }
    let billed = br#"{"candidates": [1], "usageMetadata": {"promptTokenCount": 5}}"#;
    assert_eq!(decode_chat(billed).unwrap_err().charge(), Charge::Known(Usage::new(5, 0)));
}

#[test]
fn error_in_success_of_gemini_is_error() {
    for wrap in [|error: Value| error, |error: Value| json!([error])] {
        let error = |error: Value| decode_chat(wrap(json!({"error": error})).to_string().as_bytes()).unwrap_err();
        let busy = error(json!({"code": 503, "message": "try later", "status": "UNAVAILABLE"}));
        assert_eq!((busy.kind(), busy.message(), busy.charge()), (ErrorKind::Overloaded, "try later", Charge::None));
        let failed = error(json!({"message": "oh", "status": "INTERNAL"}));
        assert_eq!((failed.kind(), failed.charge()), (ErrorKind::Server, Charge::Unknown));
        let slow = error(json!({"status": "RESOURCE_EXHAUSTED", "message": "Please retry in 1.5s."}));
        assert_eq!(slow.kind(), ErrorKind::RateLimited);
    }
}

#[test]
fn gemini_response_list_is_joined() {
    let piece = |parts: Value| json!({"candidates": [{"content": {"parts": parts}, "index": 0}], "responseId": "R"});
    let mut last = piece(json!([{"text": "lo"}]));
    last["candidates"][0]["finishReason"] = json!("STOP");
    last["usageMetadata"] = json!({"promptTokenCount": 2, "candidatesTokenCount": 3, "serviceTier": "flex"});
    let list = json!([piece(json!([{"text": "hm", "thought": true}])), piece(json!([{"text": "Hel"}])), last]);
    let decoded = decode(list.clone());
    assert_eq!((&*decoded.output.text(), decoded.output.choices[0].reasoning()), ("Hello", "hm".to_owned()));
    assert_eq!((decoded.usage, decoded.service_tier.as_deref()), (Some(Usage::new(2, 3)), Some("flex")));
    let cut = json!([list[0], list[1]]).to_string();
    assert_eq!(decode_chat(cut.as_bytes()).unwrap_err().kind(), ErrorKind::Incomplete);
    assert_eq!(decode_chat(b"[]").unwrap_err().kind(), ErrorKind::Incomplete);
}

#[test]
fn gemini_embeddings_keep_input_order() {
    let body = json!({"embeddings": [{"values": [0.25, -1]}, {"values": [1, 2]}], "x": 1,
        "usageMetadata": {"promptTokenCount": 7, "promptTokenDetails": [{"modality": "IMAGE", "tokenCount": 5}]}});
    let decoded = decode_embeddings(body.to_string().as_bytes(), 2).unwrap();
    assert_eq!(decoded.output.vectors, [[0.25f32, -1.0].into(), std::sync::Arc::from([1.0f32, 2.0])]);
    assert_eq!(decoded.usage, Some(Usage { image_input: 5, ..Usage::new(7, 0) }));
    assert_eq!(decoded.output.extra.get("x"), Some(&json!(1)));
    let one = decode_embeddings(br#"{"embedding": {"values": [0.5]}}"#, 1).unwrap();
    assert_eq!((one.output.vectors, one.usage), (vec![[0.5f32].into()], None));
}

#[test]
fn gemini_embeddings_of_wrong_count_are_refused() {
    for embeddings in [
        json!([]),
        json!([{"values": [1]}]),
        json!([{"values": [1]}, {}]),
        json!([{"values": [1]}, {"values": [null]}]),
        json!([{"values": [1]}, {"values": []}]),
        json!([{"values": [1]}, 1]),
    ] {
        let body = json!({"embeddings": embeddings, "usageMetadata": {"promptTokenCount": 2}}).to_string();
        let error = decode_embeddings(body.as_bytes(), 2).unwrap_err();
        assert_eq!((error.kind(), error.charge()), (ErrorKind::Malformed, Charge::Known(Usage::new(2, 0))), "{body}");
    }
    assert!(decode_embeddings(b"{}", 0).unwrap_err().message().contains("no embeddings"));
}

#[test]
fn gemini_token_counts_and_models_are_read() {
    assert_eq!(decode_count(br#"{"totalTokens": 12, "promptTokensDetails": []}"#).unwrap(), 12);
    assert_eq!(decode_count(b"{}").unwrap_err().kind(), ErrorKind::Malformed);
    assert_eq!(decode_count(br#"{"error": {"code": 404}}"#).unwrap_err().kind(), ErrorKind::NotFound);
    let page = json!({"nextPageToken": "t", "models": [{"name": "models/m", "displayName": "M", "inputTokenLimit": 5,
        "outputTokenLimit": "6", "supportedGenerationMethods": ["countTokens"]}, {"name": "tunedModels/n"}]});
    let (models, next) = decode_models(page.to_string().as_bytes()).unwrap();
    assert_eq!((&*models[0].id, models[0].name.as_deref(), next.as_deref()), ("m", Some("M"), Some("t")));
    assert_eq!((models[0].input_limit, models[0].output_limit), (Some(5), Some(6)));
    assert_eq!(models[0].extra.get("supportedGenerationMethods"), Some(&json!(["countTokens"])));
    assert_eq!(&*models[1].id, "tunedModels/n");
    assert_eq!(decode_models(b"{}").unwrap(), (vec![], None));
    assert!(decode_models(br#"{"models": [{}]}"#).is_err());
}
