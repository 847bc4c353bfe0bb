//! The output of `git log --raw`.

use std::time::{Duration, SystemTime};

/// What stands before a commit's time, in unix seconds, on the line before its changes.
pub(super) const COMMIT: &str = "commit ";

/// What one commit added or modified.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Commit<'a> {
    /// When, but never before an earlier commit: a history may have been rewritten.
    pub(super) at: SystemTime,
    pub(super) files: Vec<File<'a>>,
}

/// A file that a commit added or modified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct File<'a> {
    /// The name of its content.
    pub(super) blob: &'a str,
    pub(super) is_rust: bool,
}

/// The commits of `log` with the files that each adds or modifies, in the log's order. A file that was only moved, or is a
/// link or a submodule, is none.
pub(super) fn commits(log: &str) -> Vec<Commit<'_>> {
    let mut commits: Vec<Commit<'_>> = Vec::new();
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

/// The new file of a line such as `:100644 100644 <old> <new> M<tab>path`; moved files have a similarity behind the letter,
/// and two paths.
fn changed(line: &str) -> Option<File<'_>> {
    let (accounting, paths) = line.strip_prefix(':')?.split_once('\t')?;
    let mut accounting = accounting.split(' ');
    let (_, mode, _, blob, status) =
        (accounting.next()?, accounting.next()?, accounting.next()?, accounting.next()?, accounting.next()?);
    let changed = matches!(status, "A" | "M") || (status.starts_with('R') && status != "R100");
    // Unusual names are quoted.
    let is_rust = paths.trim_end_matches('"').ends_with(".rs");
    (changed && mode.starts_with("100")).then_some(File { blob, is_rust })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The blobs of each commit, with a mark at those that are Rust.
    fn blobs(log: &str) -> Vec<Vec<String>> {
        let name = |file: &File<'_>| format!("{}{}", file.blob, if file.is_rust { " rs" } else { "" });
        commits(log).iter().map(|commit| commit.files.iter().map(name).collect()).collect()
    }

    #[test]
    fn added_and_modified_files_count() {
        let log = "commit 5\n\n:000000 100644 00 b1 A\tsrc/a.rs\n:000000 100644 00 b2 A\tREADME.md\n\
            :000000 100755 00 b3 A\t\"with\\ttab.rs\"\ncommit 6\ncommit 7\n\n\
            :100644 100644 b1 b4 M\tsrc/a.rs\n";
        assert_eq!(blobs(log), [vec!["b1 rs", "b2", "b3 rs"], vec![], vec!["b4 rs"]]);
    }

    #[test]
    fn moved_files_count_when_they_were_changed() {
        let log = "commit 5\n:100644 100644 b1 b1 R100\ta.rs\tb.rs\n:100644 100644 b1 b2 R087\ta.rs\tb.rs\n\
            :100644 100644 b1 b3 R087\ta.rs\tb.txt\n";
        assert_eq!(blobs(log), [["b2 rs", "b3"]]);
    }

    #[test]
    fn links_submodules_removals_and_other_lines_do_not_count() {
        let log = "commit 5\n:000000 120000 00 b1 A\ta.rs\n:000000 160000 00 b2 A\tb.rs\n\
            :100644 000000 b3 00 D\tc.rs\nwarning: words\n:broken\ta.rs\n";
        assert_eq!(blobs(log), [Vec::<String>::new()]);
    }

    #[test]
    fn times_never_go_back() {
        let times: Vec<_> = commits("commit 5\ncommit 3\ncommit 9\n").iter().map(|commit| commit.at).collect();
        assert_eq!(times, [5, 5, 9].map(|seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)));
    }
}
