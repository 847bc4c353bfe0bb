//! Search for the program `redis-server`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Environment variable with the path of the program.
const VARIABLE: &str = "REDIS_SERVER_BIN";

/// Returns the path in `REDIS_SERVER_BIN`, otherwise that of the program on `PATH`.
///
/// # Panics
///
/// If there is no such program. The message says what to do.
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
    fn redis_server_bin_precedes_path() {
        let found = find(|name| (name == VARIABLE).then(|| "/opt/redis-server".into()));
        assert_eq!(found, Path::new("/opt/redis-server"));
    }

    #[test]
    #[should_panic(expected = "cargo xtask test")]
    fn missing_redis_server_names_the_command() {
        find(|name| (name == "PATH").then(|| "/no/such/directory".into()));
    }
}
