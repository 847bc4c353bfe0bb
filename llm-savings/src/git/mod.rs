//! Histories of git repositories, as requests of an application that regenerates the items of each changed file.
//!
//! The history is read with the `git` program. In Rust an item is a public function with its docs, in other languages
//! an unindented line with the indented lines that follow it.

mod blocks;
mod changes;
mod command;
mod functions;
mod mask;

use std::{ffi::OsString, path::Path, time::SystemTime, vec};

use crate::record::{Prompt, Record, Segment, SegmentKind};
use changes::{Commit, File};
pub use command::GitError;
use command::{Blobs, Git};
pub use functions::public_functions;

/// Part of a git repository below a directory.
///
/// ```no_run
/// use llm_savings::{Analysis, Options, git::Repository};
///
/// let mut analysis = Analysis::new(Options::default());
/// for change in Repository::new(".").changes(None, &["**/*.rs".into()])? {
///     analysis.extend(change?.into_records());
/// }
/// println!("{}", analysis.finish());
/// # Ok::<_, llm_savings::git::GitError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Repository(Git);

/// File that a commit added or modified.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Change {
    /// Time of the commit, or the time of the commit before it if that is later.
    pub at: SystemTime,
    /// Items of the file, in order; empty if the file is not text.
    pub items: Vec<String>,
}

/// Changed files of a history, oldest first.
#[derive(Debug)]
pub struct Changes {
    commits: usize,
    files: vec::IntoIter<(SystemTime, File)>,
    blobs: Blobs,
}

impl Repository {
    /// Creates a reader of the repository that contains the directory.
    pub fn new(root: impl AsRef<Path>) -> Self {
        Self(Git { program: "git".into(), root: root.as_ref().to_owned(), env: Vec::new() })
    }

    /// Sets the program to run instead of `git`.
    pub fn program(mut self, program: impl Into<OsString>) -> Self {
        self.0.program = program.into();
        self
    }

    /// Sets a variable in the program's environment.
    pub fn env(mut self, name: &'static str, value: impl Into<OsString>) -> Self {
        self.0.env.push((name, value.into()));
        self
    }

    /// Returns the abbreviated hash of the current commit.
    ///
    /// # Errors
    ///
    /// There is no repository, or no commit. The error says what to do.
    pub fn revision(&self) -> Result<String, GitError> {
        command::revision(&self.0)
    }

    /// Returns the files that the newest `commits` commits (all if `None`) added or modified and that match one of
    /// `globs`, in which `*` stands for a part of a name and `**/` for any directories. Merges, moved files, links and
    /// submodules are left out.
    ///
    /// # Errors
    ///
    /// The history cannot be read. The error says what to do.
    pub fn changes(&self, commits: Option<usize>, globs: &[String]) -> Result<Changes, GitError> {
        if command::is_shallow(&self.0)? {
            return Err(GitError::new("the clone is shallow: git fetch --unshallow brings the rest"));
        }
        let log = command::log(&self.0, commits, globs)?;
        let commits = changes::commits(&log);
        let files: Vec<_> = commits.iter().flat_map(Commit::timed_files).collect();
        Ok(Changes { commits: commits.len(), files: files.into_iter(), blobs: Blobs::start(&self.0)? })
    }
}

impl Changes {
    /// Returns the number of commits that were read, including those without a matching file.
    pub fn commits(&self) -> usize {
        self.commits
    }
}

impl Iterator for Changes {
    type Item = Result<Change, GitError>;

    fn next(&mut self) -> Option<Self::Item> {
        let (at, File { blob, is_rust }) = self.files.next()?;
        Some(self.blobs.read(&blob).map(|text| Change { at, items: items(&text, is_rust) }))
    }
}

impl Change {
    /// Returns a record of a request for each item. A record states only the texts and the time of its request.
    pub fn into_records(self) -> impl Iterator<Item = Record> {
        let at = self.at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let time = u64::try_from(at.as_millis()).ok();
        self.items.into_iter().map(move |item| {
            let prompt = Prompt::whole(vec![Segment::new(SegmentKind::User, item)]);
            Record { time, prompt: Some(prompt), ..Record::new("") }
        })
    }
}

fn items(text: &str, is_rust: bool) -> Vec<String> {
    match (is_rust, text.contains('\0')) {
        (true, _) => public_functions(text),
        (false, true) => Vec::new(),
        (false, false) => blocks::indented_blocks(text),
    }
}
