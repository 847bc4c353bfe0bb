use std::fmt;

use crate::{Key, Partition, Tag};

use super::Secret;

/// What an entry is stored under: a keyed hash of its owner, then one of its question. All of an owner's entries begin
/// alike, and what is shared comes after all that is not.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Name([u8; Name::BYTES]);

/// How many bytes of a name are its owner's.
pub(crate) const PARTITION_BYTES: usize = 16;

/// Set in the first byte of what is shared.
const SHARED: u8 = 0x80;

/// Makes names.
pub(crate) struct Names(Secret);

impl Name {
    pub(crate) const BYTES: usize = PARTITION_BYTES + 32;

    /// A name after those of all that is not shared.
    pub(crate) const BEFORE_SHARED: Self = {
        let mut name = [u8::MAX; Self::BYTES];
        name[0] = !SHARED;
        Self(name)
    };

    pub(crate) fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }

    /// The name that these bytes are.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// As an operator sees it.
    pub(crate) fn from_hex(digits: &str) -> Option<Self> {
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let byte = |pair: &[u8]| u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).ok();
        (digits.len() == 2 * Self::BYTES).then_some(())?;
        Self::read(&digits.as_bytes().chunks_exact(2).map(byte).collect::<Option<Vec<u8>>>()?)
    }
}

impl Names {
    pub(crate) fn new(secret: Secret) -> Self {
        Self(secret)
    }

    /// The name of the question with this digest.
    pub(crate) fn name(&self, partition: &Partition, digest: &[u8; 32]) -> Name {
        let mut name = [0; Name::BYTES];
        name[..PARTITION_BYTES].copy_from_slice(&self.partition(partition));
        name[PARTITION_BYTES..].copy_from_slice(self.hash(b'q', digest).as_bytes());
        Name(name)
    }

    /// What the names of an owner's entries begin with.
    pub(crate) fn partition(&self, partition: &Partition) -> [u8; PARTITION_BYTES] {
        let (kind, text, shared) = match partition {
            Partition::Tenant(name) => (b't', name, 0),
            Partition::Scope(name) => (b's', name, SHARED),
        };
        let mut name = [0; PARTITION_BYTES];
        name.copy_from_slice(&self.hash(kind, text.as_bytes()).as_bytes()[..PARTITION_BYTES]);
        name[0] = name[0] & !SHARED | shared;
        name
    }

    /// What a tag is remembered as.
    pub(crate) fn tag(&self, tag: &Tag) -> [u8; 32] {
        *self.hash(b'g', tag.text().as_bytes()).as_bytes()
    }

    fn hash(&self, kind: u8, bytes: &[u8]) -> blake3::Hash {
        blake3::Hasher::new_keyed(self.0.expose()).update(&[kind]).update(bytes).finalize()
    }
}

/// The digest that stands for a question outside the process, so that an entry can be given another name without its
/// question.
pub(crate) fn digest(key: &Key) -> [u8; 32] {
    key.digest()
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Name({self})")
    }
}
