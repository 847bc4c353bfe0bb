//! Check of a trace's keys.

use std::collections::HashMap;

use super::rows::Row;

/// Keys of a header and a scenario, each with the length of its text.
type Text = [u64; 4];

/// Relation between each `key_full` of a tenant and the text that it stands for, in both directions. Made headers rest
/// on it: header and scenario
/// together are equal exactly where `key_full` is.
#[derive(Debug, Default)]
pub(super) struct Keys {
    texts: HashMap<(u64, u64), Text>,
    keys: HashMap<(u64, Text), u64>,
}

impl Keys {
    /// Adds a row. The error says how it contradicts an earlier row.
    pub(super) fn check(&mut self, row: &Row) -> Result<(), String> {
        let text = [row.key_header, row.header_chars as u64, row.key_scenario, row.scenario_chars as u64];
        if *self.texts.entry((row.tenant, row.key_full)).or_insert(text) != text {
            return Err(format!("key_full {} stands for two texts", row.key_full));
        }
        let key = *self.keys.entry((row.tenant, text)).or_insert(row.key_full);
        if key != row.key_full {
            return Err(format!("key_full {key} and {} stand for one text", row.key_full));
        }
        Ok(())
    }
}
