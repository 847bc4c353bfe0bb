//! Compares the dashboard and the alert rules in `deploy/` with the page that lists all metrics.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Endings that Prometheus adds to a histogram's name.
const HISTOGRAM: [&str; 3] = ["_bucket", "_sum", "_count"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

/// Returns the kind and labels of each metric, from the rows of the page.
fn listed() -> BTreeMap<String, (String, BTreeSet<String>)> {
    let page = fs::read_to_string(root().join("docs/metrics.md")).expect("the page is there");
    let rows = page.lines().filter(|line| line.starts_with("| `llm_"));
    rows.map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        // Values follow a colon: `outcome`: `complete`, `failed`.
        let labels = cells[3].split(':').next().expect("a first part").split('`').filter(|word| is_label(word));
        (cells[1].trim_matches('`').to_owned(), (cells[2].to_owned(), labels.map(str::to_owned).collect()))
    })
    .collect()
}

fn is_label(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
}

/// Returns the expressions of the dashboard's panels and of the alert rules.
fn expressions() -> Vec<String> {
    let read = |name: &str| fs::read_to_string(root().join("deploy").join(name)).expect(name);
    let dashboard: serde_json::Value = serde_json::from_str(&read("grafana-dashboard.json")).expect("it is JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let mut all: Vec<String> =
        targets.map(|target| target["expr"].as_str().expect("an expression").to_owned()).collect();
    let rules = read("alerts.yml");
    let rules = rules.split("- alert: ").skip(1).map(|rule| {
        let (_, expression) = rule.split_once("expr: ").expect("each alert has an expression");
        let end = ["\n        for:", "\n        labels:"].into_iter().filter_map(|next| expression.find(next)).min();
        expression[..end.expect("labels follow")].to_owned()
    });
    all.extend(rules);
    all
}

/// Returns the words of an expression that are names of metrics.
fn metrics(expression: &str) -> impl Iterator<Item = &str> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("llm_"))
}

#[test]
fn deployment_names_only_listed_metrics() {
    let listed = listed();
    let expressions = expressions();
    assert!(expressions.len() > 30, "{}", expressions.len());
    for expression in &expressions {
        assert!(metrics(expression).next().is_some(), "{expression} names no metric");
        for name in metrics(expression) {
            let histogram = HISTOGRAM.iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(name);
            let (kind, _) = listed.get(histogram).unwrap_or_else(|| panic!("{name} is not on the page: {expression}"));
            assert_eq!(kind == "histogram", histogram != name, "{name} is a {kind}: {expression}");
        }
    }
}

#[test]
fn deployment_groups_by_listed_labels() {
    let listed = listed();
    for expression in expressions() {
        for group in expression.split(" by (").skip(1) {
            let (labels, rest) = group.split_once(')').expect("it closes");
            let name = metrics(rest).next().expect("a metric follows");
            let name = HISTOGRAM.iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(name);
            for label in labels.split(',').map(str::trim).filter(|label| *label != "le") {
                assert!(listed[name].1.contains(label), "{name} has no label {label}: {expression}");
            }
        }
    }
}

#[test]
fn deployment_alerts_on_each_danger() {
    let rules = fs::read_to_string(root().join("deploy/alerts.yml")).expect("it is there");
    for alert in ["BudgetAlmostSpent", "AllKeysParked", "HitRateDropped", "QueueLong", "StoreDown", "ErrorRate"] {
        assert!(rules.contains(&format!("- alert: Llm{alert}\n")), "{alert}");
    }
}
