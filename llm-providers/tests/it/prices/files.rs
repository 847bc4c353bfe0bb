//! Tests of price files: reading, refusal and replacement.

use std::{fs, path::PathBuf};

use llm_core::Usage;
use llm_providers::{
    Ledger,
    prices::{self, LoadError},
};

/// File of one test, which is removed at its end.
struct File(PathBuf);

impl File {
    fn new(name: &str, content: &str) -> Self {
        let path = std::env::temp_dir().join(format!("llm-providers-prices-{}-{name}.json", std::process::id()));
        fs::write(&path, content).unwrap();
        Self(path)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

const DEARER: &str = r#"{"as_of": "2027-01-01", "models": {"gpt-4o": {"rows": [{"input": "9", "output": "9"}]}}}"#;

#[test]
fn replace_prices_from_loaded_file() {
    let file = File::new("good", DEARER);
    let ledger = Ledger::new(prices::openai());
    let before = ledger.replace_prices(prices::load(&file.0).unwrap());
    assert_eq!(before.as_of(), "2026-11-21");
    assert_eq!(ledger.prices().cost("gpt-4o", &Usage::new(1, 0)).unwrap().nanos(), 9_000);
    assert_eq!(ledger.snapshot().prices_as_of(), "2027-01-01");
}

#[test]
fn load_invalid_file_names_place() {
    let file = File::new("bad", &DEARER.replace("\"output\": \"9\"", "\"output\": \"-9\""));
    let error = prices::load(&file.0).unwrap_err();
    assert!(matches!(error, LoadError::Table { .. }));
    let text = error.to_string();
    assert!(text.contains("rows[0].output of \"gpt-4o\"") && text.contains("negative"), "{text}");
}

#[test]
fn load_missing_file_names_it() {
    let error = prices::load("no-such-prices.json").unwrap_err();
    assert!(matches!(error, LoadError::Read { .. }) && error.to_string().contains("no-such-prices.json"));
}
