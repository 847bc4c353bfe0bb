use std::fmt::Display;

use serde::ser::{self, Serialize};

use super::canonical::{Fingerprinter, tag};

/// Error of a value whose own `Serialize` impl failed, so that it has no canonical bytes.
#[derive(Debug, thiserror::Error)]
#[error("the value cannot be serialized into a cache key: {0}")]
pub struct SerializeError(String);

impl Fingerprinter {
    /// Writes any serializable value in the encoding of the other methods, with map keys sorted.
    ///
    /// # Errors
    ///
    /// Returns the error of the value's own `Serialize` impl. In that case nothing is written.
    pub fn serialize(&mut self, value: &(impl Serialize + ?Sized)) -> Result<&mut Self, SerializeError> {
        let start = self.bytes.len();
        match write(self, value) {
            Ok(()) => Ok(self),
            Err(error) => {
                self.bytes.truncate(start);
                Err(error)
            }
        }
    }
}

fn write(out: &mut Fingerprinter, value: &(impl Serialize + ?Sized)) -> Result<(), SerializeError> {
    value.serialize(Canonical(out))
}

impl ser::Error for SerializeError {
    fn custom<T: Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

struct Canonical<'a>(&'a mut Fingerprinter);

type Done = Result<(), SerializeError>;

impl<'a> ser::Serializer for Canonical<'a> {
    type Ok = ();
    type Error = SerializeError;
    type SerializeSeq = List<'a>;
    type SerializeTuple = List<'a>;
    type SerializeTupleStruct = List<'a>;
    type SerializeTupleVariant = List<'a>;
    type SerializeMap = Object<'a>;
    type SerializeStruct = Object<'a>;
    type SerializeStructVariant = Object<'a>;

    fn serialize_bool(self, v: bool) -> Done {
        self.0.boolean(v);
        Ok(())
    }
    fn serialize_i8(self, v: i8) -> Done {
        self.serialize_i128(v.into())
    }
    fn serialize_i16(self, v: i16) -> Done {
        self.serialize_i128(v.into())
    }
    fn serialize_i32(self, v: i32) -> Done {
        self.serialize_i128(v.into())
    }
    fn serialize_i64(self, v: i64) -> Done {
        self.serialize_i128(v.into())
    }
    fn serialize_i128(self, v: i128) -> Done {
        self.0.integer(v);
        Ok(())
    }
    fn serialize_u8(self, v: u8) -> Done {
        self.serialize_u128(v.into())
    }
    fn serialize_u16(self, v: u16) -> Done {
        self.serialize_u128(v.into())
    }
    fn serialize_u32(self, v: u32) -> Done {
        self.serialize_u128(v.into())
    }
    fn serialize_u64(self, v: u64) -> Done {
        self.serialize_u128(v.into())
    }
    fn serialize_u128(self, v: u128) -> Done {
        self.0.big_integer(v);
        Ok(())
    }
    fn serialize_f32(self, v: f32) -> Done {
        // The JSON text of an f32, which would be sent, is shorter than that of the same number as an f64.
        match serde_json::to_string(&v) {
            Ok(text) if v.is_finite() => self.0.float_text(&text),
            _ => self.0.float_text(&v.to_string()),
        };
        Ok(())
    }
    fn serialize_f64(self, v: f64) -> Done {
        self.0.float(v);
        Ok(())
    }
    fn serialize_char(self, v: char) -> Done {
        self.serialize_str(v.encode_utf8(&mut [0; 4]))
    }
    fn serialize_str(self, v: &str) -> Done {
        self.0.text(v);
        Ok(())
    }
    fn serialize_bytes(self, v: &[u8]) -> Done {
        self.0.bytes(v);
        Ok(())
    }
    fn serialize_none(self) -> Done {
        self.0.tag(tag::NONE);
        Ok(())
    }
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Done {
        self.0.tag(tag::SOME);
        value.serialize(self)
    }
    fn serialize_unit(self) -> Done {
        self.0.tag(tag::UNIT);
        Ok(())
    }
    fn serialize_unit_struct(self, _name: &'static str) -> Done {
        self.serialize_unit()
    }
    fn serialize_unit_variant(self, _name: &'static str, _index: u32, variant: &'static str) -> Done {
        self.0.variant(variant).tag(tag::UNIT);
        Ok(())
    }
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _name: &'static str, value: &T) -> Done {
        value.serialize(self)
    }
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        value: &T,
    ) -> Done {
        self.0.variant(variant);
        value.serialize(self)
    }
    fn serialize_seq(self, _len: Option<usize>) -> Result<List<'a>, SerializeError> {
        self.0.tag(tag::LIST);
        Ok(List(self.0))
    }
    fn serialize_tuple(self, len: usize) -> Result<List<'a>, SerializeError> {
        self.serialize_seq(Some(len))
    }
    fn serialize_tuple_struct(self, _name: &'static str, len: usize) -> Result<List<'a>, SerializeError> {
        self.serialize_seq(Some(len))
    }
    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<List<'a>, SerializeError> {
        self.0.variant(variant);
        self.serialize_seq(Some(len))
    }
    fn serialize_map(self, _len: Option<usize>) -> Result<Object<'a>, SerializeError> {
        Ok(Object { out: self.0, key: Vec::new(), fields: Vec::new() })
    }
    fn serialize_struct(self, _name: &'static str, len: usize) -> Result<Object<'a>, SerializeError> {
        self.serialize_map(Some(len))
    }
    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Object<'a>, SerializeError> {
        self.0.variant(variant);
        self.serialize_map(Some(len))
    }
}

struct List<'a>(&'a mut Fingerprinter);

impl List<'_> {
    fn item(&mut self, value: &(impl Serialize + ?Sized)) -> Done {
        write(self.0, value)
    }

    fn finish(self) -> Done {
        self.0.tag(tag::END);
        Ok(())
    }
}

macro_rules! list {
    ($($kind:ident $item:ident),*) => { $(
        impl ser::$kind for List<'_> {
            type Ok = ();
            type Error = SerializeError;
            fn $item<T: Serialize + ?Sized>(&mut self, value: &T) -> Done {
                self.item(value)
            }
            fn end(self) -> Done {
                self.finish()
            }
        }
    )* };
}

list!(
    SerializeSeq serialize_element,
    SerializeTuple serialize_element,
    SerializeTupleStruct serialize_field,
    SerializeTupleVariant serialize_field
);

/// Collects an object's fields until all are known, to write them sorted by their encoded names.
struct Object<'a> {
    out: &'a mut Fingerprinter,
    key: Vec<u8>,
    fields: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Object<'_> {
    fn field(&mut self, key: Vec<u8>, value: &(impl Serialize + ?Sized)) -> Done {
        self.fields.push((key, encoded(value)?));
        Ok(())
    }

    fn finish(mut self) -> Done {
        self.fields.sort_unstable();
        self.out.tag(tag::OBJECT);
        for (key, value) in &self.fields {
            self.out.raw(key).raw(value);
        }
        self.out.tag(tag::END);
        Ok(())
    }
}

impl ser::SerializeMap for Object<'_> {
    type Ok = ();
    type Error = SerializeError;
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Done {
        self.key = encoded(key)?;
        Ok(())
    }
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Done {
        let key = std::mem::take(&mut self.key);
        self.field(key, value)
    }
    fn end(self) -> Done {
        self.finish()
    }
}

macro_rules! object {
    ($($kind:ident),*) => { $(
        impl ser::$kind for Object<'_> {
            type Ok = ();
            type Error = SerializeError;
            fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Done {
                self.field(encoded(key)?, value)
            }
            fn end(self) -> Done {
                self.finish()
            }
        }
    )* };
}

object!(SerializeStruct, SerializeStructVariant);

fn encoded(value: &(impl Serialize + ?Sized)) -> Result<Vec<u8>, SerializeError> {
    let mut out = Fingerprinter::new();
    write(&mut out, value)?;
    Ok(out.into_bytes())
}
