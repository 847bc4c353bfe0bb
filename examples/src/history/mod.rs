//! "Regenerate what changed": the history of a repository, one request per item of each Rust file that a commit adds
//! or modifies. Such requests repeat much, as most items of a changed file stay as they were.
//!
//! The history is read with the `git` binary. Where that cannot be done (no git, a shallow clone, an ownership that
//! git refuses), the files of the working tree stand in, and the reason is kept.

mod changes;
mod git;

use std::path::Path;
use std::sync::Arc;

use crate::error::Error;
use crate::scan::public_functions;
use crate::tree;
use crate::workload::{Request, Source};
use git::Git;

/// How many of the newest commits are read, merges apart.
pub const COMMITS: usize = 200;

/// The most requests asked, counted from the oldest of these commits.
pub const CALLS: usize = 5_000;

/// The one organisation that asks.
pub const ORGANISATION: &str = "this repository";

/// The workload "regeneration".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct History {
    /// The commit that the history ends at, in short form, where git tells.
    pub revision: Option<String>,
    /// How many commits were read; 0 for the working tree.
    pub commits: usize,
    /// How many files were asked about, each time that one was added or modified.
    pub files: usize,
    /// The texts asked about, oldest first.
    pub items: Vec<String>,
    /// Whether [`CALLS`] cut the history short.
    pub cut: bool,
    /// Why the working tree stands in for the history.
    pub fallback: Option<String>,
}

impl History {
    /// Reads the history of the repository that `root` is in, as far as it concerns files below `root`.
    ///
    /// # Errors
    ///
    /// When there is no history to read and a file of the working tree cannot be read either.
    pub fn read(root: &Path) -> Result<Self, Error> {
        Self::read_with(&Git::new(root), root)
    }

    /// The requests, oldest first.
    #[must_use]
    pub fn into_source(self) -> Source {
        let organisation: Arc<str> = ORGANISATION.into();
        let said = self.said();
        let requests = self.items.into_iter().map(|item| Request::new(organisation.clone(), item)).collect();
        said.into_iter().fold(Source::of("regeneration", requests), Source::note)
    }

    fn read_with(git: &Git, root: &Path) -> Result<Self, Error> {
        let revision = git.revision();
        let reason = match revision.as_ref().map_err(Clone::clone).and_then(|_| Self::of_commits(git)) {
            Ok(history) if history.items.is_empty() => "its commits touch no public function".to_owned(),
            Ok(history) => return Ok(Self { revision: revision.ok(), ..history }),
            Err(reason) => reason,
        };
        Ok(Self { revision: revision.ok(), fallback: Some(reason), ..Self::of_working_tree(root)? })
    }

    fn of_commits(git: &Git) -> Result<Self, String> {
        if git.is_shallow()? {
            return Err("the clone is shallow".to_owned());
        }
        let log = git.log(COMMITS)?;
        let commits = changes::commits(&log);
        let mut history = Self { commits: commits.len(), ..Self::default() };
        let mut blobs = git.blobs()?;
        for blob in commits.iter().flatten() {
            if !history.ask(&blobs.read(blob)?) {
                break;
            }
        }
        Ok(history)
    }

    fn of_working_tree(root: &Path) -> Result<Self, Error> {
        let mut history = Self::default();
        for file in tree::rust_files(root)? {
            if !history.ask(&tree::text(&file)?) {
                break;
            }
        }
        Ok(history)
    }

    /// Adds a file's items, and says whether there is room for more.
    fn ask(&mut self, source: &str) -> bool {
        let mut items = public_functions(source);
        let room = CALLS - self.items.len();
        self.cut = items.len() > room;
        items.truncate(room);
        self.files += 1;
        self.items.append(&mut items);
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
            said.push(format!("cut at {CALLS} calls"));
        }
        said.push("a short history: its figures show the mechanism, they are no measure of savings".to_owned());
        said
    }
}

#[cfg(test)]
mod tests;
