//! The output of `git log --raw`.

/// The line that stands before the changes of each commit, without the commit's name.
pub(super) const COMMIT: &str = "commit ";

/// For each commit of `log`, the names of the blobs of the Rust files that it adds or modifies, in the log's order. A
/// file that was only moved, or is a link or a submodule, is none.
pub(super) fn commits(log: &str) -> Vec<Vec<&str>> {
    let mut commits = Vec::new();
    for line in log.lines() {
        if line.starts_with(COMMIT) {
            commits.push(Vec::new());
        } else if let (Some(blob), Some(commit)) = (changed_blob(line), commits.last_mut()) {
            commit.push(blob);
        }
    }
    commits
}

/// The new blob of a line such as `:100644 100644 <old> <new> M<tab>path`; moved files have a similarity behind the
/// letter, and two paths.
fn changed_blob(line: &str) -> Option<&str> {
    let (facts, paths) = line.strip_prefix(':')?.split_once('\t')?;
    let mut facts = facts.split(' ');
    let (_, mode, _, blob, status) = (facts.next()?, facts.next()?, facts.next()?, facts.next()?, facts.next()?);
    let changed = matches!(status, "A" | "M") || (status.starts_with('R') && status != "R100");
    // Unusual names are quoted.
    let rust = paths.trim_end_matches('"').ends_with(".rs");
    (changed && rust && mode.starts_with("100")).then_some(blob)
}

#[cfg(test)]
mod tests {
    use super::commits;

    #[test]
    fn added_and_modified_rust_files_count() {
        let log = "commit aa\n\n:000000 100644 00 b1 A\tsrc/a.rs\n:000000 100644 00 b2 A\tREADME.md\n\
            :000000 100755 00 b3 A\t\"with\\ttab.rs\"\ncommit bb\ncommit cc\n\n\
            :100644 100644 b1 b4 M\tsrc/a.rs\n";
        assert_eq!(commits(log), [vec!["b1", "b3"], vec![], vec!["b4"]]);
    }

    #[test]
    fn moved_files_count_when_they_were_changed() {
        let log = "commit aa\n:100644 100644 b1 b1 R100\ta.rs\tb.rs\n:100644 100644 b1 b2 R087\ta.rs\tb.rs\n\
            :100644 100644 b1 b3 R087\ta.rs\tb.txt\n";
        assert_eq!(commits(log), [["b2"]]);
    }

    #[test]
    fn links_submodules_removals_and_other_lines_do_not_count() {
        let log = "commit aa\n:000000 120000 00 b1 A\ta.rs\n:000000 160000 00 b2 A\tb.rs\n\
            :100644 000000 b3 00 D\tc.rs\nwarning: words\n:broken\ta.rs\n";
        assert_eq!(commits(log), [Vec::<&str>::new()]);
    }
}
