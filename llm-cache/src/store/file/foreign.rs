//! Recognition of databases of other programs.

use redb::TableHandle;

/// Tables that identify a file of `llm-ratelimit`'s balances.
const BALANCE_TABLES: [&str; 2] = ["balances", "facts"];

/// Returns a description of a database that has tables, but none with the name `own`.
pub(super) fn foreign(tables: impl Iterator<Item = impl TableHandle>, own: &str) -> Option<String> {
    let tables: Vec<String> = tables.map(|table| table.name().to_owned()).collect();
    let has = |name: &str| tables.iter().any(|table| table == name);
    if tables.is_empty() || has(own) {
        return None;
    }
    Some(match BALANCE_TABLES.into_iter().all(has) {
        true => "holds the balances of llm-ratelimit".to_owned(),
        false => format!("is the database of another program, with the tables {}", tables.join(", ")),
    })
}
