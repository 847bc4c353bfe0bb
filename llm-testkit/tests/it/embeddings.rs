//! Tests of embeddings.

use crate::client::{ask, post, with};
use base64::Engine;
use llm_testkit::{CallKind, Vendor, openai};
use serde_json::{Value, json};

#[tokio::test]
async fn embeddings_return_vectors_in_order() {
    let vendor = Vendor::new();
    let response = ask(&vendor, post("embeddings", &json!({"model": "e", "input": ["a", "b", "a"]}))).await.json();
    let vectors: Vec<_> = (0..3).map(|at| floats(&response["data"][at]["embedding"])).collect();
    assert_eq!(vectors[0], openai::embedding("e", &json!("a"), 8));
    assert_eq!(vectors[0], vectors[2]);
    assert_ne!(vectors[0], vectors[1]);
    assert_eq!(response["data"][1]["index"], 1);
    assert_eq!(response["usage"], json!({"prompt_tokens": 3, "total_tokens": 3}));
}

#[tokio::test]
async fn embeddings_base64_equals_floats() {
    let vendor = Vendor::new();
    let body = json!({"model": "e", "input": "a", "dimensions": 5});
    let plain = ask(&vendor, post("embeddings", &body)).await.json();
    let packed = ask(&vendor, post("embeddings", &with(body, json!({"encoding_format": "base64"})))).await.json();
    let text = packed["data"][0]["embedding"].as_str().expect("base64");
    let bytes = base64::engine::general_purpose::STANDARD.decode(text).expect("base64");
    let unpacked: Vec<_> =
        bytes.chunks_exact(4).map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]])).collect();
    assert_eq!(unpacked, floats(&plain["data"][0]["embedding"]));
    assert_eq!(unpacked.len(), 5);
}

#[tokio::test]
async fn embedding_has_length_one() {
    let norm: f32 = openai::embedding("e", &json!("a"), 100).iter().map(|x| x * x).sum();
    assert!((norm - 1.0).abs() < 1e-4, "{norm}");
}

#[tokio::test]
async fn embeddings_accept_token_arrays() {
    let vendor = Vendor::new();
    let one = ask(&vendor, post("embeddings", &json!({"model": "e", "input": [1, 2, 3]}))).await.json();
    let two = ask(&vendor, post("embeddings", &json!({"model": "e", "input": [[1, 2, 3], [4]]}))).await.json();
    assert_eq!(one["data"].as_array().map(Vec::len), Some(1));
    assert_eq!(one["usage"]["prompt_tokens"], 3);
    assert_eq!(one["data"][0]["embedding"], two["data"][0]["embedding"]);
    assert_eq!(two["usage"]["prompt_tokens"], 4);
}

#[tokio::test]
async fn embeddings_are_billed_by_input() {
    let vendor = Vendor::builder().price("e", 20_000_000, 0, 1).build();
    let response = ask(&vendor, post("embeddings", &json!({"model": "e", "input": "abcdefgh"}))).await;
    let bill = vendor.bill(response.request_id()).expect("a bill");
    assert_eq!((bill.kind, bill.input_tokens, bill.output_tokens, bill.nano_usd), (CallKind::Embeddings, 2, 0, 40));
}

#[tokio::test]
async fn embeddings_refuse_invalid_inputs() {
    let vendor = Vendor::new();
    for input in
        [json!(null), json!(""), json!([]), json!(["a", ""]), json!([[]]), json!({"a": 1}), json!(vec!["a"; 2_049])]
    {
        let response = ask(&vendor, post("embeddings", &json!({"model": "e", "input": input}))).await;
        assert_eq!(response.status, 400, "{input}");
        assert_eq!(response.json()["error"]["param"], "input");
    }
    for fields in [json!({"dimensions": 0}), json!({"encoding_format": "hex"})] {
        let response = ask(&vendor, post("embeddings", &with(json!({"model": "e", "input": "a"}), fields))).await;
        assert_eq!(response.status, 400);
    }
    assert!(vendor.bills().is_empty());
}

fn floats(value: &Value) -> Vec<f32> {
    value.as_array().expect("an array").iter().map(|x| x.as_f64().expect("a number") as f32).collect()
}
