use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
    time::Duration,
};

use flate2::bufread::MultiGzDecoder;
use serde::Deserialize;

use super::{Request, Workload};

/// Trace of regenerated test cases: a row for each scenario of every feature file that a commit added or modified.
const BDD: &str = "bdd_regen_trace.csv.gz";
/// Trace of a web server's log.
const WEB: &str = "elastic_apache_urls.csv.gz";
/// Trace of conversations with a chat model.
const MOONCAKE: &str = "mooncake_conversation.jsonl.gz";

/// Error of a trace that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// File that cannot be read.
    #[error("{}: {cause} (the directory must hold {BDD}, {WEB} and {MOONCAKE})", path.display())]
    Io {
        /// Path of the file.
        path: PathBuf,
        /// Cause reported by the operating system.
        cause: io::Error,
    },
    /// Line that cannot be parsed.
    #[error("{}, line {line}: {what}", path.display())]
    Line {
        /// Path of the file.
        path: PathBuf,
        /// Number of the line, starting at 1.
        line: u64,
        /// Description of what is wrong.
        what: String,
    },
}

/// Reads the public traces in a directory. A trace is returned several times if several columns can define "the same
/// request".
///
/// # Errors
///
/// If a file is missing or a line cannot be read.
pub fn read(directory: &Path) -> Result<Vec<Workload>, TraceError> {
    let bdd = |prompt| table(directory.join(BDD), prompt, Some("tenant"));
    let web = table(directory.join(WEB), "url_id", None)?;
    let (requests, blocks) = conversations(directory.join(MOONCAKE))?;
    Ok(vec![
        Workload::new("BDD regeneration, key_full: header, background and scenario", bdd("key_full")?),
        Workload::new("BDD regeneration, key_scenario: the scenario alone", bdd("key_scenario")?),
        Workload::new("web log (elastic), a URL: a control, no LLM workload", web),
        Workload::new("Mooncake conversations, the full request", requests),
        Workload::new("Mooncake conversations, each 512-token block with all before it", blocks),
    ])
}

/// Reads a CSV file with a column `ts` for the time in seconds, a column with the request's number, and optionally a
/// column with the tenant's number.
fn table(path: PathBuf, prompt: &str, tenant: Option<&str>) -> Result<Vec<Request>, TraceError> {
    let columns: Vec<&str> = ["ts", prompt].into_iter().chain(tenant).collect();
    let mut places = Vec::new();
    let rows = each_line(path, |line| {
        let fields: Vec<&str> = line.split(',').collect();
        if places.is_empty() {
            let place =
                |name| fields.iter().position(|field| *field == name).ok_or(format!("there is no column {name}"));
            places = columns.iter().map(|name| place(*name)).collect::<Result<_, _>>()?;
            return Ok(None);
        }
        let number = |column: usize| fields.get(*places.get(column)?)?.parse::<u32>().ok();
        let request = || {
            let tenant = if tenant.is_some() { u8::try_from(number(2)?).ok()? } else { 0 };
            Some(Request { at: Duration::from_secs(number(0)?.into()), tenant, prompt: number(1)? })
        };
        request().map(Some).ok_or(format!("{} should be numbers that are not too great", columns.join(", ")))
    })?;
    Ok(rows.into_iter().flatten().collect())
}

/// Line in the trace of conversations.
#[derive(Deserialize)]
struct ConversationLine {
    timestamp: u64,
    input_length: u64,
    hash_ids: Vec<u32>,
}

/// Reads the conversations as two series: the whole requests, and the blocks of each request. A block's number stands
/// for all text up to the end of the block.
fn conversations(path: PathBuf) -> Result<(Vec<Request>, Vec<Request>), TraceError> {
    let (mut numbers, mut requests, mut blocks) = (HashMap::new(), Vec::new(), Vec::new());
    each_line(path, |line| {
        let ConversationLine { timestamp, input_length, hash_ids } =
            serde_json::from_str(line).map_err(|e| e.to_string())?;
        let request = |prompt| Request { at: Duration::from_millis(timestamp), tenant: 0, prompt };
        blocks.extend(hash_ids.iter().map(|id| request(*id)));
        let next = u32::try_from(numbers.len()).map_err(|_| "there are too many requests")?;
        requests.push(request(*numbers.entry((hash_ids, input_length)).or_insert(next)));
        Ok(())
    })?;
    Ok((requests, blocks))
}

fn each_line<T>(path: PathBuf, mut read: impl FnMut(&str) -> Result<T, String>) -> Result<Vec<T>, TraceError> {
    let io = |cause| TraceError::Io { path: path.clone(), cause };
    let file = MultiGzDecoder::new(BufReader::new(File::open(&path).map_err(io)?));
    let lines = BufReader::new(file).lines().zip(1..);
    let read = |(text, line): (io::Result<String>, u64)| {
        read(text.map_err(io)?.trim_end()).map_err(|what| TraceError::Line { path: path.clone(), line, what })
    };
    lines.map(read).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    /// Writes the three files to a directory and reads them. Returns the length and the number of different requests
    /// of each series, or the error.
    fn series(name: &str, files: [&str; 3]) -> Result<Vec<(usize, usize)>, String> {
        let directory = std::env::temp_dir().join(format!("llm-benches-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("a temporary directory");
        for (name, text) in [BDD, WEB, MOONCAKE].into_iter().zip(files) {
            let file = File::create(directory.join(name)).expect("a file");
            let mut packed = GzEncoder::new(file, Compression::fast());
            packed.write_all(text.as_bytes()).and_then(|()| packed.finish().map(drop)).expect("it can be written");
        }
        let read = read(&directory).map_err(|e| e.to_string());
        std::fs::remove_dir_all(&directory).expect("it was made above");
        read.map(|series| series.iter().map(|one| (one.requests.len(), one.distinct())).collect())
    }

    const TABLE: &str = "ts,tenant,key_scenario,key_full\n5,0,1,1\n6,0,1,2\n7,1,1,2\n";
    const LOG: &str = "ts,client,url_id\n5,9,3\n5,8,3\n";
    const REQUESTS: &str = "{\"timestamp\": 0, \"input_length\": 600, \"hash_ids\": [0, 1]}\n\
        {\"timestamp\": 9, \"input_length\": 600, \"hash_ids\": [0, 1]}\n\
        {\"timestamp\": 9, \"input_length\": 601, \"hash_ids\": [0, 2]}\n";

    #[test]
    fn traces_split_series_by_key_kind() {
        assert_eq!(series("good", [TABLE, LOG, REQUESTS]), Ok(vec![(3, 3), (3, 2), (2, 1), (3, 2), (6, 3)]));
    }

    #[test]
    fn traces_error_names_unreadable_line() {
        let error = |name, files| series(name, files).expect_err("it is wrong");
        let broken = TABLE.replace("7,1,", "7,x,");
        assert!(
            error("row", [&broken, LOG, REQUESTS]).contains("bdd_regen_trace.csv.gz, line 4: ts, key_full, tenant")
        );
        assert!(error("column", [TABLE, "ts\n1\n", REQUESTS]).ends_with("line 1: there is no column url_id"));
        assert!(error("json", [TABLE, LOG, "{}\n"]).contains("line 1: missing field `timestamp`"));
        assert!(read(Path::new("no-such-directory")).expect_err("missing").to_string().contains("must hold"));
    }
}
