//! Tests of complete streams: however a server divides its chunks, a cacheable response has all content and its full
//! usage.

use llm_providers::llm_core::{ChatRequest, FinishReason, Operation, Usage};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::streaming::{Canned, block_on, is_full, play};

/// Way in which a server numbers the tool calls of a response.
#[derive(Clone, Copy, Debug)]
enum Style {
    /// Ids, and indexes from zero.
    Plain,
    /// Index zero for all calls, and no ids.
    OneIndex,
    /// Index zero for the heads of all calls, and the call's own index for its fragments.
    HeadsAtZero,
    /// Index zero for all calls, and an id in every fragment.
    Ids,
    /// The name of the call in every fragment.
    Names,
    /// A field that a stream's pieces cannot contain.
    Signed,
}

/// Content of one chunk.
#[derive(Clone, Debug)]
enum Content {
    Nothing,
    Text(String),
    Reasoning(String),
    /// Fragment of the call with this number, and whether it is the last fragment.
    Call {
        number: usize,
        fragment: Value,
        name: String,
        text: String,
        last: bool,
    },
}

#[derive(Clone, Debug)]
struct Chunk {
    content: Content,
    reason: Value,
    usage: Option<Stated>,
}

/// Usage as a chunk states it.
#[derive(Clone, Debug)]
struct Stated {
    place: Place,
    prompt: Value,
    completion: Value,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    Chunk,
    Choice,
    Groq,
}

/// End of a stream.
#[derive(Clone, Copy, Debug)]
enum Ending {
    Done,
    Closed,
    Broken,
}

/// Generates counts: usable ones, zero, and values that no response can have.
fn count() -> impl Strategy<Value = Value> {
    let odd = [json!(0), json!(-1), json!(u64::MAX), json!(1.5), Value::Null];
    prop_oneof![4 => (1u64..1_000).prop_map(Value::from), 1 => prop::sample::select(odd.to_vec())]
}

fn stated() -> impl Strategy<Value = Stated> {
    let place = prop::sample::select(vec![Place::Chunk, Place::Choice, Place::Groq]);
    (place, count(), count()).prop_map(|(place, prompt, completion)| Stated { place, prompt, completion })
}

fn words() -> impl Strategy<Value = Value> {
    let words = ["", "stop", "stop", "stop", "length", "tool_calls", "content_filter", "abort", "eos", "enough"];
    prop_oneof![2 => Just(Value::Null), 3 => prop::sample::select(words.map(Value::from).to_vec())]
}

/// Generates fragments of a response's tool calls.
fn calls() -> impl Strategy<Value = Vec<Content>> {
    let styles = [Style::Plain, Style::OneIndex, Style::HeadsAtZero, Style::Ids, Style::Names, Style::Signed];
    let call = ("[fg]", 0u32..100, prop::collection::vec(1usize..6, 0..4), any::<bool>());
    (prop::sample::select(styles.to_vec()), prop::collection::vec(call, 0..4)).prop_map(|(style, calls)| {
        let mut contents = Vec::new();
        for (number, (name, value, cuts, bare_head)) in calls.iter().enumerate() {
            let arguments = format!("{{\"a\":{{\"{name}\":{value}}}}}");
            let mut rest = arguments.as_str();
            let mut texts: Vec<String> = bare_head.then(String::new).into_iter().collect();
            for cut in cuts {
                let (text, after) = rest.split_at((*cut).min(rest.len() - 1));
                texts.push(text.to_owned());
                rest = after;
            }
            texts.push(rest.to_owned());
            let last = texts.len() - 1;
            for (nth, text) in texts.into_iter().enumerate() {
                let fragment = fragment(style, number, nth == 0, name, &text);
                contents.push(Content::Call { number, fragment, name: name.clone(), text, last: nth == last });
            }
        }
        contents
    })
}

fn fragment(style: Style, number: usize, is_head: bool, name: &str, text: &str) -> Value {
    let index = match style {
        Style::OneIndex | Style::Ids => 0,
        Style::HeadsAtZero if is_head => 0,
        _ => number,
    };
    let mut fragment = json!({"index": index, "function": {"arguments": text}});
    if is_head || matches!(style, Style::Names) {
        fragment["function"]["name"] = json!(name);
    }
    if matches!(style, Style::Ids) || is_head && matches!(style, Style::Plain) {
        fragment["id"] = json!(format!("call_{number}"));
    }
    if is_head && matches!(style, Style::Signed) {
        fragment["extra_content"] = json!({"seal": "s"});
    }
    fragment
}

fn chunks() -> impl Strategy<Value = Vec<Chunk>> {
    let said = prop_oneof![
        1 => Just(Content::Nothing),
        3 => "[a-z]{1,3}".prop_map(Content::Text),
        1 => "[a-z]{1,3}".prop_map(Content::Reasoning),
    ];
    let contents = (prop::collection::vec(said, 0..5), calls()).prop_map(|(said, calls)| [said, calls].concat());
    contents.prop_flat_map(|mut contents| {
        contents.push(Content::Nothing);
        let around = prop::collection::vec((words(), prop::option::of(stated())), contents.len());
        around.prop_map(move |around| {
            let chunks = contents.iter().cloned().zip(around);
            chunks.map(|(content, (reason, usage))| Chunk { content, reason, usage }).collect()
        })
    })
}

fn event(chunk: &Chunk) -> String {
    let delta = match &chunk.content {
        Content::Nothing => json!({}),
        Content::Text(text) => json!({"content": text}),
        Content::Reasoning(text) => json!({"reasoning_content": text}),
        Content::Call { fragment, .. } => json!({"tool_calls": [fragment]}),
    };
    let mut data =
        json!({"id": "1", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": chunk.reason}]});
    if let Some(Stated { place, prompt, completion }) = &chunk.usage {
        let usage = json!({"prompt_tokens": prompt, "completion_tokens": completion});
        match place {
            Place::Chunk => data["usage"] = usage,
            Place::Choice => data["choices"][0]["usage"] = usage,
            Place::Groq => data["x_groq"] = json!({"usage": usage}),
        }
    }
    format!("data: {data}\n\n")
}

/// Returns the content of all chunks: the text, and the calls with their arguments and whether each is complete.
fn said(chunks: &[Chunk]) -> (String, Vec<(String, String, bool)>) {
    let (mut text, mut calls) = (String::new(), Vec::<(String, String, bool)>::new());
    for chunk in chunks {
        match &chunk.content {
            Content::Nothing | Content::Reasoning(_) => {}
            Content::Text(more) => text.push_str(more),
            Content::Call { number, name, text, last, .. } => {
                if *number == calls.len() {
                    calls.push((name.clone(), String::new(), false));
                }
                let (_, arguments, whole) = calls.last_mut().unwrap();
                arguments.push_str(text);
                *whole = *last;
            }
        }
    }
    (text, calls)
}

/// Returns the finish reason that applies.
fn reason(chunks: &[Chunk]) -> Option<&str> {
    let stated = chunks.iter().filter_map(|chunk| chunk.reason.as_str()).filter(|word| !word.is_empty());
    stated.fold(None, |before, word| match (before, word) {
        (Some("tool_calls"), "stop" | "eos") => before,
        _ => Some(word),
    })
}

/// Returns the largest value of each count, from the usages whose counts are all usable.
fn largest(chunks: &[Chunk]) -> Option<Usage> {
    let usable = |stated: &Stated| {
        let (input, output) = (stated.prompt.as_u64()?, stated.completion.as_u64()?);
        (1..1_000).contains(&input).then_some((input, output)).filter(|(_, output)| *output < 1_000)
    };
    let all = chunks.iter().filter_map(|chunk| usable(chunk.usage.as_ref()?));
    all.fold(None, |largest: Option<Usage>, (input, output)| {
        let known = largest.unwrap_or(Usage::new(0, 0));
        Some(Usage::new(known.input.max(input), known.output.max(output)))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if is_full() { 4096 } else { 128 }))]

    #[test]
    fn complete_keeps_everything_sent(
        chunks in chunks(),
        cut in any::<prop::sample::Index>(),
        ending in prop::sample::select(vec![Ending::Done, Ending::Done, Ending::Closed, Ending::Broken]),
        whole in any::<bool>(),
    ) {
        let sent = if whole { &chunks[..] } else { &chunks[..=cut.index(chunks.len())] };
        let mut text: String = sent.iter().map(event).collect();
        if let Ending::Done = ending {
            text.push_str("data: [DONE]\n\n");
        }
        let canned = Canned::events([text]);
        let canned = if let Ending::Broken = ending { canned.broken() } else { canned };
        let read = block_on(play(canned));
        let kept = read.as_ref().ok().and_then(|read| read.response.as_ref()).filter(|response| ChatRequest::is_cacheable(response));
        let (text, calls) = said(sent);
        let counts = reason(sent);
        let is_whole = calls.iter().all(|(_, _, whole)| *whole);
        if let Some(response) = kept {
            let got: Vec<_> = response.tool_calls().map(|call| (&*call.name, &*call.arguments)).collect();
            let expected: Vec<_> = calls.iter().map(|(name, arguments, _)| (&**name, &**arguments)).collect();
            prop_assert_eq!((response.text(), got), (text.as_str().into(), expected));
            prop_assert!(matches!(counts, Some("stop" | "eos" | "tool_calls")), "{counts:?}");
            prop_assert!(!matches!(ending, Ending::Broken));
        }
        let has_content = !(text.is_empty() && calls.is_empty());
        let is_good = match counts {
            Some("stop" | "eos") => has_content,
            Some("tool_calls") => !calls.is_empty(),
            _ => false,
        };
        if is_good && is_whole && matches!(ending, Ending::Done) {
            prop_assert!(kept.is_some(), "{read:?}");
        }
        if let Ok(read) = &read
            && let Some(response) = &read.response
        {
            prop_assert_eq!(response.finish().is_complete(), matches!(counts, Some("stop" | "eos" | "tool_calls")));
            prop_assert_eq!(*response.finish() == FinishReason::Unknown, counts.is_none());
        }
        if let (Ok(read), Some(largest)) = (&read, largest(sent)) {
            let accounting = read.receipt.accounting();
            let recorded = accounting.usage.or(accounting.usage_so_far).unwrap_or(Usage::new(0, 0));
            prop_assert!(recorded.input >= largest.input && recorded.output >= largest.output, "{recorded:?}");
        }
    }
}
