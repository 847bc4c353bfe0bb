//! "Regenerate what changed": the history of a repository, one request per item of each file that a commit adds or
//! modifies. Such requests repeat much, as most items of a changed file stay as they were.
//!
//! The history is read with the `git` binary. Of this project, the Rust files of the newest commits are requested. If
//! that history cannot be read (no git, a shallow clone, an ownership that git refuses), the files of the working tree
//! stand in,
//! and the reason is kept. Of any other repository all commits are read, for files of any kind, at the commits' times.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use crate::error::Error;
use crate::tree;
use crate::workload::{Request, Source};
use llm_savings::git::{GitError, Repository, public_functions};

/// Number of this project's newest commits that are read, without merges.
pub const COMMITS: usize = 200;

/// Largest number of requests from this project's history, counted from the oldest of these commits.
pub const CALLS: usize = 5_000;

/// Largest number of requests from another repository's history, counted from its oldest commit.
pub const CALLS_ELSEWHERE: usize = 100_000;

/// Name of the only organisation.
pub const ORGANISATION: &str = "this repository";

/// Workload "regeneration".
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct History {
    /// Last commit of the history, in short form; `None` if git does not state it.
    pub revision: Option<String>,
    /// Number of commits that were read; 0 for the working tree.
    pub commits: usize,
    /// Number of changed files, each counted as often as it was added or modified.
    pub files: usize,
    /// Items to request, oldest first.
    pub items: Vec<Item>,
    /// `true` if `limit` cut the history short.
    pub cut: bool,
    /// Largest number of requests.
    pub limit: usize,
    /// Reason for reading the working tree instead of the history.
    pub fallback: Option<String>,
}

/// Item of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Text of the item.
    pub text: String,
    /// Time of its commit, if the clock follows the commits.
    pub at: Option<SystemTime>,
}

impl History {
    /// Reads the history of this project's files below `root`.
    ///
    /// # Errors
    ///
    /// Neither the history nor the working tree can be read.
    pub fn read(root: &Path) -> Result<Self, Error> {
        Self::read_with(&Repository::new(root), root)
    }

    /// Reads the whole history of the files below `root` that match any of `globs`: `*` stands for a part
    /// of one name, `**/` for any directories.
    ///
    /// # Errors
    ///
    /// The history cannot be read, or holds no items. The error says what to do.
    pub fn of_files(root: &Path, globs: &[String]) -> Result<Self, Error> {
        Self::of_files_with(&Repository::new(root), globs).map_err(|reason| Error::content(root, reason))
    }

    /// Returns the requests, oldest first.
    #[must_use]
    pub fn into_source(self) -> Source {
        let organisation: Arc<str> = ORGANISATION.into();
        let said = self.said();
        let request = |Item { text, at }| Request { at, ..Request::new(organisation.clone(), text) };
        let requests = self.items.into_iter().map(request).collect();
        said.into_iter().fold(Source::of("regeneration", requests), Source::note)
    }

    fn read_with(git: &Repository, root: &Path) -> Result<Self, Error> {
        let of_commits = |git| -> Result<Self, GitError> {
            let mut history = Self::of_commits(git, Some(COMMITS), &["**/*.rs".to_owned()], CALLS)?;
            // The items are requested one after the other, whatever their times.
            history.items.iter_mut().for_each(|item| item.at = None);
            Ok(history)
        };
        let revision = git.revision();
        let reason = match revision.as_ref().map_err(Clone::clone).and_then(|_| of_commits(git)) {
            Ok(history) if history.items.is_empty() => "its commits touch no public function".to_owned(),
            Ok(history) => return Ok(Self { revision: revision.ok(), ..history }),
            Err(error) => error.to_string(),
        };
        Ok(Self { revision: revision.ok(), fallback: Some(reason), ..Self::of_working_tree(root)? })
    }

    fn of_files_with(git: &Repository, globs: &[String]) -> Result<Self, String> {
        let revision = git.revision().map_err(|error| error.to_string())?;
        let history = Self::of_commits(git, None, globs, CALLS_ELSEWHERE).map_err(|error| error.to_string())?;
        let globs = globs.join(" ");
        if history.files == 0 {
            return Err(format!("no commit adds or modifies a file that matches {globs}: give another --glob"));
        }
        if history.items.is_empty() {
            return Err(format!("the files that match {globs} hold no items: give another --glob"));
        }
        Ok(Self { revision: Some(revision), ..history })
    }

    fn of_commits(git: &Repository, newest: Option<usize>, globs: &[String], limit: usize) -> Result<Self, GitError> {
        let changes = git.changes(newest, globs)?;
        let mut history = Self { commits: changes.commits(), ..Self::empty(limit) };
        for change in changes {
            let change = change?;
            if !history.add(change.items, Some(change.at)) {
                break;
            }
        }
        Ok(history)
    }

    fn of_working_tree(root: &Path) -> Result<Self, Error> {
        let mut history = Self::empty(CALLS);
        for file in tree::rust_files(root)? {
            if !history.add(public_functions(&tree::text(&file)?), None) {
                break;
            }
        }
        Ok(history)
    }

    fn empty(limit: usize) -> Self {
        let (revision, items, fallback) = Default::default();
        Self { revision, commits: 0, files: 0, items, cut: false, limit, fallback }
    }

    /// Adds a file's items. Returns `true` if there is room for more.
    fn add(&mut self, mut texts: Vec<String>, at: Option<SystemTime>) -> bool {
        let room = self.limit - self.items.len();
        self.cut = texts.len() > room;
        texts.truncate(room);
        self.files += 1;
        self.items.extend(texts.into_iter().map(|text| Item { text, at }));
        !self.cut
    }

    /// Returns the notes: the source and the number of the items.
    fn said(&self) -> Vec<String> {
        let from = match (&self.fallback, &self.revision) {
            (Some(reason), _) => format!("the working tree, as there is no history to read: {reason}"),
            (None, revision) => {
                format!("{} commits up to {}", self.commits, revision.as_deref().unwrap_or("an unknown revision"))
            }
        };
        let mut said = vec![format!("{from}; {} files, {} calls", self.files, self.items.len())];
        if self.cut {
            said.push(format!("cut at {} calls", self.limit));
        }
        said.push(match self.items.first() {
            Some(Item { at: Some(_), .. }) => {
                "requested at the times of the commits, which the cache's clock follows".to_owned()
            }
            _ => "a short history: its figures show the mechanism, they are no measure of savings".to_owned(),
        });
        said
    }
}

#[cfg(test)]
mod tests;
