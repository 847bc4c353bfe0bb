//! Reader of versions in `Cargo.lock`, line by line.

use std::cmp::Ordering;

/// Returns the highest version of package `name` in the text of a `Cargo.lock`.
#[must_use]
pub fn highest_version<'a>(lock: &'a str, name: &str) -> Option<&'a str> {
    packages(lock).filter(|(package, _)| *package == name).map(|(_, version)| version).max_by(|a, b| compare(a, b))
}

/// Returns the name and version of each `[[package]]`. Cargo writes the two lines in this order, directly below the
/// heading.
fn packages(lock: &str) -> impl Iterator<Item = (&str, &str)> {
    lock.split("[[package]]").skip(1).filter_map(|package| Some((value(package, "name")?, value(package, "version")?)))
}

/// Returns the quoted value of the first line `key = "…"`.
fn value<'a>(package: &'a str, key: &str) -> Option<&'a str> {
    package.lines().find_map(|line| {
        line.strip_prefix(key)?.trim_start().strip_prefix('=')?.trim().strip_prefix('"')?.strip_suffix('"')
    })
}

/// Compares versions: by their numbers, then a pre-release before its release. Pre-releases of the same numbers compare
/// as text, build data last.
fn compare(a: &str, b: &str) -> Ordering {
    let split = |version: &str| {
        let (rest, _) = version.split_once('+').unwrap_or((version, ""));
        let (numbers, pre) = rest.split_once('-').map_or((rest, None), |(n, p)| (n, Some(p.to_owned())));
        (numbers.split('.').map(|n| n.parse::<u64>().unwrap_or(0)).collect::<Vec<_>>(), pre)
    };
    let ((numbers_a, pre_a), (numbers_b, pre_b)) = (split(a), split(b));
    numbers_a
        .cmp(&numbers_b)
        .then_with(|| pre_a.is_none().cmp(&pre_b.is_none()))
        .then_with(|| pre_a.cmp(&pre_b))
        .then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::highest_version;

    const LOCK: &str = r#"version = 4

[[package]]
name = "http"
version = "0.2.12"
source = "registry"
dependencies = [
 "bytes",
]

[[package]]
name = "http"
version = "1.10.0"

[[package]]
name = "http"
version = "1.9.0"

[[package]]
name = "http-body"
version = "2.0.0-rc.1"

[[package]]
name = "http-body"
version = "2.0.0"
"#;

    #[test]
    fn lock_compares_versions_by_number() {
        assert_eq!(highest_version(LOCK, "http"), Some("1.10.0"));
        assert_eq!(highest_version(LOCK, "http-body"), Some("2.0.0"));
    }

    #[test]
    fn lock_matches_whole_package_names_only() {
        assert_eq!(highest_version(LOCK, "bytes"), None);
        assert_eq!(highest_version(LOCK, "htt"), None);
        assert_eq!(highest_version("", "http"), None);
    }
}
