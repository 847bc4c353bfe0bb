//! Tests of the canonical bytes of a cache key: the fields that they contain, the fields that they leave out, and their
//! unambiguity.

mod fields;
mod numbers;
mod same;
mod serialize;

use llm_core::{Operation, layer::Fingerprinter};

fn of(operation: &impl Operation) -> Vec<u8> {
    written(|h| {
        operation.fingerprint(h);
        h
    })
}

fn written(write: impl for<'h> FnOnce(&'h mut Fingerprinter) -> &'h mut Fingerprinter) -> Vec<u8> {
    let mut h = Fingerprinter::new();
    write(&mut h);
    h.into_bytes()
}

/// Fails if two of the encodings are equal, and names them.
#[track_caller]
fn assert_all_differ(encoded: &[(&str, Vec<u8>)]) {
    for (at, (name, bytes)) in encoded.iter().enumerate() {
        let twin = encoded[..at].iter().find(|(_, other)| other == bytes);
        assert!(twin.is_none(), "{name} has the fingerprint of {}", twin.expect("just found").0);
    }
}

fn digest(operation: &impl Operation) -> [u8; 32] {
    let mut h = Fingerprinter::new();
    operation.fingerprint(&mut h);
    h.digest()
}
