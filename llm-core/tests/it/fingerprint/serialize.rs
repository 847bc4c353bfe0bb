use std::collections::{BTreeMap, HashMap};

use llm_core::layer::Fingerprinter;
use proptest::{collection::vec, prelude::*};
use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::json;

use super::{assert_all_differ, written};

fn ser(value: &impl Serialize) -> Vec<u8> {
    written(|h| h.serialize(value).expect("it can be serialized"))
}

#[derive(Serialize)]
struct Point {
    x: i32,
    y: i32,
}

#[derive(Serialize)]
enum Shape {
    Dot,
    Circle(u32),
    Box(u32, u32),
    Line { from: u32, to: u32 },
}

#[derive(Serialize)]
struct Wrapped(u32);

/// Bytes that serialize as bytes; serde serializes slices as lists.
struct Raw(&'static [u8]);

impl Serialize for Raw {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

/// Value that writes many fields and then fails.
struct Fails;

impl Serialize for Fails {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("written", &[1, 2, 3])?;
        Err(serde::ser::Error::custom("no way"))
    }
}

#[test]
fn serialize_values_of_different_meaning_differ() {
    assert_all_differ(&[
        ("1", ser(&1)),
        ("-1", ser(&-1)),
        ("u64::MAX", ser(&u64::MAX)),
        ("u128::MAX", ser(&u128::MAX)),
        ("u128::MAX - 1", ser(&(u128::MAX - 1))),
        ("i128::MAX", ser(&i128::MAX)),
        ("i128::MIN", ser(&i128::MIN)),
        ("-1 as u128's bits", ser(&(1u128 << 127))),
        ("1.0", ser(&1.0)),
        ("0.1 + 0.2", ser(&(0.1 + 0.2))),
        ("0.3", ser(&0.3)),
        ("NaN", ser(&f64::NAN)),
        ("infinity", ser(&f64::INFINITY)),
        ("f32 infinity, negative", ser(&f32::NEG_INFINITY)),
        ("text 1", ser(&"1")),
        ("text NaN", ser(&"NaN")),
        ("bytes of text 1", ser(&Raw(b"1"))),
        ("true", ser(&true)),
        ("false", ser(&false)),
        ("()", ser(&())),
        ("None", ser(&None::<u8>)),
        ("Some(None)", ser(&Some(None::<u8>))),
        ("Some(1)", ser(&Some(1))),
        ("Some(Some(1))", ser(&Some(Some(1)))),
        ("Some(())", ser(&Some(()))),
        ("[1]", ser(&[1])),
        ("[]", ser(&[0; 0])),
        ("[[]]", ser(&[[0; 0]])),
        ("[[], []]", ser(&[[0; 0], [0; 0]])),
        ("[1, 2]", ser(&[1, 2])),
        ("[2, 1]", ser(&[2, 1])),
        ("(1, (2, 3))", ser(&(1, (2, 3)))),
        ("((1, 2), 3)", ser(&((1, 2), 3))),
        ("a point", ser(&Point { x: 1, y: 2 })),
        ("another point", ser(&Point { x: 2, y: 1 })),
        ("a map", ser(&BTreeMap::from([("x", 1)]))),
        ("a map by numbers", ser(&BTreeMap::from([(1, 1)]))),
        ("a map by the texts of numbers", ser(&BTreeMap::from([("1", 1)]))),
        ("an empty map", ser(&BTreeMap::<u8, u8>::new())),
        ("a dot", ser(&Shape::Dot)),
        ("its name", ser(&"Dot")),
        ("a circle", ser(&Shape::Circle(1))),
        ("another circle", ser(&Shape::Circle(2))),
        ("a box", ser(&Shape::Box(1, 2))),
        ("a line", ser(&Shape::Line { from: 1, to: 2 })),
        ("a line back", ser(&Shape::Line { from: 2, to: 1 })),
    ]);
}

#[test]
fn serialize_ignores_map_order() {
    let names: Vec<String> = (0..50).map(|i| format!("name {i}")).collect();
    let map = |names: &mut dyn Iterator<Item = &String>| names.map(|n| (n.clone(), n.len())).collect::<HashMap<_, _>>();
    let (forth, back) = (map(&mut names.iter()), map(&mut names.iter().rev()));
    let sorted: BTreeMap<_, _> = forth.clone().into_iter().collect();
    assert_eq!(ser(&forth), ser(&back));
    assert_eq!(ser(&forth), ser(&sorted));
}

#[test]
fn serialize_ignores_field_order() {
    #[derive(Serialize)]
    struct Turned {
        y: i32,
        x: i32,
    }
    assert_eq!(ser(&Point { x: 1, y: 2 }), ser(&Turned { y: 2, x: 1 }));
    assert_eq!(ser(&Point { x: 1, y: 2 }), ser(&BTreeMap::from([("y", 2), ("x", 1)])));
}

#[test]
fn serialize_ignores_transparent_wrappers() {
    assert_eq!(ser(&Wrapped(7)), ser(&7));
    assert_eq!(ser(&(1, 2)), ser(&vec![1, 2]));
    assert_eq!(ser(&'x'), ser(&"x"));
    assert_eq!(ser(&std::sync::Arc::new("x")), ser(&"x"));
}

#[test]
fn serialize_f32_is_its_json_text() {
    assert_eq!(ser(&0.1f32), ser(&0.1f64));
    assert_ne!(ser(&0.1f32), ser(&f64::from(0.1f32)));
    assert_eq!(ser(&f32::NAN), ser(&f64::NAN));
}

#[test]
fn serialize_failure_writes_nothing() {
    let mut h = Fingerprinter::new();
    h.text("before");
    let before = h.as_bytes().to_vec();
    for failing in [h.serialize(&Fails).err(), h.serialize(&("much", vec![Some(Fails)])).err()] {
        assert!(failing.expect("it fails").to_string().contains("no way"));
    }
    assert!(h.serialize(&BTreeMap::from([("key", Fails)])).is_err());
    assert_eq!(h.as_bytes(), before);
    assert!(h.serialize(&1).is_ok(), "it goes on after a failure");
}

#[test]
fn fingerprint_with_reused_buffer_is_equal() {
    let mut h = Fingerprinter::with_buffer(b"left over".to_vec());
    h.json(&json!({"a": 1}));
    assert_eq!(h.into_bytes(), written(|h| h.json(&json!({"a": 1}))));
}

/// Named way of writing a value.
type Write = (&'static str, fn(&mut Fingerprinter) -> &mut Fingerprinter);

/// Writes whose content resembles tags and lengths, so that the end of one could be the beginning of another.
const WRITES: [Write; 18] = [
    ("empty text", |h| h.text("")),
    ("text: tag of text", |h| h.text("\u{7}")),
    ("text: two tags of text", |h| h.text("\u{7}\u{7}")),
    ("text: an empty text", |h| h.text("\u{7}\0\0\0\0\0\0\0\0")),
    ("no bytes", |h| h.bytes(b"")),
    ("bytes: tag of bytes", |h| h.bytes(&[8])),
    ("bytes: tag of list and end", |h| h.bytes(&[9, 255])),
    ("variant", |h| h.variant("")),
    ("variant: tag of variant", |h| h.variant("\u{b}")),
    ("true", |h| h.boolean(true)),
    ("integer", |h| h.integer(7)),
    ("float", |h| h.float(1.0)),
    ("none", |h| h.option(None::<()>, |h, ()| h)),
    ("some", |h| h.option(Some(true), |h, value| h.boolean(value))),
    ("empty list", |h| h.list([true; 0], |h, value| h.boolean(value))),
    ("list", |h| h.list([true], |h, value| h.boolean(value))),
    ("list of a list", |h| h.list([[true; 0]], |h, inner| h.list(inner, |h, value| h.boolean(value)))),
    ("object", |h| h.json(&json!({"": true}))),
];

#[test]
fn fingerprint_different_writes_have_different_bytes() {
    let mut known = HashMap::from([(Vec::new(), Vec::new())]);
    let mut latest = vec![(Fingerprinter::new(), Vec::new())];
    for _ in 0..3 {
        let longer = latest.iter().flat_map(|(before, names)| {
            WRITES.map(|(name, write)| {
                let (mut h, mut names) = (before.clone(), names.clone());
                write(&mut h);
                names.push(name);
                (h, names)
            })
        });
        latest = longer.collect();
        for (h, names) in &latest {
            let twin = known.insert(h.as_bytes().to_vec(), names.clone());
            assert!(twin.is_none(), "{names:?} gives the bytes of {twin:?}");
        }
    }
}

proptest! {
    #[test]
    fn fingerprint_nested_texts_differ(a in nested(), b in nested()) {
        prop_assert_eq!(ser(&a) == ser(&b), a == b);
    }
}

fn nested() -> impl Strategy<Value = Vec<Vec<String>>> {
    vec(vec("\u{7}{0,2}", 0..2), 0..3)
}
