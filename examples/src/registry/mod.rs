//! "First generation": the public functions of twelve crates that this workspace is built from, each requested once.
//! Such requests hardly repeat.
//!
//! Sources are read where Cargo keeps them, at the versions of `Cargo.lock`, or from `vendor/`; nothing is copied.
//! Missing crates are listed.

mod lock;
mod sources;

use std::ffi::OsString;
use std::path::Path;

pub use lock::highest_version;

use crate::error::Error;
use llm_savings::git::public_functions;

use crate::tree;
use crate::workload::{Request, Source};

/// Crates whose functions are requested, one organisation each. All of them are compiled for these examples, so Cargo
/// has fetched their sources.
pub const CRATES: [&str; 12] = [
    "blake3",
    "bytes",
    "futures-util",
    "http",
    "hyper",
    "hyper-util",
    "memchr",
    "moka",
    "reqwest",
    "serde_json",
    "tokio",
    "url",
];

/// Largest number of items of a crate, in path order.
pub const ITEMS_PER_CRATE: usize = 100;

/// Items of one crate.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CrateItems {
    /// Name of the crate, which is also the organisation.
    pub name: String,
    /// Version of the crate, from `Cargo.lock`.
    pub version: String,
    /// Texts to request, at most [`ITEMS_PER_CRATE`].
    pub items: Vec<String>,
    /// Number of all items of the crate.
    pub found: usize,
}

/// Workload "first generation".
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FirstGeneration {
    /// Crates that were read, in the order of [`CRATES`].
    pub crates: Vec<CrateItems>,
    /// Crates that could not be read, each with the reason.
    pub missing: Vec<(String, String)>,
}

impl FirstGeneration {
    /// Reads the sources of [`CRATES`]: versions from `workspace/Cargo.lock`, files from Cargo's home (`CARGO_HOME`,
    /// else `.cargo` in the user's home directory; `var` looks up environment variables), else from
    /// `workspace/vendor`.
    ///
    /// # Errors
    ///
    /// `Cargo.lock` or an existing source cannot be read.
    pub fn read(workspace: &Path, var: impl Fn(&str) -> Option<OsString>) -> Result<Self, Error> {
        let lock = tree::text(&workspace.join("Cargo.lock"))?;
        let home = sources::cargo_home(var);
        let mut read = Self { crates: Vec::new(), missing: Vec::new() };
        for name in CRATES {
            let Some(version) = highest_version(&lock, name) else {
                read.missing.push((name.to_owned(), "not in Cargo.lock".to_owned()));
                continue;
            };
            match sources::find(workspace, home.as_deref(), name, version) {
                Some(root) => read.crates.push(crate_items(name, version, &root)?),
                None => read
                    .missing
                    .push((name.to_owned(), format!("no sources of {version} in cargo's registry or in vendor"))),
            }
        }
        Ok(read)
    }

    /// Returns the requests, crate by crate, in path order.
    #[must_use]
    pub fn into_source(self) -> Source {
        let versions: Vec<_> = self
            .crates
            .iter()
            .map(|c| format!("{} {} ({} of {} items)", c.name, c.version, c.items.len(), c.found))
            .collect();
        let mut notes = vec![format!(
            "public functions of {}",
            if versions.is_empty() { "no crate".to_owned() } else { versions.join(", ") }
        )];
        notes.extend(self.missing.iter().map(|(name, why)| format!("missing: {name}, {why}")));
        let requests = self.crates.into_iter().flat_map(|c| {
            let organisation: std::sync::Arc<str> = c.name.into();
            c.items.into_iter().map(move |item| Request::new(organisation.clone(), item))
        });
        notes.into_iter().fold(Source::of("first generation", requests.collect()), Source::note)
    }
}

/// Reads the items below `root/src`.
fn crate_items(name: &str, version: &str, root: &Path) -> Result<CrateItems, Error> {
    let (mut items, mut found) = (Vec::new(), 0);
    for file in tree::rust_files(&root.join("src"))? {
        let functions = public_functions(&tree::text(&file)?);
        found += functions.len();
        items.extend(functions.into_iter().take(ITEMS_PER_CRATE - items.len()));
    }
    Ok(CrateItems { name: name.to_owned(), version: version.to_owned(), items, found })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::scratch::Scratch;

    fn lock(packages: &[(&str, &str)]) -> String {
        packages
            .iter()
            .map(|(name, version)| format!("[[package]]\nname = \"{name}\"\nversion = \"{version}\"\n\n"))
            .collect()
    }

    #[test]
    fn registry_reads_cargo_home_or_vendor_directory() {
        let scratch = Scratch::new();
        scratch.file("w/Cargo.lock", lock(&[("bytes", "1.2.3"), ("http", "1.0.0"), ("url", "2.0.0")]));
        scratch.file("home/registry/src/any/bytes-1.2.3/src/lib.rs", "pub fn a() {}\npub fn b() {}\n");
        scratch.file("w/vendor/http-1.0.0/src/lib.rs", "pub fn c() {}\n");
        let home = scratch.path().join("home").into_os_string();
        let read =
            FirstGeneration::read(&scratch.path().join("w"), |name| (name == "CARGO_HOME").then(|| home.clone()))
                .expect("readable");

        assert_eq!(
            read.crates.iter().map(|c| (&*c.name, &*c.version, c.items.len())).collect::<Vec<_>>(),
            [("bytes", "1.2.3", 2), ("http", "1.0.0", 1)]
        );
        assert_eq!(read.missing.len(), CRATES.len() - 2);
        assert!(read.missing.iter().any(|(name, why)| name == "url" && why.contains("2.0.0")));
        assert!(read.missing.iter().any(|(name, why)| name == "tokio" && why == "not in Cargo.lock"));

        let source = read.into_source();
        assert_eq!((source.calls(), source.notes().len()), (3, 11));
        let requests: Vec<_> = source.map(|r| r.expect("in memory")).collect();
        assert_eq!(requests[2], Request::new("http", "pub fn c() {}"));
    }

    #[test]
    fn registry_caps_items_in_path_order() {
        let scratch = Scratch::new();
        scratch.file("src/b.rs", "pub fn last() {}\n".repeat(60));
        scratch.file("src/a.rs", "pub fn first() {}\n".repeat(60));
        scratch.file("tests/t.rs", "pub fn test() {}\n");
        let read = crate_items("x", "1.0.0", scratch.path()).expect("readable");
        assert_eq!((read.items.len(), read.found), (ITEMS_PER_CRATE, 120));
        assert_eq!(read.items.iter().filter(|i| i.contains("first")).count(), 60);
    }

    #[test]
    fn registry_without_lock_file_is_error() {
        let scratch = Scratch::new();
        let error = FirstGeneration::read(scratch.path(), |_| None).expect_err("no lock file");
        assert!(error.to_string().contains("Cargo.lock"), "{error}");
    }
}
