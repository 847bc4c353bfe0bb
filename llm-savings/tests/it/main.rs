//! Tests of llm-savings, by lever and by what logs hold.

mod bdd_trace;
mod cli;
mod damaged_logs;
mod forecast;
mod formats;
mod levers;
mod memory;
mod prompt_caching;
mod report;
mod times;

use llm_savings::{Analysis, Lever, Options, Report, Row};
use serde_json::{Value, json};

/// Analyses lines of JSON with the default options.
fn analysed(lines: &[Value]) -> Report {
    analysed_by(Options::default(), lines)
}

fn analysed_by(options: Options, lines: &[Value]) -> Report {
    let log: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let mut analysis = Analysis::new(options);
    analysis.read(log.as_bytes()).expect("bytes can be read");
    analysis.finish()
}

/// Returns the row whose setting begins so.
fn row<'a>(lever: &'a Lever, setting: &str) -> &'a Row {
    let found = lever.rows().iter().find(|row| row.setting.starts_with(setting));
    found.unwrap_or_else(|| panic!("no `{setting}` among {lever:?}"))
}

/// Returns a chat at a second, of a tenant.
fn chat(second: u64, tenant: &str, text: &str) -> Value {
    json!({
        "ts": 1_764_000_000 + second,
        "tenant": tenant,
        "request": {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": text}]},
        "response": {"usage": {"prompt_tokens": 1_000, "completion_tokens": 500}},
    })
}
