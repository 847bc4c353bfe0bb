use bytes::Bytes;

use crate::Error;

/// A reply.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// Nothing: no such key, or a condition that did not hold.
    Nil,
    /// An integer.
    Int(i64),
    /// Bytes, whatever they mean.
    Bytes(Bytes),
    /// A status, such as `OK`.
    Status(String),
    /// A list. Maps are lists of keys and values in turn.
    List(Vec<Value>),
}

impl Value {
    /// The integer.
    ///
    /// # Errors
    ///
    /// [`UnexpectedReply`](crate::ErrorKind::UnexpectedReply) if it is none.
    pub fn into_int(self) -> Result<i64, Error> {
        match self {
            Self::Int(int) => Ok(int),
            // Scripts print large numbers as text.
            Self::Bytes(text) => std::str::from_utf8(&text)
                .ok()
                .and_then(|text| text.parse().ok())
                .ok_or_else(|| Error::unexpected("an integer", "text")),
            other => Err(Error::unexpected("an integer", other.name())),
        }
    }

    /// The bytes, or `None` for nothing.
    ///
    /// # Errors
    ///
    /// [`UnexpectedReply`](crate::ErrorKind::UnexpectedReply) if it is something else.
    pub fn into_bytes(self) -> Result<Option<Bytes>, Error> {
        match self {
            Self::Nil => Ok(None),
            Self::Bytes(bytes) => Ok(Some(bytes)),
            Self::Status(text) => Ok(Some(text.into())),
            other => Err(Error::unexpected("bytes", other.name())),
        }
    }

    /// The list.
    ///
    /// # Errors
    ///
    /// [`UnexpectedReply`](crate::ErrorKind::UnexpectedReply) if it is none.
    pub fn into_list(self) -> Result<Vec<Self>, Error> {
        match self {
            Self::List(list) => Ok(list),
            other => Err(Error::unexpected("a list", other.name())),
        }
    }

    /// Whether there is nothing.
    pub fn is_nil(&self) -> bool {
        matches!(self, Self::Nil)
    }

    /// `None` for what no command of ours asks for.
    pub(crate) fn of(theirs: redis::Value) -> Option<Self> {
        use redis::Value as Theirs;
        Some(match theirs {
            Theirs::Nil => Self::Nil,
            Theirs::Int(int) => Self::Int(int),
            Theirs::Boolean(yes) => Self::Int(yes.into()),
            Theirs::BulkString(bytes) => Self::Bytes(bytes.into()),
            Theirs::VerbatimString { text, .. } => Self::Bytes(text.into()),
            Theirs::Double(number) => Self::Bytes(number.to_string().into()),
            Theirs::SimpleString(text) => Self::Status(text),
            Theirs::Okay => Self::Status("OK".to_owned()),
            Theirs::Array(list) | Theirs::Set(list) => {
                Self::List(list.into_iter().map(Self::of).collect::<Option<_>>()?)
            }
            Theirs::Map(pairs) => {
                let list = pairs.into_iter().flat_map(|(key, value)| [key, value]);
                Self::List(list.map(Self::of).collect::<Option<_>>()?)
            }
            Theirs::Attribute { data, .. } => return Self::of(*data),
            _ => return None,
        })
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Nil => "nothing",
            Self::Int(_) => "an integer",
            Self::Bytes(_) => "bytes",
            Self::Status(_) => "a status",
            Self::List(_) => "a list",
        }
    }
}
