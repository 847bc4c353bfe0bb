//! Tests of streams of every form, including hostile ones.

use bytes::Bytes;
use llm_providers::{
    Gemini,
    llm_core::{Charge, ChatEvent, ErrorKind, FinishReason, Usage},
};
use serde_json::{Value, json};

use crate::streaming::{Canned, Read, block_on, play_to};

use crate::codec::gemini::{ChunkDecoder, decode_chat};

fn client(canned: Canned) -> Gemini<Canned> {
    Gemini::with_transport("key", canned).unwrap()
}

fn played(canned: Canned) -> Read {
    block_on(play_to(&client(canned))).unwrap()
}

fn event(chunk: &Value) -> String {
    format!("data: {chunk}\r\n\r\n")
}

fn chunk(parts: Value, finish: Option<&str>) -> Value {
    let mut candidate = json!({"content": {"role": "model", "parts": parts}, "index": 0});
    if let Some(finish) = finish {
        candidate["finishReason"] = json!(finish);
    }
    json!({"candidates": [candidate], "responseId": "R", "modelVersion": "m",
        "usageMetadata": {"promptTokenCount": 8, "candidatesTokenCount": 2, "serviceTier": "standard"}})
}

fn text(text: &str, finish: Option<&str>) -> String {
    event(&chunk(json!([{"text": text}]), finish))
}

#[test]
fn gemini_stream_equals_unary_response() {
    let ratings = json!([{"category": "C", "probability": "LOW"}]);
    let call = json!({"functionCall": {"name": "f", "args": {"a": 1}}, "thoughtSignature": "S2"});
    let mut chunks = [
        chunk(json!([{"text": "h", "thought": true}]), None),
        chunk(json!([{"text": "m", "thought": true}, {"text": "A"}]), None),
        chunk(json!([{"text": "B"}]), None),
        chunk(json!([{"text": "C", "thoughtSignature": "S1"}, call, {"functionCall": {"name": "g"}}]), None),
        chunk(json!([{"text": ""}]), Some("STOP")),
    ];
    for chunk in &mut chunks {
        chunk["candidates"][0]["safetyRatings"] = ratings.clone();
    }
    chunks[2]["candidates"][0]["citationMetadata"] = json!({"citationSources": [{"uri": "a"}]});
    chunks[3]["candidates"][0]["citationMetadata"] = json!({"citationSources": [{"uri": "a"}, {"uri": "b"}]});
    chunks[4]["usageMetadata"]["promptTokenCount"] = json!(9);
    chunks[4]["usageMetadata"]["thoughtsTokenCount"] = json!(3);
    let mut whole = chunk(
        json!([{"text": "hm", "thought": true}, {"text": "AB"}, {"text": "C", "thoughtSignature": "S1"}, call,
            {"functionCall": {"name": "g"}}]),
        Some("STOP"),
    );
    whole["candidates"][0]["safetyRatings"] = ratings;
    whole["candidates"][0]["citationMetadata"] = chunks[3]["candidates"][0]["citationMetadata"].clone();
    whole["usageMetadata"] = chunks[4]["usageMetadata"].clone();
    let unary = decode_chat(whole.to_string().as_bytes()).unwrap();
    let read = played(Canned::events(chunks.iter().map(event)));
    assert_eq!(read.response.as_ref(), Some(&unary.output));
    assert_eq!(read.receipt.usage(), Some(Usage { reasoning: 3, ..Usage::new(9, 5) }));
    assert_eq!(read.receipt.usage(), unary.usage);
    assert_eq!(read.receipt.accounting().service_tier.as_deref(), Some("standard"));
    assert_eq!(read.response.unwrap().finish(), &FinishReason::ToolCalls);
    let shown: String = read
        .events
        .iter()
        .filter_map(|event| match event {
            ChatEvent::Text { text, .. } => Some(&**text),
            _ => None,
        })
        .collect();
    assert_eq!(shown, "ABC", "signed text is text too");
}

#[test]
fn gemini_stream_candidates_interleave() {
    let piece = |index: u32, text: &str, finish: Option<&str>| {
        let mut piece = chunk(json!([{"text": text}]), finish);
        piece["candidates"][0]["index"] = json!(index);
        event(&piece)
    };
    let pieces =
        [piece(1, "x", None), piece(0, "a", None), piece(1, "y", Some("MAX_TOKENS")), piece(0, "b", Some("STOP"))];
    let response = played(Canned::events(pieces)).response.unwrap();
    let seen: Vec<_> = response.choices.iter().map(|choice| (choice.index, choice.text(), &choice.finish)).collect();
    assert_eq!(seen, [(0, "ab".into(), &FinishReason::Stop), (1, "xy".into(), &FinishReason::Length)]);
}

#[test]
fn gemini_stream_ends_with_last_candidate() {
    let two = json!({"candidates": [{"index": 0, "finishReason": "STOP"}, {"index": 1}]});
    for (events, error) in [
        (vec![text("a", None), text("b", Some("STOP"))], None),
        (vec![text("a", None)], Some("before its end")),
        (vec![event(&two)], Some("before its end")),
        (vec![event(&json!({"responseId": "R"}))], Some("before its end")),
        (vec![event(&json!({}))], Some("before it began")),
    ] {
        let come = block_on(play_to(&client(Canned::events(events))));
        let (failed, so_far) = match come {
            Ok(read) => (read.error, read.receipt.accounting().usage_so_far),
            Err(error) => (Some(error), None),
        };
        assert_eq!(failed.as_ref().map(|error| error.kind()), error.map(|_| ErrorKind::Incomplete));
        if let (Some(failed), Some(why)) = (failed, error) {
            assert!(failed.message().contains(why) && failed.charge() == Charge::Unknown, "{failed}");
            assert!(so_far.is_none_or(|usage| usage == Usage::new(8, 2)));
        }
    }
}

#[test]
fn gemini_stream_broken_keeps_known_usage() {
    let read = played(Canned::events([text("a", None)]).broken());
    let error = read.error.unwrap();
    assert_eq!((error.kind(), error.charge()), (ErrorKind::Incomplete, Charge::Unknown));
    assert_eq!((read.receipt.usage(), read.receipt.accounting().usage_so_far), (None, Some(Usage::new(8, 2))));
}

#[test]
fn gemini_stream_reads_json_list() {
    let list = json!([chunk(json!([{"text": "Hel"}]), None), chunk(json!([{"text": "lo"}]), Some("STOP"))]).to_string();
    let list = list.replace("},{", "},\r\n{");
    let read = played(Canned::response("application/json; charset=UTF-8", [list]));
    let response = read.response.unwrap();
    assert_eq!((response.text(), response.finish()), ("Hello".into(), &FinishReason::Stop));
    assert_eq!(read.receipt.usage(), Some(Usage::new(8, 2)));
}

#[test]
fn gemini_stream_reads_errors_and_blocked_prompts() {
    let busy = event(&json!({"error": {"code": 503, "message": "later", "status": "UNAVAILABLE"}}));
    let error = block_on(play_to(&client(Canned::events([busy.clone()])))).unwrap_err();
    assert_eq!((error.kind(), error.charge()), (ErrorKind::Overloaded, Charge::None));
    let error = played(Canned::events([text("a", None), busy])).error.unwrap();
    assert_eq!((error.kind(), error.charge()), (ErrorKind::Overloaded, Charge::Unknown));
    let blocked =
        event(&json!({"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 4}}));
    let error = block_on(play_to(&client(Canned::events([blocked])))).unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::ContentFiltered, Some("SAFETY")));
    assert_eq!(error.charge(), Charge::Known(Usage::new(4, 0)));
}

#[test]
fn gemini_stream_late_call_sets_finish_reason() {
    let late = event(&chunk(json!([{"functionCall": {"name": "f"}}]), None));
    let response = played(Canned::events([text("a", Some("STOP")), late])).response.unwrap();
    assert_eq!((response.finish(), response.tool_calls().count()), (&FinishReason::ToolCalls, 1));
    let twice = played(Canned::events([text("a", Some("STOP")), text("b", Some("STOP"))]));
    let ends = twice.events.iter().filter(|event| matches!(event, ChatEvent::Finish { .. })).count();
    assert_eq!((twice.response.unwrap().text(), ends), ("ab".into(), 1));
}

#[test]
fn gemini_stream_reads_any_line_ends() {
    let good = [text("aé", None), text("b", Some("STOP"))].concat();
    let expected = played(Canned::events([good.clone()]));
    let unix = good.replace("\r\n", "\n");
    let mac = good.replace("\r\n", "\r");
    let pretty = serde_json::to_string_pretty(&chunk(json!([{"text": "b"}]), Some("STOP"))).unwrap();
    let pretty: String = pretty.lines().map(|line| format!("data: {line}\n")).collect();
    for body in [
        unix.clone(),
        mac,
        format!("\u{feff}{good}"),
        format!(": comment\r\n\r\nid: 7\r\nretry: 1\r\n{good}"),
        format!("event: message\n{unix}"),
        format!("{}{pretty}\n", text("aé", None)),
        good.trim_end().to_owned(),
        format!("{good}data: [DONE]\n\ndata: nonsense\n\n"),
    ] {
        let read = played(Canned::events([body.clone()]));
        assert_eq!((read.response, read.error.is_none()), (expected.response.clone(), true), "{body:?}");
        let bytes = Bytes::from(body.clone());
        let read = played(Canned::events((0..bytes.len()).map(|at| bytes.slice(at..=at))));
        assert_eq!(read.response, expected.response, "{body:?} byte by byte");
    }
}

#[test]
fn gemini_stream_invalid_chunk_ends_it() {
    for (data, kind) in [
        (&b"data: nonsense\r\n\r\n"[..], ErrorKind::Malformed),
        (b"data: 7\r\n\r\n", ErrorKind::Malformed),
        (b"data: {\"candidates\": [7]}\r\n\r\n", ErrorKind::Malformed),
        (b"data: [7]\r\n\r\n", ErrorKind::Malformed),
        (b"data: {\"candidates\": [{\"content\": {\"par", ErrorKind::Incomplete),
        (b"data: \"\xff\"\r\n\r\n", ErrorKind::Malformed),
    ] {
        let read = played(Canned::events([Bytes::from(text("a", None)), Bytes::copy_from_slice(data)]));
        let error = read.error.unwrap();
        assert_eq!((error.kind(), error.charge()), (kind, Charge::Unknown), "{error}");
    }
}

#[test]
fn max_event_bytes_ends_gemini_stream() {
    let endless = std::iter::repeat_n("x".repeat(1_000), 100);
    let pieces = [text("a", None), "data: ".to_owned()].into_iter().chain(endless);
    let client = client(Canned::events(pieces)).max_event_bytes(4_000);
    let error = block_on(play_to(&client)).unwrap().error.unwrap();
    assert!(error.kind() == ErrorKind::Malformed && error.message().contains("max_event_bytes"), "{error}");
}

#[test]
fn gemini_stream_ignores_chunks_after_done() {
    let mut chunks = ChunkDecoder::default();
    assert!(!chunks.is_done());
    chunks.decode(&chunk(json!([{"text": "a"}]), Some("STOP")).to_string()).unwrap();
    assert!(!chunks.is_done(), "more may come: another candidate, a last usage");
    assert!(chunks.decode("[DONE]").unwrap().is_empty() && chunks.is_done());
    assert!(chunks.decode("nonsense").unwrap().is_empty());
    let last = chunks.finish().unwrap().pop();
    assert_eq!(last, Some(ChatEvent::Usage(Usage::new(8, 2))));
}

#[test]
fn gemini_stream_usage_keeps_earlier_fields() {
    let with = |usage: Value, finish: Option<&str>| {
        let mut chunk = chunk(json!([{"text": "a"}]), finish);
        chunk["usageMetadata"] = usage;
        event(&chunk)
    };
    let audio = |tokens: u64| json!([{"modality": "AUDIO", "tokenCount": tokens}]);
    let first = json!({"promptTokenCount": 100, "cachedContentTokenCount": 60, "toolUsePromptTokenCount": 7,
        "promptTokensDetails": audio(50), "cacheTokensDetails": audio(40), "serviceTier": "flex", "odd": {"a": 1}});
    let chunks = [
        with(first, None),
        with(json!({"candidatesTokenCount": 3, "thoughtsTokenCount": 9, "serviceTier": null}), None),
        with(json!({"promptTokenCount": 101, "candidatesTokenCount": 5, "odd": null}), Some("STOP")),
    ];
    let usage = Usage { cache_read: 60, tool_prompt: 7, reasoning: 9, ..Usage::new(108, 14) };
    let usage = Usage { audio_input: 50, audio_cache_read: 40, ..usage };
    let read = played(Canned::events([chunks.concat()]));
    assert_eq!(read.receipt.usage(), Some(usage));
    assert_eq!(read.receipt.accounting().service_tier.as_deref(), Some("flex"));
    let response = read.response.unwrap();
    let stated = response.extra.get("usageMetadata").unwrap();
    assert_eq!((&stated["odd"], &stated["cacheTokensDetails"]), (&json!({"a": 1}), &audio(40)));
}

#[test]
fn gemini_stream_missing_candidate_is_incomplete() {
    let candidate = |index: u32| {
        let mut chunk = chunk(json!([{"text": "a"}]), Some("STOP"));
        chunk["candidates"][0]["index"] = json!(index);
        chunk.to_string()
    };
    let mut two = ChunkDecoder::candidates(2);
    two.decode(&candidate(0)).unwrap();
    assert_eq!(two.finish().unwrap_err().kind(), ErrorKind::Incomplete);
    let mut two = ChunkDecoder::candidates(2);
    two.decode(&candidate(0)).unwrap();
    two.decode(&candidate(1)).unwrap();
    assert!(two.finish().is_ok());
}

#[test]
fn gemini_stream_counts_each_search_once() {
    let with = |queries: &[&str], finish: Option<&str>| {
        let mut chunk = chunk(json!([{"text": "a"}]), finish);
        chunk["candidates"][0]["groundingMetadata"] = json!({"webSearchQueries": queries});
        chunk.to_string()
    };
    let mut chunks = ChunkDecoder::default();
    chunks.decode(&with(&["a"], None)).unwrap();
    chunks.decode(&with(&["a", "b"], None)).unwrap();
    chunks.decode(&with(&["c"], Some("STOP"))).unwrap();
    assert_eq!(chunks.usage().map(|usage| usage.searches), Some(3));
}

#[test]
fn gemini_stream_failure_keeps_service_tier() {
    let blocked = json!({"promptFeedback": {"blockReason": "SAFETY"}, "modelVersion": "gemini-x",
        "usageMetadata": {"promptTokenCount": 8, "serviceTier": "priority"}});
    let whole = decode_chat(blocked.to_string().as_bytes()).unwrap_err();
    let streamed = block_on(play_to(&client(Canned::events([event(&blocked)])))).err().unwrap();
    for error in [whole, streamed] {
        assert_eq!(error.charge(), Charge::Known(Usage::new(8, 0)));
        assert_eq!(error.accounting().unwrap().service_tier.as_deref(), Some("priority"));
    }
}
