//! Tests of the packed request: its frame, output limit, schema, order and ids.

use std::{collections::HashSet, sync::Arc};

use llm_core::{
    Call, ChatRequest, Message, Part, Role,
    chat::{JsonSchema, ResponseFormat},
    layer::oneshot,
};
use serde_json::{Value, json};
use tower::Layer;

use crate::pack::vendor::{Requests, layer, numbered, right, send};

fn schema_of(request: &ChatRequest) -> Value {
    match &request.response_format {
        Some(ResponseFormat::JsonSchema(format)) => Value::clone(&format.schema),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn pack_holds_prompts_of_one_frame() {
    let requests = Requests::default();
    let pack = layer(4, 1).layer(requests.kind());
    let texts = numbered(10);
    let replies = send(&pack, &texts).await;
    assert_eq!(right(&texts, &replies), 10);
    assert_eq!(requests.sizes(), [4, 4, 2]);
    for (prompts, request) in requests.all() {
        assert_eq!(request.messages[0], Message::system("Answer each question."));
        assert_eq!((request.messages.len(), prompts.iter().filter(|prompt| prompt.is_decoy()).count()), (2, 1));
        // The limit is the sum of the items' limits, and of the tokens of the form for each item and the decoy.
        let items = prompts.len() as u64 - 1;
        assert_eq!(request.sampling.max_output_tokens, Some(100 * items + 32 * (items + 1)));
    }
    assert!(replies.iter().flatten().all(|reply| reply.receipt.accounting().packed));
}

#[tokio::test(start_paused = true)]
async fn pack_schema_is_constant_and_ids_random() {
    let requests = Requests::default();
    let pack = layer(8, 1).layer(requests.kind());
    send(&pack, &numbered(64)).await;
    let all = requests.all();
    let schemas: HashSet<String> = all.iter().map(|(_, request)| schema_of(request).to_string()).collect();
    assert_eq!((all.len(), schemas.len()), (8, 1));
    let ids: HashSet<String> =
        all.iter().flat_map(|(prompts, _)| prompts.iter().map(|prompt| prompt.id.clone())).collect();
    assert_eq!(ids.len(), 72, "64 items and 8 decoys");
    let schema = schemas.into_iter().next().expect("there is one");
    assert!(ids.iter().all(|id| !schema.contains(&**id)));
}

#[tokio::test(start_paused = true)]
async fn pack_order_is_shuffled() {
    let requests = Requests::default();
    let pack = layer(8, 1).layer(requests.kind());
    send(&pack, &numbered(160)).await;
    let orders: Vec<Vec<String>> =
        requests.all().iter().map(|(prompts, _)| prompts.iter().map(|prompt| prompt.text.clone()).collect()).collect();
    let sorted = orders.iter().filter(|order| order.is_sorted()).count();
    let firsts = orders.iter().filter(|order| order[0].ends_with(['0', '8'])).count();
    let decoys: HashSet<_> =
        orders.iter().map(|order| order.iter().position(|text| text.starts_with("Answer"))).collect();
    assert!(sorted == 0 && firsts < 12 && decoys.len() > 3, "{sorted} {firsts} {decoys:?}");
}

#[tokio::test(start_paused = true)]
async fn json_in_text_states_schema_without_format() {
    let requests = Requests::default();
    let pack = layer(4, 1).json_in_text().layer(requests.kind());
    let texts = numbered(4);
    assert_eq!(right(&texts, &send(&pack, &texts).await), 4);
    let (_, request) = &requests.all()[0];
    assert_eq!(request.response_format, None);
    let Part::Text { text, .. } = &request.messages[1].parts[0] else { panic!("it is text") };
    assert!(text.contains("\"additionalProperties\":false"), "{text}");
}

/// Returns requests whose responses have a schema.
fn structured(schema: &Value, count: usize) -> Vec<Call<ChatRequest>> {
    let format =
        JsonSchema { name: "list".into(), description: None, schema: Arc::new(schema.clone()), strict: Some(true) };
    let request = |n: usize| {
        let request = ChatRequest::new("m").user(format!("story {n}")).max_output_tokens(100);
        Call::new("acme", request.response_format(ResponseFormat::JsonSchema(format.clone())))
    };
    (0..count).map(request).collect()
}

#[tokio::test(start_paused = true)]
async fn items_schema_is_nested_with_references() {
    let requests = Requests::default();
    let vendor = requests.vendor(|prompts| {
        let entry = |prompt: &crate::pack::vendor::Prompt| match prompt.is_decoy() {
            true => json!({"id": prompt.id, "answer": prompt.answer()}),
            false => json!({"id": prompt.id, "answer": {"cases": [{"$ref": prompt.text}], "next": null}}),
        };
        Ok(json!({"answers": prompts.iter().map(entry).collect::<Vec<_>>()}).to_string())
    });
    let pack = layer(3, 1).layer(vendor);
    let schema = json!({
        "type": "object",
        "properties": {
            "cases": {"type": "array", "items": {"$ref": "#/$defs/case"}},
            "next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]},
        },
        "required": ["cases", "next"],
        "additionalProperties": false,
        "$defs": {"case": {"type": "object", "properties": {"$ref": {"type": "string", "default": {"$ref": "#/x"}}}}},
    });
    let calls = structured(&schema, 3);
    let replies = futures_util::future::join_all(calls.into_iter().map(|call| oneshot(pack.clone(), call))).await;
    for (n, reply) in replies.iter().enumerate() {
        let text = reply.as_ref().expect("it was answered").output.text();
        let said: Value = serde_json::from_str(&text).expect("it is JSON");
        assert_eq!(said, json!({"cases": [{"$ref": format!("story {n}")}], "next": null}));
    }
    assert_eq!(requests.sizes(), [3]);
    let packed = schema_of(&requests.all()[0].1);
    assert_eq!(packed["$defs"]["item"]["properties"]["cases"]["items"]["$ref"], "#/$defs/item.$defs.case");
    assert_eq!(packed["$defs"]["item"]["properties"]["next"]["anyOf"][0]["$ref"], "#/$defs/item");
    let case = &packed["$defs"]["item.$defs.case"]["properties"]["$ref"];
    assert_eq!(case["default"]["$ref"], "#/x", "data stays as it is");
}

#[tokio::test(start_paused = true)]
async fn answer_written_as_string_is_read() {
    let object = json!({"type": "object", "properties": {"trade": {"type": "string"}}, "required": ["trade"]});
    // Each case has the answer, the part of it that is used, and the number of requests for two items.
    for (schema, answer, read, sent) in [
        (&object, json!("{\"trade\": \"roofing\"}"), "{\"trade\": \"roofing\"}", 1),
        (&object, json!({"trade": "roofing"}), "{\"trade\":\"roofing\"}", 1),
        (&object, json!("{\"trade\": 7}"), "alone", 3),
        (&object, json!("I cannot say"), "alone", 3),
        (&object, json!(""), "alone", 3),
        (&json!({"type": "string"}), json!("{\"trade\": 7}"), "\"{\\\"trade\\\": 7}\"", 1),
    ] {
        let requests = Requests::default();
        let said = answer.clone();
        let vendor = requests.vendor_of_lone(
            |_| Ok("alone".to_owned()),
            move |prompts| {
                let entry = |prompt: &crate::pack::vendor::Prompt| {
                    let answer = if prompt.is_decoy() { json!(prompt.answer()) } else { said.clone() };
                    json!({"id": prompt.id, "answer": answer})
                };
                Ok(json!({"answers": prompts.iter().map(entry).collect::<Vec<_>>()}).to_string())
            },
        );
        let pack = layer(2, 1).layer(vendor);
        let calls = structured(schema, 2).into_iter().map(|call| oneshot(pack.clone(), call));
        let replies = futures_util::future::join_all(calls).await;
        let texts: Vec<_> = replies.iter().flatten().map(|reply| reply.output.text().into_owned()).collect();
        assert_eq!((texts, requests.sizes().len()), (vec![read.to_owned(); 2], sent), "{answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn items_with_outside_references_pass_alone() {
    for schema in [
        json!({"$ref": "https://example.com/schema"}),
        json!({"type": "array", "items": {"$ref": "other.json#/a"}}),
        json!({"$id": "https://example.com/own", "type": "string"}),
        json!({"type": "array", "items": {"$dynamicRef": "#node"}}),
        json!({"type": "object", "properties": {"a": {"$anchor": "a"}}}),
        json!({"$ref": "#anchor"}),
    ] {
        let requests = Requests::default();
        let pack = layer(3, 1).layer(requests.kind());
        let calls = structured(&schema, 3).into_iter().map(|call| oneshot(pack.clone(), call));
        futures_util::future::join_all(calls).await;
        assert_eq!((requests.sizes(), pack.stats().batches.calls), (vec![1, 1, 1], 0), "{schema}");
    }
}

#[tokio::test(start_paused = true)]
async fn images_of_items_stand_in_their_fences() {
    let requests = Requests::default();
    let pack = layer(3, 1).layer(requests.kind());
    let call = |n: u8| {
        let parts = vec![Part::text(format!("photo {n}")), Part::image("image/png", vec![n])];
        let request = ChatRequest::new("m").message(Message::new(Role::User, parts)).max_output_tokens(9);
        oneshot(pack.clone(), Call::new("acme", request))
    };
    let replies = futures_util::future::join_all([0, 1, 2].map(call)).await;
    for (n, reply) in replies.iter().enumerate() {
        assert_eq!(reply.as_ref().expect("it was answered").output.text(), format!("echo photo {n}<image>"));
    }
    assert_eq!(requests.sizes(), [3]);
}
