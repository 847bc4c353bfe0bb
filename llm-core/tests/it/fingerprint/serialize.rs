use std::collections::{BTreeMap, HashMap};

use llm_core::Fingerprinter;
use proptest::{collection::vec, prelude::*};
use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::json;

use super::{assert_all_differ, written};

fn ser(value: &impl Serialize) -> Vec<u8> {
    written(|h| h.serialize(value).unwrap())
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

/// Bytes as bytes; serde's own slices are lists.
struct Raw(&'static [u8]);

impl Serialize for Raw {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

/// Writes much, then fails.
struct Fails;

impl Serialize for Fails {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("written", &[1, 2, 3])?;
        Err(serde::ser::Error::custom("no way"))
    }
}

#[test]
fn values_of_different_meaning_differ() {
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
fn the_order_of_a_map_does_not_count() {
    let names: Vec<String> = (0..50).map(|i| format!("name {i}")).collect();
    let map = |names: &mut dyn Iterator<Item = &String>| names.map(|n| (n.clone(), n.len())).collect::<HashMap<_, _>>();
    let (forth, back) = (map(&mut names.iter()), map(&mut names.iter().rev()));
    let sorted: BTreeMap<_, _> = forth.clone().into_iter().collect();
    assert_eq!(ser(&forth), ser(&back));
    assert_eq!(ser(&forth), ser(&sorted));
}

#[test]
fn the_order_of_a_structs_fields_does_not_count() {
    #[derive(Serialize)]
    struct Turned {
        y: i32,
        x: i32,
    }
    assert_eq!(ser(&Point { x: 1, y: 2 }), ser(&Turned { y: 2, x: 1 }));
    assert_eq!(ser(&Point { x: 1, y: 2 }), ser(&BTreeMap::from([("y", 2), ("x", 1)])));
}

#[test]
fn what_wraps_without_a_trace_in_json_does_not_count() {
    assert_eq!(ser(&Wrapped(7)), ser(&7));
    assert_eq!(ser(&(1, 2)), ser(&vec![1, 2]));
    assert_eq!(ser(&'x'), ser(&"x"));
    assert_eq!(ser(&std::sync::Arc::new("x")), ser(&"x"));
}

#[test]
fn a_short_float_is_its_own_json_text() {
    assert_eq!(ser(&0.1f32), ser(&0.1f64));
    assert_ne!(ser(&0.1f32), ser(&f64::from(0.1f32)));
    assert_eq!(ser(&f32::NAN), ser(&f64::NAN));
}

#[test]
fn a_value_that_fails_leaves_nothing_behind() {
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
fn a_reused_buffer_changes_nothing() {
    let mut h = Fingerprinter::with_buffer(b"left over".to_vec());
    h.json(&json!({"a": 1}));
    assert_eq!(h.into_bytes(), written(|h| h.json(&json!({"a": 1}))));
}

/// One write of any kind.
#[derive(Clone, Debug, PartialEq)]
enum Write {
    Text(String),
    Bytes(Vec<u8>),
    Variant(String),
    Boolean(bool),
    Integer(i64),
    Float(f64),
    Texts(Vec<String>),
    Maybe(Option<u8>),
    Object(BTreeMap<String, bool>),
}

impl Write {
    fn to(&self, h: &mut Fingerprinter) {
        match self {
            Self::Text(text) => h.text(text),
            Self::Bytes(bytes) => h.bytes(bytes),
            Self::Variant(name) => h.variant(name),
            Self::Boolean(value) => h.boolean(*value),
            Self::Integer(value) => h.integer(*value),
            Self::Float(value) => h.float(*value),
            Self::Texts(texts) => h.list(texts, |h, text| h.text(text)),
            Self::Maybe(value) => h.option(*value, |h, value| h.integer(value)),
            Self::Object(fields) => h.json(&json!(fields)),
        };
    }
}

fn write() -> impl Strategy<Value = Write> {
    let text = || "[a\u{0}\u{ff}]{0,2}";
    prop_oneof![
        text().prop_map(Write::Text),
        vec(prop::sample::select(&[0u8, 7, 9, 255, b'a'][..]), 0..3).prop_map(Write::Bytes),
        text().prop_map(Write::Variant),
        any::<bool>().prop_map(Write::Boolean),
        (-1i64..2).prop_map(Write::Integer),
        prop::sample::select(&[0.0, 1.0, -1.5][..]).prop_map(Write::Float),
        vec(text(), 0..3).prop_map(Write::Texts),
        proptest::option::of(0u8..2).prop_map(Write::Maybe),
        proptest::collection::btree_map(text(), any::<bool>(), 0..3).prop_map(Write::Object),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(700))]

    #[test]
    fn two_sequences_of_writes_never_give_the_same_bytes(a in vec(write(), 0..4), b in vec(write(), 0..4)) {
        let bytes = |writes: &[Write]| written(|h| {
                writes.iter().for_each(|write| write.to(h));
                h
            });
        prop_assert_eq!(bytes(&a) == bytes(&b), a == b);
        // Nor does one that is only longer begin like another with something added by hand.
        let joined: Vec<Write> = a.iter().chain(&b).cloned().collect();
        prop_assert_eq!(bytes(&joined), [bytes(&a), bytes(&b)].concat());
    }

    #[test]
    fn nested_texts_are_never_confused(a in vec(vec("[ab]{0,2}", 0..3), 0..3), b in vec(vec("[ab]{0,2}", 0..3), 0..3)) {
        prop_assert_eq!(ser(&a) == ser(&b), a == b);
    }
}
