//! "Regenerate what changed": the history of a repository, one request per item of each file that a commit adds or
//! modifies. Such requests repeat much, as most items of a changed file stay as they were.
//!
//! The history is read with the `git` binary. Of this project's own, the newest commits' Rust files are asked about; where
//! that cannot be done (no git, a shallow clone, an ownership that git refuses), the files of the working tree stand in,
//! and the reason is kept. Of any other repository all commits are read, for files of any kind, at the commits' times.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use crate::error::Error;
use crate::tree;
use crate::workload::{Request, Source};
use llm_savings::git::{GitError, Repository, public_functions};

/// How many of this project's newest commits are read, merges apart.
pub const COMMITS: usize = 200;

/// The most requests asked of this project's history, counted from the oldest of these commits.
pub const CALLS: usize = 5_000;

/// The most requests asked of another repository's history, counted from its oldest commit.
pub const CALLS_ELSEWHERE: usize = 100_000;

/// The one organisation that asks.
pub const ORGANISATION: &str = "this repository";

/// The workload "regeneration".
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct History {
    /// The commit that the history ends at, in short form, where git tells.
    pub revision: Option<String>,
    /// How many commits were read; 0 for the working tree.
    pub commits: usize,
    /// How many files were asked about, each time that one was added or modified.
    pub files: usize,
    /// What is asked about, oldest first.
    pub items: Vec<Item>,
    /// Whether `limit` cut the history short.
    pub cut: bool,
    /// The most requests asked.
    pub limit: usize,
    /// Why the working tree stands in for the history.
    pub fallback: Option<String>,
}

/// What one request is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The text.
    pub text: String,
    /// When its commit was made, where the clock is to follow that.
    pub at: Option<SystemTime>,
}

impl History {
    /// Reads the history of the repository that `root` is in, as far as it concerns files below `root`: this project's.
    ///
    /// # Errors
    ///
    /// When there is no history to read and a file of the working tree cannot be read either.
    pub fn read(root: &Path) -> Result<Self, Error> {
        Self::read_with(&Repository::new(root), root)
    }

    /// Reads the whole history below `root`, as far as it concerns files that match any of `globs`: `*` stands for a part
    /// of one name, `**/` for any directories.
    ///
    /// # Errors
    ///
    /// When there is no history to read, or nothing in it to ask about; it says what to do.
    pub fn of_files(root: &Path, globs: &[String]) -> Result<Self, Error> {
        Self::of_files_with(&Repository::new(root), globs).map_err(|reason| Error::content(root, reason))
    }

    /// The requests, oldest first.
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
            // They are asked about one after the other, whenever they were made.
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
            return Err(format!("the files that match {globs} hold nothing to ask about: give another --glob"));
        }
        Ok(Self { revision: Some(revision), ..history })
    }

    fn of_commits(git: &Repository, newest: Option<usize>, globs: &[String], limit: usize) -> Result<Self, GitError> {
        let changes = git.changes(newest, globs)?;
        let mut history = Self { commits: changes.commits(), ..Self::empty(limit) };
        for change in changes {
            let change = change?;
            if !history.ask(change.items, Some(change.at)) {
                break;
            }
        }
        Ok(history)
    }

    fn of_working_tree(root: &Path) -> Result<Self, Error> {
        let mut history = Self::empty(CALLS);
        for file in tree::rust_files(root)? {
            if !history.ask(public_functions(&tree::text(&file)?), None) {
                break;
            }
        }
        Ok(history)
    }

    fn empty(limit: usize) -> Self {
        let (revision, items, fallback) = Default::default();
        Self { revision, commits: 0, files: 0, items, cut: false, limit, fallback }
    }

    /// Adds a file's items, and says whether there is room for more.
    fn ask(&mut self, mut texts: Vec<String>, at: Option<SystemTime>) -> bool {
        let room = self.limit - self.items.len();
        self.cut = texts.len() > room;
        texts.truncate(room);
        self.files += 1;
        self.items.extend(texts.into_iter().map(|text| Item { text, at }));
        !self.cut
    }

    /// The notes: where the items come from, and how many they are.
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
                "asked at the times of the commits, which the cache's clock follows".to_owned()
            }
            _ => "a short history: its figures show the mechanism, they are no measure of savings".to_owned(),
        });
        said
    }
}

#[cfg(test)]
mod tests;
