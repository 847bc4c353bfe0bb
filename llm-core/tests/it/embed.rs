//! Tests of embeddings: requests can be divided, and each vector comes back at the position of its input.

use std::sync::Arc;

use llm_core::{EmbedInput, EmbedRequest, Embeddings, ErrorKind, Operation};
use proptest::{collection::vec, prelude::*};

fn input() -> impl Strategy<Value = EmbedInput> {
    prop_oneof![
        "[a-c]{0,3}".prop_map(|text| EmbedInput::Text(text.into())),
        vec(0u32..4, 1..3).prop_map(|tokens| EmbedInput::Tokens(tokens.into())),
    ]
}

fn request() -> impl Strategy<Value = EmbedRequest> {
    (vec(input(), 1..6), proptest::option::of(1u32..3), any::<bool>()).prop_map(|(inputs, dimensions, extra)| {
        let mut request = EmbedRequest { inputs: Arc::new(inputs), dimensions, ..EmbedRequest::new("m", None::<&str>) };
        if extra {
            request.extra.insert("input_type", "query");
        }
        request
    })
}

/// Returns a response in which the n-th vector contains n.
fn response(vectors: usize) -> Embeddings {
    let mut response = Embeddings::new("m-1", (0..vectors).map(|n| Arc::from([n as f32])).collect());
    response.extra.insert("object", "list");
    response
}

proptest! {
    #[test]
    fn embed_merge_of_items_is_the_request(request in request()) {
        let parts = request.items().unwrap();
        prop_assert_eq!(parts.len(), request.inputs.len());
        prop_assert!(parts.iter().all(|part| part.inputs.len() == 1));
        prop_assert_eq!(EmbedRequest::merge(&parts).unwrap(), request);
    }

    #[test]
    fn embed_split_and_join_is_identity(request in request()) {
        let whole = response(request.inputs.len());
        let parts = request.split(whole.clone()).unwrap();
        for (n, part) in parts.iter().enumerate() {
            prop_assert_eq!(&part.vectors, &vec![Arc::from([n as f32])]);
        }
        prop_assert_eq!(request.join(parts).unwrap(), whole);
    }

    #[test]
    fn embed_equal_items_have_equal_keys(a in request(), b in request()) {
        let key = |part: &EmbedRequest| {
            let mut h = llm_core::layer::Fingerprinter::new();
            part.fingerprint(&mut h);
            h.into_bytes()
        };
        let (a, b) = (&a.items().unwrap()[0], &b.items().unwrap()[0]);
        prop_assert_eq!(key(a) == key(b), a == b);
    }

    #[test]
    fn embed_wrong_number_of_vectors_is_malformed(request in request(), came in 0usize..8) {
        prop_assume!(came != request.inputs.len());
        let scattered = request.split(response(came)).unwrap_err();
        let united = request.join((0..came).map(|_| response(1)).collect()).unwrap_err();
        prop_assert_eq!((scattered.kind(), united.kind()), (ErrorKind::Malformed, ErrorKind::Malformed));
    }

    #[test]
    fn embed_bytes_bound_tokens(request in request()) {
        let estimate = request.estimate();
        prop_assert!(estimate.input <= estimate.input_bound.unwrap());
        prop_assert_eq!(estimate.output_bound, Some(0));
    }
}

#[test]
fn embed_item_without_vector_is_malformed() {
    let request = EmbedRequest::new("m", ["a", "b"]);
    let error = request.join(vec![response(2), response(0)]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Malformed);
}

#[test]
fn embed_merge_refuses_different_requests() {
    let base = EmbedRequest::new("m", ["a"]);
    let mut with_extra = base.clone();
    with_extra.extra.insert("input_type", "query");
    let others = [EmbedRequest::new("n", ["a"]), EmbedRequest { dimensions: Some(2), ..base.clone() }, with_extra];
    for other in others {
        assert!(EmbedRequest::merge(&[base.clone(), other.clone()]).is_none(), "{other:?}");
    }
    assert!(EmbedRequest::merge(&[]).is_none());
}

#[test]
fn embed_vectors_of_same_direction_are_equivalent() {
    let of = |vectors: &[&[f32]]| Embeddings::new("m", vectors.iter().map(|vector| Arc::from(*vector)).collect());
    let agree = |a, b| EmbedRequest::equivalent(&a, &b);
    assert!(agree(of(&[&[0.6, 0.8]]), of(&[&[0.600_01, 0.799_99]])));
    assert!(agree(of(&[&[0.0, 0.0]]), of(&[&[0.0, 0.0]])));
    assert!(!agree(of(&[&[0.6, 0.8]]), of(&[&[0.8, 0.6]])));
    assert!(!agree(of(&[&[0.6, 0.8]]), of(&[&[-0.6, -0.8]])));
    assert!(!agree(of(&[&[0.6]]), of(&[&[0.6, 0.8]])) && !agree(of(&[&[1.0]]), of(&[])));
}
