//! Settings that a vendor charges a factor for: set in a request, and stated in a response's usage.

use std::sync::Arc;

use serde_json::Value;

/// The names of the settings, and the words that ask for nothing and tell of nothing.
const SETTINGS: [(&str, &[&str]); 2] =
    [("inference_geo", &["", "global", "not_available"]), ("speed", &["", "standard"])];

/// Settings of a request or response that change its price, by the vendor's words, where they are known.
#[derive(Debug, Default)]
pub(crate) struct Settings([Option<Arc<str>>; 2]);

impl Settings {
    /// Reads the words among these fields. A word that is absent leaves the known one.
    pub(crate) fn take<'f>(&mut self, field: impl Fn(&str) -> Option<&'f Value>) {
        for (known, (name, _)) in self.0.iter_mut().zip(SETTINGS) {
            if let Some(word) = field(name).and_then(Value::as_str) {
                *known = Some(word.into());
            }
        }
    }

    /// Returns the words that the vendor charges a factor for.
    pub(crate) fn charged(&self) -> Vec<Arc<str>> {
        let words = self.0.iter().zip(SETTINGS).filter_map(|(word, (_, free))| Some((word.as_ref()?, free)));
        words.filter(|(word, free)| !free.contains(&&***word)).map(|(word, _)| Arc::clone(word)).collect()
    }
}
