use llm_core::Error;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

pub(super) type Fields = Map<String, Value>;

/// Removes a field and returns its value; `None` if the field is absent or null.
pub(super) fn take<T: DeserializeOwned>(fields: &mut Fields, name: &str) -> Result<Option<T>, Error> {
    some(fields, name).map(|value| serde_json::from_value(value).map_err(|_| wrong(name))).transpose()
}

pub(super) fn some(fields: &mut Fields, name: &str) -> Option<Value> {
    fields.remove(name).filter(|value| !value.is_null())
}

pub(super) fn wrong(name: &str) -> Error {
    Error::invalid(format!("{name} is not what it has to be"))
}

/// Returns the fields that are not null, because null means the same as a missing field.
pub(super) fn given(mut fields: Fields) -> Fields {
    fields.retain(|_, value| !value.is_null());
    fields
}
