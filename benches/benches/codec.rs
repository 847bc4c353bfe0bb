//! Measures the vendor protocols' codecs, compared with `serde_json` on the same bytes.

use std::hint::black_box;

use benches::codec::{ANTHROPIC, AnthropicDelta, Bytes, GEMINI, GeminiChunk, OPENAI, OpenAiDelta, request};
use criterion::{BatchSize, Criterion, criterion_group};
use llm_providers::{
    anthropic::AnthropicProtocol,
    gemini::GeminiProtocol,
    openai::OpenAiProtocol,
    protocol::{StreamDecoder, VendorProtocol},
};
use serde::Deserialize;
use serde_json::Value;

criterion_group!(name = benches; config = crate::short(); targets = codec);

/// Number of events decoded in one measured step, so that the time of reading the clock does not count.
const EVENTS: usize = 64;

fn codec(c: &mut Criterion) {
    vendor(c, &OpenAiProtocol::default(), &OPENAI, typed::<OpenAiDelta<'_>>);
    vendor(c, &AnthropicProtocol::default(), &ANTHROPIC, typed::<AnthropicDelta<'_>>);
    vendor(c, &GeminiProtocol::default(), &GEMINI, typed::<GeminiChunk<'_>>);
}

fn vendor<W: VendorProtocol>(c: &mut Criterion, protocol: &W, bytes: &Bytes, typed: fn(&'static [u8])) {
    let name = W::NAME;
    let request = request();
    let body = protocol.chat(&request, false).expect("every vendor serves this").body;
    let value: Value = serde_json::from_slice(&body).expect("requests are JSON");
    let mut group = c.benchmark_group(format!("{name}, encode a request of {} bytes", body.len()));
    group.bench_function("codec", |b| b.iter(|| protocol.chat(black_box(&request), false)));
    group.bench_function("floor: serde_json, of a Value", |b| b.iter(|| serde_json::to_vec(black_box(&value))));
    group.finish();

    let response = bytes.response();
    let mut group = c.benchmark_group(format!("{name}, decode a response of {} bytes", response.len()));
    group.bench_function("codec", |b| b.iter(|| protocol.read_chat(black_box(&response)).expect("it is a response")));
    group.bench_function("floor: serde_json, to a Value", |b| {
        b.iter(|| serde_json::from_slice::<Value>(black_box(&response)));
    });
    group.finish();

    let mut group = c.benchmark_group(format!("{name}, decode {EVENTS} events of {} bytes", bytes.event.len()));
    let begun = || {
        let mut chunks = protocol.stream_decoder(&request);
        for event in bytes.before {
            chunks.event(None, event).expect("it begins");
        }
        chunks
    };
    group.bench_function("codec", |b| {
        let read = |mut chunks: W::StreamDecoder| {
            for _ in 0..EVENTS {
                black_box(chunks.event(None, black_box(bytes.event)).expect("it is an event"));
            }
            chunks
        };
        b.iter_batched(begun, read, BatchSize::SmallInput);
    });
    let each = |read: fn(&'static [u8])| (0..EVENTS).for_each(|_| read(black_box(bytes.event.as_bytes())));
    group.bench_function("floor: serde_json, to a Value", |b| b.iter(|| each(self::typed::<Value>)));
    group.bench_function("floor: serde_json, to the text alone", |b| b.iter(|| each(typed)));
    group.finish();
}

fn typed<T: Deserialize<'static>>(event: &'static [u8]) {
    drop(black_box(serde_json::from_slice::<T>(event).expect("it is an event")));
}
