//! Parser for the output of `git log --raw`.

use std::time::{Duration, SystemTime};

/// Prefix of the line before a commit's changes. The time of the commit in Unix seconds follows the prefix.
pub(super) const COMMIT: &str = "commit ";

/// Commit with the files that it added or modified.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Commit {
    /// Time of the commit, or the time of the commit before it if that is later, because a rewritten history may be out
    /// of order.
    pub(super) at: SystemTime,
    pub(super) files: Vec<File>,
}

impl Commit {
    pub(super) fn timed_files(&self) -> impl Iterator<Item = (SystemTime, File)> {
        self.files.iter().map(|file| (self.at, file.clone()))
    }
}

/// File that a commit added or modified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct File {
    /// Name of the blob that holds the content of the file.
    pub(super) blob: String,
    pub(super) is_rust: bool,
}

/// Returns the commits in the order of `log`. Removed files, files that were only moved, links and submodules are left
/// out.
pub(super) fn commits(log: &str) -> Vec<Commit> {
    let mut commits: Vec<Commit> = Vec::new();
    for line in log.lines() {
        if let Some(seconds) = line.strip_prefix(COMMIT) {
            let since = Duration::from_secs(seconds.trim().parse().unwrap_or(0));
            let at = SystemTime::UNIX_EPOCH.checked_add(since).unwrap_or(SystemTime::UNIX_EPOCH);
            let at = commits.last().map_or(at, |before| at.max(before.at));
            commits.push(Commit { at, files: Vec::new() });
        } else if let (Some(file), Some(commit)) = (changed(line), commits.last_mut()) {
            commit.files.push(file);
        }
    }
    commits
}

/// Returns the new file from a line such as `:100644 100644 <old> <new> M<tab>path`. The line for a moved file has a
/// similarity after the letter, and two paths.
fn changed(line: &str) -> Option<File> {
    let (fields, paths) = line.strip_prefix(':')?.split_once('\t')?;
    let mut fields = fields.split(' ');
    let (_, mode, _, blob, status) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let changed = matches!(status, "A" | "M") || (status.starts_with('R') && status != "R100");
    // Git puts unusual names in quotes, so a quote may follow the extension.
    let is_rust = paths.trim_end_matches('"').ends_with(".rs");
    (changed && mode.starts_with("100")).then(|| File { blob: blob.to_owned(), is_rust })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the blobs of each commit, each marked if it is a Rust file.
    fn blobs(log: &str) -> Vec<Vec<String>> {
        let name = |file: &File| format!("{}{}", file.blob, if file.is_rust { " rs" } else { "" });
        commits(log).iter().map(|commit| commit.files.iter().map(name).collect()).collect()
    }

    #[test]
    fn changes_hold_added_and_modified_files() {
        let log = "commit 5\n\n:000000 100644 00 b1 A\tsrc/a.rs\n:000000 100644 00 b2 A\tREADME.md\n\
            :000000 100755 00 b3 A\t\"with\\ttab.rs\"\ncommit 6\ncommit 7\n\n\
            :100644 100644 b1 b4 M\tsrc/a.rs\n";
        assert_eq!(blobs(log), [vec!["b1 rs", "b2", "b3 rs"], vec![], vec!["b4 rs"]]);
    }

    #[test]
    fn changes_hold_moved_files_if_modified() {
        let log = "commit 5\n:100644 100644 b1 b1 R100\ta.rs\tb.rs\n:100644 100644 b1 b2 R087\ta.rs\tb.rs\n\
            :100644 100644 b1 b3 R087\ta.rs\tb.txt\n";
        assert_eq!(blobs(log), [["b2 rs", "b3"]]);
    }

    #[test]
    fn changes_omit_links_submodules_and_removals() {
        let log = "commit 5\n:000000 120000 00 b1 A\ta.rs\n:000000 160000 00 b2 A\tb.rs\n\
            :100644 000000 b3 00 D\tc.rs\nwarning: words\n:broken\ta.rs\n";
        assert_eq!(blobs(log), [Vec::<String>::new()]);
    }

    #[test]
    fn commit_times_never_go_back() {
        let times: Vec<_> = commits("commit 5\ncommit 3\ncommit 9\n").iter().map(|commit| commit.at).collect();
        assert_eq!(times, [5, 5, 9].map(|seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)));
    }
}
