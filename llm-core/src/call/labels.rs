use std::{fmt, sync::Arc};

use crate::Error;

/// Up to [`MAX`](Self::MAX) names with values that describe a call, such as its feature or prompt version. Cheap to
/// clone.
///
/// The ledger reports costs by label, and cache entries and limits can be selected by label. A name has at most
/// [`MAX_NAME`](Self::MAX_NAME) bytes, a value at most [`MAX_VALUE`](Self::MAX_VALUE).
///
/// ```
/// use llm_core::Labels;
///
/// let mut labels = Labels::default();
/// labels.insert("feature", "test-cases")?;
/// assert_eq!(labels.get("feature"), Some("test-cases"));
/// assert!(labels.insert("feature", &"x".repeat(257)).is_err());
/// # Ok::<_, llm_core::Error>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Labels(Option<Arc<Vec<Label>>>);

type Label = (Arc<str>, Arc<str>);

impl Labels {
    /// Largest number of labels of a call.
    pub const MAX: usize = 16;
    /// Longest name of a label, in bytes.
    pub const MAX_NAME: usize = 64;
    /// Longest value of a label, in bytes.
    pub const MAX_VALUE: usize = 256;

    /// Adds a label, or replaces the value of the label with the same name.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidRequest`](crate::ErrorKind::InvalidRequest) if the name or the value is too long, there are
    /// too many labels, the name is empty, or either has a control character.
    pub fn insert(&mut self, name: &str, value: &str) -> Result<(), Error> {
        if name.is_empty() || name.len() > Self::MAX_NAME {
            return Err(Error::invalid(format!(
                "a label's name must have 1 to {} bytes, this one has {}",
                Self::MAX_NAME,
                name.len()
            )));
        }
        if value.len() > Self::MAX_VALUE {
            return Err(Error::invalid(format!(
                "the value of label {name:?} has {} bytes, more than {}",
                value.len(),
                Self::MAX_VALUE
            )));
        }
        if [name, value].iter().any(|text| text.contains(char::is_control)) {
            return Err(Error::invalid(format!("label {name:?} holds a control character")));
        }
        let labels = Arc::make_mut(self.0.get_or_insert_default());
        match labels.binary_search_by(|(known, _)| (**known).cmp(name)) {
            Ok(at) => labels[at].1 = value.into(),
            Err(_) if labels.len() == Self::MAX => {
                return Err(Error::invalid(format!("a call can have at most {} labels", Self::MAX)));
            }
            Err(at) => labels.insert(at, (name.into(), value.into())),
        }
        Ok(())
    }

    /// Returns the value of the label `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// Returns the labels as pairs of name and value, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().flat_map(|labels| labels.iter()).map(|(name, value)| (&**name, &**value))
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_beyond_bounds_are_refused() {
        let mut labels = Labels::default();
        for i in 0..Labels::MAX {
            labels.insert(&format!("n{i}"), "v").unwrap();
        }
        labels.insert("n3", "w").unwrap();
        assert_eq!(labels.get("n3"), Some("w"));
        assert!(labels.insert("one more", "v").unwrap_err().message().contains("16 labels"));
        assert!(labels.insert("", "v").is_err());
        assert!(labels.insert("n1", "a\0b").unwrap_err().message().contains("control character"));
        assert!(labels.insert("n1", &"x".repeat(257)).is_err());
    }
}
