//! The part of `cargo metadata` that the checks read.

use std::{collections::BTreeMap, path::PathBuf};

use serde::Deserialize;

/// The workspace's own packages, without what they depend on, and its target directory.
#[derive(Debug, Deserialize)]
pub(crate) struct Metadata {
    packages: Vec<Package>,
    /// Directory of what cargo builds.
    #[serde(default)]
    pub(crate) target_directory: PathBuf,
}

/// One member of the workspace.
#[derive(Debug, Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    /// The registries it may go to: `None` is any, an empty list is `publish = false`.
    publish: Option<Vec<String>>,
    dependencies: Vec<Dependency>,
    /// Every feature, those of optional dependencies included, sorted.
    features: BTreeMap<String, Vec<String>>,
    /// The manifest's `package.metadata`.
    #[serde(default)]
    metadata: serde_json::Value,
}

/// A dependency as a manifest states it; `name` is the package's, also where it is renamed.
#[derive(Debug, Deserialize)]
struct Dependency {
    name: String,
    kind: Option<String>,
}

impl Metadata {
    /// Reads what `cargo metadata --format-version 1 --no-deps` printed.
    pub(crate) fn parse(json: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(json).map_err(|e| format!("cannot read cargo metadata: {e}"))
    }

    /// All members.
    pub(crate) fn packages(&self) -> &[Package] {
        &self.packages
    }

    /// The members that may be published.
    pub(crate) fn published(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|p| p.is_published())
    }
}

impl Package {
    /// Whether it may be published.
    pub(crate) fn is_published(&self) -> bool {
        self.publish.as_ref().is_none_or(|to| !to.is_empty())
    }

    /// What its users build with it: normal and build dependencies, optional ones included, but no dev-dependencies.
    pub(crate) fn shipped_dependencies(&self) -> impl Iterator<Item = &str> {
        let shipped = |d: &&Dependency| d.kind.as_deref() != Some("dev");
        let dependencies = self.dependencies.iter().filter(shipped);
        dependencies.map(|d| d.name.as_str())
    }

    /// Whether docs.rs builds its docs with all features.
    pub(crate) fn documents_all_features(&self) -> bool {
        self.metadata.pointer("/docs/rs/all-features") == Some(&serde_json::Value::Bool(true))
    }

    /// The names of its features.
    pub(crate) fn features(&self) -> impl Iterator<Item = &str> {
        self.features.keys().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docs_rs_metadata_is_read() {
        let package = |metadata: &str| {
            let json = format!(r#"{{"name":"a","publish":null,"dependencies":[],"features":{{}}{metadata}}}"#);
            serde_json::from_str::<Package>(&json).expect("the JSON above has the right shape")
        };
        assert!(package(r#","metadata":{"docs":{"rs":{"all-features":true}}}"#).documents_all_features());
        for partial in ["", r#","metadata":null"#, r#","metadata":{"docs":{"rs":{"all-features":false}}}"#] {
            assert!(!package(partial).documents_all_features(), "{partial}");
        }
    }
}
