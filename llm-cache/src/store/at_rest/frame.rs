//! Frame of a stored entry:
//!
//! | bytes | content |
//! |---|---|
//! | 4 | `LLMC` |
//! | 1 | version of the format |
//! | 1 | flags: 1 digest and body packed with zstd, 2 sealed, 4 shared: the partition is a scope, not a tenant, 8 body packed |
//! | 2 | length of the partition's name |
//! | 4 | length of digest and body, unpacked |
//! | 24 | nonce, if sealed |
//! | … | the partition's name, sealed with the store's own key if the body is sealed |
//! | … | the digest of the request (32 bytes) and the body, packed and then sealed with the partition's key |
//! | 32 | keyed hash of the entry's name and of all bytes before |
//!
//! Numbers are little-endian. Sealing is by XChaCha20-Poly1305, with the entry's name and all bytes before the
//! partition's name as associated data.
//!
//! Bodies from 1 KiB on are packed, those below 4 KiB without a Huffman code, so that they take less time to unpack.
//!
//! Only earlier versions write flag 1. A digest is random, so bytes that are packed together with it are larger and
//! take longer to unpack.

use std::{borrow::Cow, cell::RefCell};

use bytes::Bytes;
use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Generate, Payload},
};
use zstd::bulk::Decompressor;

use super::{EncryptionKeys, Name, Secret, corrupt_entry::CorruptEntry};
use crate::Partition;

const MAGIC: [u8; 4] = *b"LLMC";
const VERSION: u8 = 1;
const ALL_PACKED: u8 = 1;
const SEALED: u8 = 2;
const SHARED: u8 = 4;
const PACKED: u8 = 8;
const FLAGS: u8 = ALL_PACKED | SEALED | SHARED | PACKED;
const HEAD_BYTES: usize = 12;
const NONCE_BYTES: usize = 24;
const CHECK_BYTES: usize = 32;
const DIGEST_BYTES: usize = 32;
/// Body size in bytes below which bodies are not packed.
const WORTH_PACKING: usize = 1024;
/// Body size in bytes below which bodies are packed without a Huffman code. Reading the code's table takes as long as
/// all other steps of unpacking a small body. Without the code, a packed body takes a quarter to a third more bytes.
const WORTH_CODING: usize = 4 * 1024;
/// Level at which zstd packs without a Huffman code.
const FAST_LEVEL: i32 = -1;
const LEVEL: i32 = 1;
/// Largest size of digest and body that is written or read, in bytes.
const MOST: usize = 64 << 20;

/// Secrets for the checksums of frames and for sealing the names of partitions.
pub(super) struct Framing {
    check: Secret,
    owners: Secret,
}

/// Contents of a frame.
pub(super) struct Opened {
    pub(super) partition: Partition,
    /// Digest of the request.
    pub(super) digest: [u8; DIGEST_BYTES],
    pub(super) body: Bytes,
}

impl Framing {
    pub(super) fn new(check: Secret, owners: Secret) -> Self {
        Self { check, owners }
    }

    /// Puts a frame around a digest and a body. Returns `None` if the body or the partition's name is too large to be
    /// read back, or if no nonce can be generated.
    pub(super) fn close(
        &self,
        name: &Name,
        partition: &Partition,
        digest: &[u8; DIGEST_BYTES],
        body: &[u8],
        key: Option<&Secret>,
    ) -> Option<Vec<u8>> {
        let length = DIGEST_BYTES + body.len();
        let length = u32::try_from(length).ok().filter(|_| length <= MOST)?;
        let packed = pack(body);
        let (shared, text) = match partition {
            Partition::Tenant(name) => (0, name),
            Partition::Scope(name) => (SHARED, name),
        };
        let flags = shared | if packed.is_some() { PACKED } else { 0 } | if key.is_some() { SEALED } else { 0 };
        let seal_bytes = if key.is_some() { 16 } else { 0 };
        let mut frame = Vec::with_capacity(body.len() / 2 + 256);
        frame.extend(MAGIC);
        frame.extend([VERSION, flags]);
        frame.extend(u16::try_from(text.len() + seal_bytes).ok()?.to_le_bytes());
        frame.extend(length.to_le_bytes());
        let content = [digest, packed.as_deref().unwrap_or(body)].concat();
        match key {
            None => {
                frame.extend(text.as_bytes());
                frame.extend(content);
            }
            Some(key) => {
                let bound = bound(name, &frame);
                let nonce = XNonce::try_generate().ok()?;
                frame.extend(nonce);
                let seal = |key: &Secret, msg| cipher(key).encrypt(&nonce, Payload { msg, aad: &bound }).ok();
                frame.extend(seal(&self.owners, text.as_bytes())?);
                frame.extend(seal(key, &content)?);
            }
        }
        let check = self.check(name, &frame);
        frame.extend(check.as_bytes());
        Some(frame)
    }

    /// Opens a frame and returns its contents.
    pub(super) fn open(
        &self,
        name: &Name,
        frame: &[u8],
        keys: Option<&dyn EncryptionKeys>,
    ) -> Result<Opened, CorruptEntry> {
        let (&magic, rest) = frame.split_first_chunk::<4>().ok_or(CorruptEntry::Foreign)?;
        match rest.first() {
            _ if magic != MAGIC => return Err(CorruptEntry::Foreign),
            Some(&VERSION) => {}
            _ => return Err(CorruptEntry::Newer),
        }
        let (frame, check) = frame.split_last_chunk::<CHECK_BYTES>().ok_or(CorruptEntry::Damaged)?;
        // The checksums are compared in constant time.
        if self.check(name, frame) != *check {
            return Err(CorruptEntry::Damaged);
        }
        self.unseal(name, frame, keys)
    }

    /// Opens a frame whose checksum is correct: see [`open`](Self::open).
    fn unseal(&self, name: &Name, frame: &[u8], keys: Option<&dyn EncryptionKeys>) -> Result<Opened, CorruptEntry> {
        let (head, rest) = frame.split_at_checked(HEAD_BYTES).ok_or(CorruptEntry::Damaged)?;
        let flags = head[5];
        if flags & !FLAGS != 0 {
            return Err(CorruptEntry::Newer);
        }
        let name_bytes = usize::from(u16::from_le_bytes([head[6], head[7]]));
        let length = u32::from_le_bytes([head[8], head[9], head[10], head[11]]);
        let length = usize::try_from(length).ok().filter(|length| *length <= MOST).ok_or(CorruptEntry::Damaged)?;
        let sealed = flags & SEALED != 0;
        let (nonce, rest) = rest.split_at_checked(if sealed { NONCE_BYTES } else { 0 }).ok_or(CorruptEntry::Damaged)?;
        let (partition, content) = rest.split_at_checked(name_bytes).ok_or(CorruptEntry::Damaged)?;
        let read = |partition: &[u8]| {
            let name = str::from_utf8(partition).map_err(|_| CorruptEntry::Damaged)?;
            Ok(if flags & SHARED == 0 { Partition::tenant(name) } else { Partition::scope(name) })
        };
        let (partition, content) = match XNonce::try_from(nonce).ok() {
            None if sealed => return Err(CorruptEntry::Damaged),
            // A cache with encryption keys reads no unsealed entry, because anyone who can write to the store could
            // have forged it.
            None if keys.is_some() => return Err(CorruptEntry::NoKey),
            None => (read(partition)?, Cow::Borrowed(content)),
            Some(nonce) => {
                let bound = bound(name, head);
                let unseal = |key: &Secret, msg| {
                    cipher(key).decrypt(&nonce, Payload { msg, aad: &bound }).map_err(|_| CorruptEntry::NoKey)
                };
                let partition = read(&unseal(&self.owners, partition)?)?;
                let key = keys.and_then(|keys| keys.key(&partition)).ok_or(CorruptEntry::NoKey)?;
                (partition, Cow::Owned(unseal(&key, content)?))
            }
        };
        let content = match flags & ALL_PACKED {
            0 => content,
            _ => unpack(&content, length).ok_or(CorruptEntry::Damaged)?.into(),
        };
        let (&digest, body) = content.split_first_chunk().ok_or(CorruptEntry::Damaged)?;
        let body_bytes = length.checked_sub(DIGEST_BYTES).ok_or(CorruptEntry::Damaged)?;
        let body = match flags & PACKED {
            0 => Bytes::copy_from_slice(body),
            _ => unpack(body, body_bytes).ok_or(CorruptEntry::Damaged)?.into(),
        };
        if body.len() == body_bytes { Ok(Opened { partition, digest, body }) } else { Err(CorruptEntry::Damaged) }
    }

    fn check(&self, name: &Name, frame: &[u8]) -> blake3::Hash {
        blake3::Hasher::new_keyed(self.check.expose()).update(name.as_bytes()).update(frame).finalize()
    }
}

/// Packs a body; `None` for a small body, or for one that would not become smaller.
fn pack(body: &[u8]) -> Option<Vec<u8>> {
    let level = match body.len() {
        ..WORTH_PACKING => return None,
        WORTH_PACKING..WORTH_CODING => FAST_LEVEL,
        WORTH_CODING.. => LEVEL,
    };
    zstd::bulk::compress(body, level).ok().filter(|packed| packed.len() < body.len())
}

/// Unpacks a body whose length is known.
fn unpack(body: &[u8], length: usize) -> Option<Vec<u8>> {
    thread_local! {
        /// Decompressor of this thread. It is kept because creating one takes longer than unpacking an entry of the
        /// usual size.
        static UNPACKER: RefCell<Option<Decompressor<'static>>> = RefCell::new(Decompressor::new().ok());
    }
    UNPACKER.with_borrow_mut(|unpacker| unpacker.as_mut()?.decompress(body, length).ok())
}

/// Returns the associated data of a seal: the entry's name and the head of its frame.
fn bound(name: &Name, head: &[u8]) -> Vec<u8> {
    [name.as_bytes(), head].concat()
}

fn cipher(key: &Secret) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(key.expose().into())
}

/// Opens the bytes as a frame without verifying its checksum, for fuzzing.
#[cfg(feature = "fuzzing")]
pub(crate) fn fuzz_frame(data: &[u8], keys: Option<&dyn EncryptionKeys>) {
    let framing = Framing::new(Secret::new([1; 32]), Secret::new([2; 32]));
    let name = Name::read(&[3; Name::BYTES]).expect("as long as a name");
    if let Ok(opened) = framing.unseal(&name, data, keys) {
        assert!(opened.body.len() <= MOST);
    }
    assert!(framing.open(&name, data, keys).is_err(), "the check cannot be guessed");
}
