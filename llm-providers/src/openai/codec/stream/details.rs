use llm_core::{Error, Part};
use serde_json::{Map, Value};

use super::super::{decode::details_part, fields::malformed};

/// Collector of the fragments of OpenRouter's `reasoning_details`. Fragments with the same index and type form one
/// detail.
#[derive(Debug, Default)]
pub(super) struct OpenDetails(Vec<Map<String, Value>>);

/// Largest number of details of a choice, because each fragment is compared with all of them.
const MOST: usize = 1_024;
/// Fields whose fragments are concatenated. Other fields have the value of the last fragment.
const GROWING: [&str; 3] = ["text", "summary", "data"];

impl OpenDetails {
    /// Adds a delta's list of fragments.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Malformed`](llm_core::ErrorKind::Malformed) if there are more than [`MOST`] details.
    pub(super) fn fragments(&mut self, list: Vec<Value>) -> Result<(), Error> {
        for fragment in list {
            let Value::Object(fragment) = fragment else { continue };
            let same = |known: &&mut Map<String, Value>| {
                fragment.contains_key("index")
                    && ["index", "type"].iter().all(|name| known.get(*name) == fragment.get(*name))
            };
            let full = self.0.len() == MOST;
            match self.0.iter_mut().find(same) {
                Some(known) => grow(known, fragment),
                None if full => {
                    return Err(malformed(format!("a choice has more than {MOST} details of its reasoning")));
                }
                None => self.0.push(fragment),
            }
        }
        Ok(())
    }

    /// Returns all fragments as one part; `None` if there were none.
    pub(super) fn take(&mut self) -> Option<Part> {
        let list: Vec<Value> = std::mem::take(&mut self.0).into_iter().map(Value::Object).collect();
        (!list.is_empty()).then(|| details_part(list))
    }
}

fn grow(known: &mut Map<String, Value>, fragment: Map<String, Value>) {
    for (name, value) in fragment {
        match (known.get_mut(&name), value) {
            (Some(Value::String(text)), Value::String(more)) if GROWING.contains(&name.as_str()) => {
                text.push_str(&more)
            }
            // A null replaces no value.
            (Some(_), Value::Null) => {}
            (_, value) => drop(known.insert(name, value)),
        }
    }
}
