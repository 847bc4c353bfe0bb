//! Compares the names of the metrics in the code, in their descriptions and on the page that lists them.

use std::{collections::BTreeSet, fs, path::Path};

const CRATES: [&str; 8] =
    ["llm-batch", "llm-cache", "llm-core", "llm-keypool", "llm-providers", "llm-ratelimit", "llm-redis", "llm-testkit"];
/// Endings that distinguish names of metrics from other words.
const ENDINGS: [&str; 10] = [
    "_total",
    "_seconds",
    "_entries",
    "_bytes",
    "_up",
    "_in_flight",
    "_calls",
    "_ratio",
    "_least_share_left",
    "_tenant_share_left",
];

/// Beginning of the description of a metric.
const DESCRIBE: &str = "describe_counter!(";

/// Returns the names between two of `mark`, such as string literals.
fn names(text: &str, mark: char) -> BTreeSet<String> {
    let is_name = |word: &&str| {
        word.starts_with("llm_")
            && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
            && ENDINGS.iter().any(|ending| word.ends_with(ending))
    };
    text.split(mark).filter(is_name).map(str::to_owned).collect()
}

/// Returns the names in a table that records and describes each of its metrics.
fn table(text: &str) -> BTreeSet<String> {
    let table = text.split("\ncounts! {").nth(1).and_then(|rest| rest.split("\n}").next());
    table.map(|table| names(table, '"')).unwrap_or_default()
}

fn sources(directory: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(directory).expect("a crate has sources") {
        let path = entry.expect("it can be read").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            found.push((name, fs::read_to_string(&path).expect("it is text")));
        }
    }
}

#[test]
fn metrics_page_lists_every_recorded_metric() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let (mut recorded, mut described) = (BTreeSet::new(), BTreeSet::new());
    for member in CRATES {
        let mut files = Vec::new();
        sources(&root.join(member).join("src"), &mut files);
        for (_, text) in files {
            let text = text.replace("describe_gauge!(", DESCRIBE).replace("describe_histogram!(", DESCRIBE);
            let mut parts = text.split(DESCRIBE);
            recorded.extend(names(parts.next().unwrap_or_default(), '"'));
            for part in parts {
                let (description, rest) = part.split_once(");").expect("a description ends");
                described.extend(names(description, '"'));
                recorded.extend(names(rest, '"'));
            }
            described.extend(table(&text));
        }
    }
    let page = fs::read_to_string(root.join("docs/metrics.md")).expect("the page is there");
    let rows: String = page.lines().filter(|line| line.starts_with("| `llm_")).collect();
    assert!(recorded.len() > 40, "{recorded:?}");
    assert_eq!(described, recorded, "each metric is described");
    assert_eq!(names(&rows, '`'), recorded, "each metric is on the page, and no other");
}

#[test]
fn metric_macros_name_known_endings() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    for member in CRATES {
        let mut files = Vec::new();
        sources(&root.join(member).join("src"), &mut files);
        for (file, text) in files {
            for call in ["counter!(\"", "gauge!(\"", "histogram!(\""].iter().flat_map(|start| text.split(start).skip(1))
            {
                let name = call.split('"').next().unwrap_or_default();
                assert!(names(name, '"').contains(name), "{member}: {file} records {name:?}: add its ending");
            }
        }
    }
}
