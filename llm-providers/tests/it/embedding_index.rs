//! Tests of the indexes of embeddings in the forms that servers use.

use serde_json::{Value, json};

use crate::codec::openai::decode_embeddings;

fn vectors(indexes: &[Value]) -> Vec<f32> {
    let data: Vec<_> =
        indexes.iter().enumerate().map(|(at, index)| json!({"index": index, "embedding": [at]})).collect();
    let body = json!({"data": data, "model": "m"}).to_string();
    let response = decode_embeddings(body.as_bytes(), indexes.len()).unwrap().output;
    response.vectors.iter().map(|vector| vector[0]).collect()
}

#[test]
fn embedding_index_missing_falls_back_to_position() {
    for indexes in [
        [json!(0), json!(1)],
        [json!(null), json!(null)],
        [json!("0"), json!("1")],
        [json!(0.0), json!(1.0)],
        [json!("first"), json!({})],
        [json!(0.5), json!(-1)],
    ] {
        assert_eq!(vectors(&indexes), [0.0, 1.0], "{indexes:?}");
    }
    for indexes in [[json!(1), json!(0)], [json!("1"), json!("0")], [json!(1.0), json!(0.0)]] {
        assert_eq!(vectors(&indexes), [1.0, 0.0], "{indexes:?}");
    }
}
