//! Where `redis-server` is.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The variable that names the program.
const VARIABLE: &str = "REDIS_SERVER_BIN";

/// Looks into `REDIS_SERVER_BIN`, then through `PATH`.
///
/// # Panics
///
/// If there is none; the message says what to do.
pub(super) fn find(lookup: impl Fn(&str) -> Option<OsString>) -> PathBuf {
    if let Some(named) = lookup(VARIABLE).filter(|name| !name.is_empty()) {
        return named.into();
    }
    let path = lookup("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|directory| directory.join("redis-server")).find(|file| is_file(file));
    found.unwrap_or_else(|| {
        panic!(
            "there is no redis-server; run `cargo xtask test`, which installs it or says how, or set {VARIABLE} to \
             its path"
        )
    })
}

fn is_file(path: &Path) -> bool {
    path.is_file()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_goes_before_the_path() {
        let found = find(|name| (name == VARIABLE).then(|| "/opt/redis-server".into()));
        assert_eq!(found, Path::new("/opt/redis-server"));
    }

    #[test]
    #[should_panic(expected = "cargo xtask test")]
    fn a_missing_program_says_what_to_run() {
        find(|name| (name == "PATH").then(|| "/no/such/directory".into()));
    }
}
