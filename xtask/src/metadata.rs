//! Part of `cargo metadata` that the checks read.

use std::{collections::BTreeMap, path::PathBuf};

use serde::Deserialize;

/// Packages of the workspace, without their dependencies, and the target directory.
#[derive(Debug, Deserialize)]
pub(crate) struct Metadata {
    packages: Vec<Package>,
    /// Directory in which cargo builds.
    #[serde(default)]
    pub(crate) target_directory: PathBuf,
}

/// Member of the workspace.
#[derive(Debug, Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    /// Registries to which the package may be published: `None` means any, and an empty list is `publish = false`.
    publish: Option<Vec<String>>,
    dependencies: Vec<Dependency>,
    /// All features, including those of optional dependencies, sorted.
    features: BTreeMap<String, Vec<String>>,
    /// Table `package.metadata` of the manifest.
    #[serde(default)]
    metadata: serde_json::Value,
}

/// Dependency as a manifest states it. `name` is the name of the package, even if the dependency is renamed.
#[derive(Debug, Deserialize)]
struct Dependency {
    name: String,
    kind: Option<String>,
}

impl Metadata {
    /// Reads the output of `cargo metadata --format-version 1 --no-deps`.
    pub(crate) fn parse(json: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(json).map_err(|e| format!("cannot read cargo metadata: {e}"))
    }

    /// Returns all members.
    pub(crate) fn packages(&self) -> &[Package] {
        &self.packages
    }

    /// Returns the members that may be published.
    pub(crate) fn published(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|p| p.is_published())
    }
}

impl Package {
    /// Returns true if the package may be published.
    pub(crate) fn is_published(&self) -> bool {
        self.publish.as_ref().is_none_or(|to| !to.is_empty())
    }

    /// Returns the dependencies that users build: normal and build dependencies, also optional ones, but no
    /// dev-dependencies.
    pub(crate) fn shipped_dependencies(&self) -> impl Iterator<Item = &str> {
        let shipped = |d: &&Dependency| d.kind.as_deref() != Some("dev");
        let dependencies = self.dependencies.iter().filter(shipped);
        dependencies.map(|d| d.name.as_str())
    }

    /// Returns true if docs.rs builds the package's docs with all features.
    pub(crate) fn documents_all_features(&self) -> bool {
        self.metadata.pointer("/docs/rs/all-features") == Some(&serde_json::Value::Bool(true))
    }

    /// Returns the names of the package's features.
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
