use llm_core::Extra;
use serde::de::DeserializeOwned;

use super::request::Fields;

/// Returns the further fields with which the client above can still read an object, tried on its own type `T`. What it
/// cannot read would make it refuse an answer that is paid.
///
/// `required` are the fields without which it reads no such object at all.
pub(super) fn readable<T: DeserializeOwned>(required: &Fields, further: &Extra) -> Fields {
    let mut tried = required.clone();
    let mut can_read = |name: &str, value: &serde_json::Value| {
        let before = tried.insert(name.to_owned(), value.clone());
        let can_read = T::deserialize(&tried).is_ok();
        match before {
            Some(before) => drop(tried.insert(name.to_owned(), before)),
            None => drop(tried.remove(name)),
        }
        can_read
    };
    let fields = further.iter().filter(|(name, value)| can_read(name, value));
    fields.map(|(name, value)| (name.to_owned(), value.clone())).collect()
}
