//! Databases of other programs.

use redb::TableHandle;

/// Tables of `llm-ratelimit`'s balances, which identify such a file.
const BALANCE_TABLES: [&str; 2] = ["balances", "facts"];

/// Names the contents of a database that has tables, but none that is called `own`.
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
