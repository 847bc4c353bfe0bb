use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use llm_core::{Usage, Usd, layer::Accounting};
use proptest::prelude::*;
use serde_json::json;

use super::{corrupt_entry::CorruptEntry, frame::Framing, *};
use crate::{
    Key, Partition, Tag,
    policy::Timestamp,
    store::{Expiry, Provenance},
};

const NOON: SystemTime = UNIX_EPOCH;

fn key(n: u32) -> Key {
    Key::of("ns", "acme", "op", &n).expect("a number can be written")
}

fn record(key: &Key, text: &str) -> Record {
    let mut accounting = Accounting::default();
    accounting.usage = Some(Usage { reasoning: 3, ..Usage::new(7, 9) });
    accounting.usage_so_far = Some(Usage::new(1, 2));
    accounting.set_prices(Ok(Usd::from_nanos(11)), Ok(Usd::from_nanos(22)));
    accounting.set_packed(Ok(Usd::from_nanos(40)));
    accounting.provider = Some("openai".into());
    accounting.member = Some("key-1".into());
    accounting.model = Some("m-2026".into());
    accounting.fallback = true;
    accounting.service_tier = Some("flex".into());
    accounting.surcharges = vec!["us".into(), "fast".into()];
    accounting.request_id = Some("r-1".into());
    let tags = [Tag::tenant("acme"), Tag::named("import")].into();
    Record {
        partition: key.partition(),
        digest: name::digest(key),
        accounting,
        expiry: Expiry { stored_at: NOON + Duration::from_nanos(5), fresh_until: Some(NOON + Duration::from_secs(9)) },
        provenance: Provenance { started_at: Timestamp::from_nanos(4), tags },
        text: Bytes::copy_from_slice(text.as_bytes()),
        memory_size: Some(1_000),
    }
}

fn acme() -> Partition {
    Partition::tenant("acme")
}

fn ring() -> (KeyRing, Arc<dyn EncryptionKeys>) {
    let keys = KeyRing::new();
    keys.insert(acme(), Secret::new([9; 32]));
    (keys.clone(), Arc::new(keys))
}

/// Returns stored entries, plain and sealed, with a response too short to pack and with one that is packed.
fn written() -> Vec<(AtRest, Name, Vec<u8>, String)> {
    let texts = ["\"short\"".to_owned(), format!("\"{}\"", "long ".repeat(800))];
    let secret = Secret::new([1; 32]);
    let codecs = || [AtRest::new(None, None), AtRest::new(Some(&secret), Some(ring().1))];
    let write = |codec: AtRest, text: &String| {
        let (name, bytes) = codec.write(&record(&key(1), text)).expect("it is small, and has a key");
        (codec, name, bytes, text.clone())
    };
    texts.iter().flat_map(|text| codecs().map(|codec| write(codec, text))).collect()
}

#[test]
fn at_rest_round_trips_entry() {
    for (codec, name, bytes, text) in written() {
        let read = codec.read(&name, &bytes).unwrap();
        let was = record(&key(1), &text);
        assert_eq!(read.text, was.text);
        assert_eq!(format!("{:?}", read.accounting), format!("{:?}", was.accounting));
        assert_eq!((read.expiry.stored_at, read.expiry.fresh_until), (was.expiry.stored_at, was.expiry.fresh_until));
        assert_eq!(
            (read.provenance.started_at, &read.provenance.tags),
            (was.provenance.started_at, &was.provenance.tags)
        );
        assert_eq!((read.partition, read.memory_size), (acme(), Some(1_000)));
        assert_eq!(name, codec.name(&key(1)));
        assert!(bytes.len() < text.len() / 2 + 900, "long texts are packed: {} bytes", bytes.len());
    }
}

#[test]
fn at_rest_rejects_changed_or_truncated_bytes() {
    for (codec, name, bytes, _) in written() {
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            for flip in [1, 0x80] {
                changed[at] = bytes[at] ^ flip;
                assert!(codec.read(&name, &changed).is_err(), "byte {at}");
            }
            assert!(codec.read(&name, &bytes[..at]).is_err(), "cut at {at}");
        }
        assert!(codec.read(&name, &[bytes.as_slice(), b"x"].concat()).is_err());
    }
}

proptest! {
    #[test]
    fn at_rest_rejects_foreign_bytes(changes in prop::collection::vec((any::<prop::sample::Index>(), 1u8..), 1..6), cut in any::<prop::sample::Index>()) {
        for (codec, name, bytes, text) in written() {
            let mut changed = bytes.clone();
            for (at, flip) in &changes {
                changed[at.index(bytes.len())] ^= flip;
            }
            changed.truncate(cut.index(bytes.len() + 1));
            if let Ok(read) = codec.read(&name, &changed) {
                prop_assert_eq!(&changed, &bytes, "changes may undo each other");
                prop_assert_eq!(&read.text, text.as_bytes());
            }
        }
    }
}

#[test]
fn at_rest_rejects_other_name_or_key() {
    for (codec, _, bytes, _) in written() {
        assert_eq!(
            codec.read(&codec.name(&key(2)), &bytes).err(),
            Some(CorruptEntry::Damaged),
            "moved to another question"
        );
    }
    let secret = Secret::new([1; 32]);
    let (ring, keys) = ring();
    let codec = AtRest::new(Some(&secret), Some(keys));
    let (name, bytes) = codec.write(&record(&key(1), "1")).unwrap();
    let other_secret = AtRest::new(Some(&Secret::new([2; 32])), Some(Arc::new(ring.clone())));
    assert_eq!(other_secret.read(&name, &bytes).err(), Some(CorruptEntry::Damaged));
    assert_eq!(AtRest::new(Some(&secret), None).read(&name, &bytes).err(), Some(CorruptEntry::NoKey));
    ring.insert(acme(), Secret::new([8; 32]));
    assert_eq!(codec.read(&name, &bytes).err(), Some(CorruptEntry::NoKey), "another key");
    ring.remove(&acme());
    assert_eq!(codec.read(&name, &bytes).err(), Some(CorruptEntry::NoKey), "the tenant was erased");
    assert!(!codec.can_store(&acme()) && codec.write(&record(&key(1), "1")).is_none(), "and is not stored");
    let (name, plain) = AtRest::new(Some(&secret), None).write(&record(&key(1), "1")).unwrap();
    assert_eq!(codec.read(&name, &plain).err(), Some(CorruptEntry::NoKey), "who seals reads nothing unsealed");
}

/// A program that has the store's secret, but not the tenants' keys, can write valid checksums, so the seal must detect
/// the change.
#[test]
fn seal_fails_under_other_name_or_head() {
    let (secret, (ring, keys)) = (Secret::new([1; 32]), ring());
    ring.insert(Partition::scope("acme"), Secret::new([9; 32]));
    let codec = AtRest::new(Some(&secret), Some(keys));
    let (name, frame) = codec.write(&record(&key(1), "1")).unwrap();
    let check = secret.derive("llm-cache 2026-11 check of stored entries v1");
    let forge = |name: &Name, at: usize, flip: u8| {
        let mut forged = frame[..frame.len() - 32].to_vec();
        forged[at] ^= flip;
        let hash = blake3::Hasher::new_keyed(check.expose()).update(name.as_bytes()).update(&forged).finalize();
        forged.extend(hash.as_bytes());
        codec.read(name, &forged).err()
    };
    assert_eq!(forge(&name, 0, 0), None, "the check is made as the store makes it");
    assert_eq!(forge(&codec.name(&key(2)), 0, 0), Some(CorruptEntry::NoKey), "moved to another question");
    assert_eq!(forge(&name, 8, 1), Some(CorruptEntry::NoKey), "of another length");
    assert_eq!(forge(&name, 5, 4), Some(CorruptEntry::NoKey), "a tenant's for a scope's of the same name");
}

#[test]
fn seal_hides_entry_and_name() {
    let (_, name, bytes, _) = written().remove(1);
    let shows = |bytes: &[u8], text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    for text in ["acme", "short", "openai", "import"] {
        assert!(!shows(&bytes, text) && !shows(name.as_bytes(), text), "{text}");
    }
    let (secret, keys) = (Secret::new([b'k'; 32]), ring().0);
    assert_eq!(format!("{secret:?} {keys:?}"), "Secret(..) KeyRing { keys: 1 }");
    let (one, other) = (AtRest::new(Some(&secret), None), AtRest::new(None, None));
    assert_ne!(one.name(&key(1)), other.name(&key(1)), "names depend on the secret");
    assert_eq!(one.name(&key(1)).as_bytes()[..PARTITION_BYTES], one.partition(&acme()));
}

#[test]
fn at_rest_omits_origin_and_payment() {
    let mut record = record(&key(1), "1");
    record.accounting.paid = Some(Usd::from_nanos(11).into());
    record.accounting.saved.add(llm_core::Cause::CacheHit, Usd::from_nanos(11));
    record.accounting.cost_share = Some(llm_core::layer::CostShare::new(Usd::from_nanos(11), |_| ()));
    let codec = AtRest::new(None, None);
    let (name, bytes) = codec.write(&record).unwrap();
    let read = codec.read(&name, &bytes).unwrap().accounting;
    assert!(read.paid.is_none() && read.cost_share.is_none());
    assert_eq!(read.saved, record.accounting.saved.of_response(), "what the response itself saved stays with it");
    assert_eq!(read.saved.total(), Usd::from_nanos(29));
}

#[test]
fn seal_separates_scope_and_tenant() {
    let public = Partition::scope("public");
    let record = Record { partition: public.clone(), ..record(&key(1), "1") };
    let keys = KeyRing::new();
    keys.insert(Partition::tenant("public"), Secret::new([1; 32]));
    let codec = AtRest::new(None, Some(Arc::new(keys.clone())));
    assert!(!codec.can_store(&public) && codec.write(&record).is_none(), "the tenant's key is none of the scope's");
    keys.insert(public.clone(), Secret::new([2; 32]));
    let (name, bytes) = codec.write(&record).unwrap();
    assert_eq!(codec.read(&name, &bytes).unwrap().partition, public);
    assert_eq!(name.as_bytes()[..PARTITION_BYTES], codec.partition(&public));
    for n in 0..50 {
        let (tenant, scope) =
            (codec.partition(&Partition::tenant(n.to_string())), codec.partition(&Partition::scope(n.to_string())));
        let last = &Name::BEFORE_SHARED.as_bytes()[..PARTITION_BYTES];
        assert!(tenant[..] < *last && *last < scope[..], "what is shared comes last");
    }
    keys.remove(&public);
    assert_eq!(codec.read(&name, &bytes).err(), Some(CorruptEntry::NoKey));
}

#[test]
fn stored_name_round_trips_as_text() {
    let name = AtRest::new(None, None).name(&key(1));
    assert_eq!(Name::from_hex(&name.to_string()), Some(name));
    assert_eq!(Name::from_hex("zz"), None);
    assert_eq!(Name::from_hex(&"zz".repeat(Name::BYTES)), None);
}

/// Entries as versions of this library with more and with fewer fields would have written them.
#[test]
fn at_rest_reads_or_misses_other_versions() {
    let secret = Secret::new([0; 32]);
    let framing = Framing::new(
        secret.derive("llm-cache 2026-11 check of stored entries v1"),
        secret.derive("llm-cache 2026-11 owners of sealed entries v1"),
    );
    let codec = AtRest::new(None, None);
    let (name, digest) = (codec.name(&key(1)), name::digest(&key(1)));
    let write = |head: serde_json::Value| {
        let head = head.to_string();
        let length = u32::try_from(head.len()).unwrap().to_le_bytes();
        let body = [length.as_slice(), head.as_bytes(), b"\"an answer\""].concat();
        framing.close(&name, &acme(), &digest, &body, None).unwrap()
    };
    let usage = json!({"input": 7, "output": 9, "thought_about": 4});
    let accounting = json!({"usage": usage, "region": "eu", "model": "m"});
    let richer = json!({"stored_at": 5, "fresh_until": 6, "begun": 4, "votes": [1, 2], "facts": accounting});
    let read = codec.read(&name, &write(richer)).unwrap();
    assert_eq!((&*read.text, read.accounting.usage), (&b"\"an answer\""[..], Some(Usage::new(7, 9))));
    let older = json!({"stored_at": 5, "begun": 4, "facts": {"cost": 11, "model": "m"}});
    let older = codec.read(&name, &write(older)).unwrap().accounting;
    assert_eq!((older.cost, older.list, older.packed), (Some(Usd::from_nanos(11)), None, false), "unknown, not zero");
    let other_cause = json!({"cost": 11, "list": 22, "saved": {"tier": 4, "barter": 7}});
    let other_cause = write(json!({"stored_at": 5, "begun": 4, "facts": other_cause}));
    assert_eq!(codec.read(&name, &other_cause).err(), Some(CorruptEntry::Damaged), "the rest would not add up");
    let poorer = codec.read(&name, &write(json!({"stored_at": 5, "begun": 4}))).unwrap();
    assert_eq!((poorer.expiry.fresh_until, poorer.accounting.usage, poorer.provenance.tags.len()), (None, None, 0));
    assert_eq!(codec.read(&name, &write(json!({"begun": 4}))).err(), Some(CorruptEntry::Damaged), "without its time");

    let mut newer = write(json!({"stored_at": 5, "begun": 4}));
    newer[4] = 2;
    assert_eq!(codec.read(&name, &newer).err(), Some(CorruptEntry::Newer));
    assert_eq!(codec.read(&name, b"{\"answer\": 1}").err(), Some(CorruptEntry::Foreign));
}

/// Entries of this version, and of the version that packed the digest with the body.
#[test]
fn at_rest_reads_handwritten_entries_of_versions() {
    let (codec, text) = (AtRest::new(None, None), format!("\"{}\"", "long ".repeat(400)));
    let name = codec.name(&key(1));
    for (flags, level) in [(0, 0), (1, 1), (8, 1), (8, -1)] {
        let read = codec.read(&name, &handwritten(&name, flags, level, &text)).unwrap();
        assert_eq!(read.text, text, "flags {flags}, level {level}");
    }
    assert_eq!(codec.read(&name, &handwritten(&name, 9, 1, &text)).err(), Some(CorruptEntry::Damaged), "packed twice");
}

/// Bodies of 1 to 4 KiB are packed without a Huffman code: their texts stand in the frame as they are.
#[test]
fn at_rest_packs_small_bodies_without_code() {
    let codec = AtRest::new(None, None);
    for (sentences, packed, legible) in [(10, false, true), (40, true, true), (400, true, false)] {
        let text: String = (0..sentences).map(|n| format!("Sentence {} of the response. ", n * n)).collect();
        let (name, bytes) = codec.write(&record(&key(1), &format!("\"{text}\""))).unwrap();
        let plain = &text.as_bytes()[..text.find('.').unwrap()];
        let shown = bytes.windows(plain.len()).any(|window| window == plain);
        assert_eq!((bytes.len() < text.len(), shown), (packed, legible), "{sentences} sentences");
        assert_eq!(codec.read(&name, &bytes).unwrap().text, format!("\"{text}\""));
    }
}

fn handwritten(name: &Name, flags: u8, level: i32, text: &str) -> Vec<u8> {
    let pack = |bytes: &[u8]| zstd::bulk::compress(bytes, level).unwrap();
    let head = br#"{"stored_at":5,"begun":4}"#;
    let body = [&[u8::try_from(head.len()).unwrap(), 0, 0, 0], head.as_slice(), text.as_bytes()].concat();
    let digest = name::digest(&key(1));
    let length = u32::try_from(digest.len() + body.len()).unwrap().to_le_bytes();
    let mut frame = [b"LLMC\x01".as_slice(), &[flags], b"\x04\x00", &length, b"acme"].concat();
    frame.extend(match flags {
        0 => [digest.as_slice(), &body].concat(),
        8 => [digest.as_slice(), &pack(&body)].concat(),
        _ => pack(&[digest.as_slice(), &body].concat()),
    });
    let check = blake3::derive_key("llm-cache 2026-11 check of stored entries v1", &[0; 32]);
    let check = blake3::Hasher::new_keyed(&check).update(name.as_bytes()).update(&frame).finalize();
    frame.extend(check.as_bytes());
    frame
}

#[test]
fn at_rest_rejects_unknown_flag_oversized_body() {
    let (secret, codec) = (Secret::new([0; 32]), AtRest::new(None, None));
    let check = secret.derive("llm-cache 2026-11 check of stored entries v1");
    let long = format!("\"{}\"", "x".repeat(1 << 20));
    let (name, bytes) = codec.write(&record(&key(1), &long)).unwrap();
    let forge = |at: usize, to: u8| {
        let mut forged = bytes[..bytes.len() - 32].to_vec();
        forged[at] = to;
        let hash = blake3::Hasher::new_keyed(check.expose()).update(name.as_bytes()).update(&forged).finalize();
        forged.extend(hash.as_bytes());
        codec.read(&name, &forged).err()
    };
    assert_eq!(forge(5, 0x81), Some(CorruptEntry::Newer));
    assert_eq!(forge(10, 0), Some(CorruptEntry::Damaged), "it says that it is shorter");
    assert_eq!(forge(11, 0xff), Some(CorruptEntry::Damaged), "it says that it is larger than any");
}
