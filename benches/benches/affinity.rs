//! Measures the time to compute a request's affinity, compared with hashing the beginning of the same request.

use std::{hash::BuildHasher, hint::black_box};

use benches::hit::of_2_kb;
use criterion::{Criterion, criterion_group};
use foldhash::quality::FixedState;
use llm_core::{ChatRequest, Operation, Tool};
use serde_json::json;

criterion_group!(name = benches; config = crate::short(); targets = affinity);

/// Largest number of bytes of a request that the affinity hashes.
const HASHED: usize = 4_096;

fn affinity(c: &mut Criterion) {
    let text = of_2_kb("Write test cases for a login form. ");
    for repeated in [1, 8] {
        let text = text.repeat(repeated);
        let request = ChatRequest::new("gpt-4o-mini").system(&*text).user("one");
        let hashed = &text.as_bytes()[..text.len().min(HASHED)];
        let mut group = c.benchmark_group(format!("affinity of a request with instructions of {} bytes", text.len()));
        group.bench_function("affinity", |b| b.iter(|| black_box(&request).affinity()));
        group.bench_function(format!("floor: foldhash, of {} bytes", hashed.len()), |b| {
            b.iter(|| FixedState::default().hash_one(black_box(hashed)));
        });
        group.finish();
    }
    let field = json!({"type": "string", "description": "A field of the form, by its label."});
    let schema = json!({"type": "object", "properties": {"user": field, "password": field, "button": field}});
    let tools = (0..8).map(|n| Tool::function(format!("step_{n}"), "Does a step of the test.", schema.clone()));
    let request = tools.fold(ChatRequest::new("gpt-4o-mini").system(&*text), ChatRequest::tool).user("one");
    let mut group = c.benchmark_group("affinity of a request with eight tools");
    group.bench_function("affinity", |b| b.iter(|| black_box(&request).affinity()));
    group.finish();
}
