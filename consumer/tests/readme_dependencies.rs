//! Tests that the manifest of this package has the README's dependency lines.

/// Returns the dependency lines of the README's TOML block, with paths in place of the repository's URL.
fn readme_dependencies() -> Vec<String> {
    let readme = include_str!("../../README.md");
    let block = readme.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next());
    let lines = block.expect("the README has a TOML block").lines().filter(|line| !line.trim().is_empty());
    let with_path = |line: &str| {
        let name = line.split(' ').next().unwrap_or_default();
        line.replace("git = \"URL of this repository\"", &format!("path = \"../{name}\""))
    };
    lines.map(with_path).collect()
}

#[test]
fn readme_dependencies_equal_this_manifest() {
    let manifest = include_str!("../Cargo.toml");
    let section = manifest.split("[dependencies]\n").nth(1).and_then(|rest| rest.split("\n\n").next());
    let stated: Vec<&str> = section.expect("the manifest has dependencies").lines().collect();
    assert_eq!(readme_dependencies(), stated);
}
