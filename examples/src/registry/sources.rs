//! Search for the sources of a crate.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

/// Returns Cargo's home: `CARGO_HOME`, or else `.cargo` in the user's home directory. `var` looks up environment
/// variables; an
/// empty one counts as absent.
pub(super) fn cargo_home(var: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let set = |name| var(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("CARGO_HOME").or_else(|| set("HOME").or_else(|| set("USERPROFILE")).map(|home| home.join(".cargo")))
}

/// Returns the directory of `name` at `version`: in any registry of `home`, or else in `workspace/vendor`, where `cargo
/// vendor` may leave the version out of the directory's name.
pub(super) fn find(workspace: &Path, home: Option<&Path>, name: &str, version: &str) -> Option<PathBuf> {
    let directory = format!("{name}-{version}");
    let mut places: Vec<_> = home.into_iter().flat_map(registries).map(|registry| registry.join(&directory)).collect();
    places.push(workspace.join("vendor").join(&directory));
    let unversioned = workspace.join("vendor").join(name);
    if has_version(&unversioned, version) {
        places.push(unversioned);
    }
    places.into_iter().find(|root| root.join("src").is_dir())
}

/// Returns the unpacked registries in Cargo's home, sorted.
fn registries(home: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(home.join("registry").join("src")) else { return Vec::new() };
    let mut found: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    found.sort();
    found
}

/// Returns `true` if the manifest in `root` states `version`.
fn has_version(root: &Path, version: &str) -> bool {
    let line = format!("version = \"{version}\"");
    fs::read_to_string(root.join("Cargo.toml")).is_ok_and(|manifest| manifest.lines().any(|l| l.trim() == line))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::scratch::Scratch;

    fn home(vars: &[(&str, &str)]) -> Option<PathBuf> {
        cargo_home(|name| vars.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into()))
    }

    #[test]
    fn sources_prefer_cargo_home_unless_empty() {
        assert_eq!(home(&[("CARGO_HOME", "c"), ("HOME", "h")]), Some("c".into()));
        assert_eq!(home(&[("CARGO_HOME", ""), ("HOME", "h")]), Some(Path::new("h").join(".cargo")));
        assert_eq!(home(&[("USERPROFILE", "u")]), Some(Path::new("u").join(".cargo")));
        assert_eq!(home(&[]), None);
    }

    #[test]
    fn sources_check_version_of_unversioned_vendor_directory() {
        let scratch = Scratch::new();
        scratch.file("vendor/bytes/src/lib.rs", "");
        scratch.file("vendor/bytes/Cargo.toml", "[package]\nversion = \"1.0.0\"\n");
        assert_eq!(find(scratch.path(), None, "bytes", "1.0.0"), Some(scratch.path().join("vendor/bytes")));
        assert_eq!(find(scratch.path(), None, "bytes", "1.0.1"), None);
    }

    #[test]
    fn sources_search_every_registry_of_home() {
        let scratch = Scratch::new();
        scratch.file("registry/src/a/other-1.0.0/src/lib.rs", "");
        scratch.file("registry/src/b/bytes-1.0.0/src/lib.rs", "");
        let found = find(Path::new("none"), Some(scratch.path()), "bytes", "1.0.0");
        assert_eq!(found, Some(scratch.path().join("registry/src/b/bytes-1.0.0")));
    }
}
