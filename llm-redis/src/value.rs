//! Responses of the server.

use bytes::Bytes;

use crate::Error;

/// Response of the server.
///
/// # Example
///
/// ```
/// use llm_redis::{ErrorKind, Value};
///
/// assert_eq!(Value::Int(3).into_int()?, 3);
/// // Scripts return large integers as text.
/// assert_eq!(Value::Bytes("9007199254740993".into()).into_int()?, 9_007_199_254_740_993);
/// assert_eq!(Value::Nil.into_bytes()?, None);
/// assert_eq!(Value::Int(3).into_list().unwrap_err().kind(), ErrorKind::UnexpectedReply);
/// # Ok::<(), llm_redis::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// No value, because the key does not exist or the condition of the command was not met.
    Nil,
    /// Signed integer of 64 bits.
    Int(i64),
    /// Bytes, which need not be UTF-8.
    Bytes(Bytes),
    /// Status, such as `OK`.
    Status(String),
    /// List. A map is a list of alternating keys and values.
    List(Vec<Value>),
}

impl Value {
    /// Returns the integer. The server may also have sent the integer as text.
    ///
    /// # Errors
    ///
    /// [`UnexpectedReply`](crate::ErrorKind::UnexpectedReply) if the response has another type.
    pub fn into_int(self) -> Result<i64, Error> {
        match self {
            Self::Int(int) => Ok(int),
            // A script may return a large integer as text, formatted by `string.format`.
            Self::Bytes(text) => std::str::from_utf8(&text)
                .ok()
                .and_then(|text| text.parse().ok())
                .ok_or_else(|| Error::unexpected("an integer", "text")),
            other => Err(Error::unexpected("an integer", other.type_name())),
        }
    }

    /// Returns the bytes, or the text of a status; `None` for [`Nil`](Self::Nil).
    ///
    /// # Errors
    ///
    /// [`UnexpectedReply`](crate::ErrorKind::UnexpectedReply) if the response has another type.
    pub fn into_bytes(self) -> Result<Option<Bytes>, Error> {
        match self {
            Self::Nil => Ok(None),
            Self::Bytes(bytes) => Ok(Some(bytes)),
            Self::Status(text) => Ok(Some(text.into())),
            other => Err(Error::unexpected("bytes", other.type_name())),
        }
    }

    /// Returns the items of the list.
    ///
    /// # Errors
    ///
    /// [`UnexpectedReply`](crate::ErrorKind::UnexpectedReply) if the response has another type.
    pub fn into_list(self) -> Result<Vec<Self>, Error> {
        match self {
            Self::List(list) => Ok(list),
            other => Err(Error::unexpected("a list", other.type_name())),
        }
    }

    /// Returns `true` if the value is [`Nil`](Self::Nil).
    pub fn is_nil(&self) -> bool {
        matches!(self, Self::Nil)
    }

    /// Converts a reply of the `redis` crate; `None` for a type that no command of this crate receives.
    pub(crate) fn decode(theirs: redis::Value) -> Option<Self> {
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
                Self::List(list.into_iter().map(Self::decode).collect::<Option<_>>()?)
            }
            Theirs::Map(pairs) => {
                let list = pairs.into_iter().flat_map(|(key, value)| [key, value]);
                Self::List(list.map(Self::decode).collect::<Option<_>>()?)
            }
            Theirs::Attribute { data, .. } => return Self::decode(*data),
            _ => return None,
        })
    }

    fn type_name(&self) -> &'static str {
        match self {
            Self::Nil => "nil",
            Self::Int(_) => "an integer",
            Self::Bytes(_) => "bytes",
            Self::Status(_) => "a status",
            Self::List(_) => "a list",
        }
    }
}
