//! Checks that forbidden dependencies between crates do not exist.
//!
//! Only direct dependencies that users build are checked, because a
//! test may use crates that its own crate must not use.

use crate::metadata::Metadata;

/// Crates between `llm-core` and the application that must not depend on each other.
const SIBLINGS: [&str; 5] = ["llm-cache", "llm-ratelimit", "llm-keypool", "llm-batch", "llm-providers"];

/// Crates on which `llm-core` must not depend, because it does no I/O.
const FOREIGN_TO_CORE: [&str; 3] = ["tokio", "reqwest", "redis"];

/// Crates with their owners. No other crate may depend on them.
const OWNED: [(&str, &str); 2] = [("reqwest", "llm-providers"), ("redis", "llm-redis")];

/// Returns a sentence for each forbidden dependency, in the order of the packages.
pub(crate) fn violations(metadata: &Metadata) -> Vec<String> {
    let mut found = Vec::new();
    for package in metadata.packages() {
        for dependency in package.shipped_dependencies() {
            if let Some(rule) = broken_rule(package.name.as_str(), package.is_published(), dependency) {
                let name = &package.name;
                found.push(format!("{name} must not depend on {dependency}: {rule}"));
            }
        }
    }
    found
}

/// Returns the rule that a dependency breaks, if there is one; the most specific one if it breaks several.
fn broken_rule(from: &str, published: bool, to: &str) -> Option<String> {
    let is_sibling = |name| SIBLINGS.contains(&name);
    if from == "llm-core" && FOREIGN_TO_CORE.contains(&to) {
        return Some("the vocabulary does no I/O and needs no runtime".to_owned());
    }
    if from == "llm-core" && to.starts_with("llm-") {
        return Some("every crate builds on llm-core, which builds on none".to_owned());
    }
    if is_sibling(from) && is_sibling(to) {
        return Some("there is no arrow between siblings; what both need belongs into llm-core".to_owned());
    }
    if from == "llm-redis" && is_sibling(to) {
        return Some("it is the client below the layers".to_owned());
    }
    if published && to == "llm-testkit" {
        return Some("the testkit is not published, so it can only be a dev-dependency".to_owned());
    }
    let owner = OWNED.iter().find(|(owned, _)| *owned == to)?.1;
    // Examples are applications, which may use any crate.
    let is_free = from == owner || from == "examples";
    (!is_free).then(|| format!("only {owner} names it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the metadata of published packages, each with its dependencies as `name` or `dev:name`.
    fn workspace(packages: &[(&str, &[&str])]) -> Metadata {
        let dependency = |d: &&str| match d.split_once(':') {
            Some((kind, name)) => serde_json::json!({ "name": name, "kind": kind }),
            None => serde_json::json!({ "name": d, "kind": null, "optional": true }),
        };
        let packages: Vec<_> = packages
            .iter()
            .map(|(name, dependencies)| {
                let dependencies: Vec<_> = dependencies.iter().map(dependency).collect();
                serde_json::json!({ "name": name, "publish": null, "dependencies": dependencies, "features": {} })
            })
            .collect();
        let json = serde_json::json!({ "packages": packages }).to_string();
        Metadata::parse(json.as_bytes()).expect("the JSON above has the right shape")
    }

    #[test]
    fn arrows_as_intended_pass() {
        let metadata = workspace(&[
            ("llm-core", &["serde", "tower", "dev:tokio", "dev:llm-testkit"]),
            ("llm-cache", &["llm-core", "llm-redis", "tokio", "dev:llm-providers"]),
            ("llm-providers", &["llm-core", "reqwest", "dev:llm-testkit"]),
            ("llm-redis", &["llm-core", "redis"]),
            ("llm-testkit", &["llm-core", "hyper"]),
            ("examples", &["llm-providers", "reqwest"]),
        ]);
        assert_eq!(violations(&metadata), Vec::<String>::new());
    }

    #[test]
    fn arrows_forbidden_are_explained() {
        for (from, to, why) in [
            ("llm-core", "tokio", "vocabulary"),
            ("llm-core", "reqwest", "vocabulary"),
            ("llm-core", "redis", "vocabulary"),
            ("llm-core", "llm-cache", "builds on none"),
            ("llm-cache", "llm-providers", "siblings"),
            ("llm-batch", "build:llm-keypool", "siblings"),
            ("llm-redis", "llm-ratelimit", "client"),
            ("llm-cache", "reqwest", "only llm-providers"),
            ("llm-testkit", "reqwest", "only llm-providers"),
            ("llm-ratelimit", "redis", "only llm-redis"),
            ("llm-cache", "llm-testkit", "dev-dependency"),
        ] {
            let found = violations(&workspace(&[(from, &["serde", to])]));
            let [one] = found.as_slice() else {
                panic!("{from} -> {to}: {found:?}");
            };
            let culprit = to.rsplit(':').next().unwrap_or(to);
            let start = format!("{from} must not depend on {culprit}: ");
            assert!(one.starts_with(&start) && one.contains(why), "{one}");
        }
    }

    #[test]
    fn arrows_allow_testkit_for_private_packages() {
        let json = br#"{"packages":[{"name":"examples","publish":[],"features":{},
            "dependencies":[{"name":"llm-testkit","kind":null},{"name":"llm-cache","kind":null}]}]}"#;
        let metadata = Metadata::parse(json).expect("the JSON above has the right shape");
        assert_eq!(violations(&metadata), Vec::<String>::new());
    }
}
