//! Settings for which a vendor charges a factor. They are set in a request, and stated in a response's usage.

use std::sync::Arc;

use serde_json::Value;

/// Names of the settings, each with the values that mean no surcharge.
const SETTINGS: [(&str, &[&str]); 2] =
    [("inference_geo", &["", "global", "not_available"]), ("speed", &["", "standard"])];

/// Known values of the settings that change the price of a request or response, in the vendor's terms.
#[derive(Debug, Default)]
pub(crate) struct Settings([Option<Arc<str>>; 2]);

impl Settings {
    /// Reads the values of the settings. A setting that is absent keeps its value.
    pub(crate) fn take<'f>(&mut self, field: impl Fn(&str) -> Option<&'f Value>) {
        for (known, (name, _)) in self.0.iter_mut().zip(SETTINGS) {
            if let Some(word) = field(name).and_then(Value::as_str) {
                *known = Some(word.into());
            }
        }
    }

    /// Returns the values for which the vendor charges a factor.
    pub(crate) fn charged(&self) -> Vec<Arc<str>> {
        let words = self.0.iter().zip(SETTINGS).filter_map(|(word, (_, free))| Some((word.as_ref()?, free)));
        words.filter(|(word, free)| !free.contains(&&***word)).map(|(word, _)| Arc::clone(word)).collect()
    }
}
