//! Extra test suites over data that is not in the repository.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

/// Test suite with the variable that names the directory of its data.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Suite {
    /// Variable that the tests read.
    pub(crate) variable: &'static str,
    contents: &'static str,
    directory: Option<PathBuf>,
}

/// Variables, each with the content of its directory.
const SUITES: [(&str, &str); 3] = [
    ("LLM_CASSETTES", "recorded vendor answers"),
    ("LLM_TRACES", "public workload traces"),
    ("LLM_PRICES", "LiteLLM's published price table"),
];

/// Looks up all suites. Relative paths become absolute, since tests run in their package's directory.
///
/// A variable that names no directory is an error, because its suite would skip, or fail without naming the cause.
pub(crate) fn find(lookup: impl Fn(&str) -> Option<OsString>) -> Result<Vec<Suite>, String> {
    let suites = SUITES.into_iter().map(|(variable, contents)| {
        let directory = lookup(variable)
            .filter(|value| !value.is_empty())
            .map(|value| existing(variable, Path::new(&value)))
            .transpose()?;
        Ok(Suite { variable, contents, directory })
    });
    suites.collect()
}

impl Suite {
    /// Returns the variable's value for the tests; `None` removes the variable.
    pub(crate) fn value(&self) -> Option<String> {
        let directory = self.directory.as_ref()?;
        Some(directory.display().to_string())
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (variable, contents) = (self.variable, self.contents);
        match &self.directory {
            Some(directory) => write!(f, "{variable}: {contents} in {}", directory.display()),
            None => write!(f, "{variable} is not set: the suite over {contents} skips"),
        }
    }
}

fn existing(variable: &str, path: &Path) -> Result<PathBuf, String> {
    let absolute = path.canonicalize().map_err(|e| format!("{variable} names {}: {e}", path.display()))?;
    // Checked here, so that `value` loses nothing.
    if absolute.to_str().is_none() {
        return Err(format!("{variable} names {}, which is not UTF-8", path.display()));
    }
    if !absolute.is_dir() {
        return Err(format!("{variable} names {}, which is no directory", path.display()));
    }
    Ok(absolute)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unset_and_empty_variables_skip_their_suites() {
        let suites = find(|name| (name == "LLM_TRACES").then(OsString::new)).expect("nothing is set");
        assert_eq!(suites.len(), SUITES.len());
        for suite in suites {
            assert_eq!(suite.value(), None);
            assert!(suite.to_string().contains("skips"), "{suite}");
        }
    }

    #[test]
    fn suites_make_directory_absolute() {
        let suites = find(|name| (name == "LLM_CASSETTES").then(|| "src".into())).expect("it exists");
        let value = suites[0].value().expect("it is set");
        assert!(Path::new(&value).is_absolute() && value.ends_with("src"), "{value}");
        assert_eq!(suites[1].value(), None);
    }

    #[test]
    fn suites_error_names_variable() {
        for value in ["does-not-exist", "Cargo.toml"] {
            let error = find(|_| Some(value.into())).expect_err(value);
            assert!(error.contains("LLM_CASSETTES") && error.contains(value), "{error}");
        }
    }
}
