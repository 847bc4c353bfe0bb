//! Check of words and first lines of documentation against the project's language.

use std::{fmt, ops::AddAssign};

use crate::{documented::documented, source::SourceFile};

/// Words with which a first line must not begin, because it must be a verb phrase or a noun phrase.
const CLAUSES: [&str; 8] = ["What", "Whether", "Who", "Whose", "Where", "How", "When", "Why"];

/// Words of the former language, one a line.
const WORDS: &str = include_str!("prose/words.txt");

/// Place in the documentation that needs rewording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// File, a colon and the line of the documented item.
    pub(crate) place: String,
    /// True if it is in documentation that users read.
    pub(crate) is_public: bool,
    /// Reason for the finding.
    pub(crate) kind: Kind,
}

/// Reasons for rewording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The first line begins with a clause; the line.
    Clause(String),
    /// A word of the list.
    Word(&'static str),
}

/// Numbers of findings of one crate.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Count {
    /// First lines that begin with a clause, in public documentation.
    pub(crate) public_clauses: usize,
    /// Words of the list, in public documentation.
    pub(crate) public_words: usize,
    /// The same in all other documentation.
    pub(crate) private_clauses: usize,
    /// The same in all other documentation.
    pub(crate) private_words: usize,
}

impl Count {
    /// Counts findings.
    pub(crate) fn of(findings: &[Finding]) -> Self {
        let mut count = Self::default();
        for finding in findings {
            *match (finding.is_public, &finding.kind) {
                (true, Kind::Clause(_)) => &mut count.public_clauses,
                (true, Kind::Word(_)) => &mut count.public_words,
                (false, Kind::Clause(_)) => &mut count.private_clauses,
                (false, Kind::Word(_)) => &mut count.private_words,
            } += 1;
        }
        count
    }

    /// Refuses findings in public documentation.
    pub(crate) fn verdict(self) -> Result<(), String> {
        match self.public_clauses + self.public_words {
            0 => Ok(()),
            public => Err(format!("{public} places in public documentation want rewording: see the list above")),
        }
    }
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.public_clauses += other.public_clauses;
        self.public_words += other.public_words;
        self.private_clauses += other.private_clauses;
        self.private_words += other.private_words;
    }
}

/// Examines the documentation of a file.
pub(crate) fn examine(file: &SourceFile, shown_path: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for item in documented(file) {
        let place = format!("{shown_path}:{}", item.line);
        let finding = |kind| Finding { place: place.clone(), is_public: item.is_public, kind };
        let clause = item.first_line().filter(|line| begins_with_clause(line));
        findings.extend(clause.map(|line| finding(Kind::Clause(line.to_owned()))));
        findings.extend(words_in(&item.text).into_iter().map(|word| finding(Kind::Word(word))));
    }
    findings
}

fn begins_with_clause(line: &str) -> bool {
    let first = line.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
    CLAUSES.contains(&first)
}

/// Returns every occurrence of a word of the list outside of examples.
fn words_in(text: &str) -> Vec<&'static str> {
    let mut is_code = false;
    let prose = text.lines().filter(|line| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    });
    let words: Vec<String> = prose
        .flat_map(|line| line.split(|c: char| !c.is_alphanumeric()))
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect();
    let listed = WORDS.lines().filter(|word| !word.is_empty());
    let occurrences = |listed: &'static str| {
        let wanted: Vec<&str> = listed.split(' ').collect();
        let found = words.windows(wanted.len()).filter(|window| *window == wanted.as_slice()).count();
        std::iter::repeat_n(listed, found)
    };
    listed.flat_map(occurrences).collect()
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Clause(line) => write!(f, "{}: first line begins with a clause: {line}", self.place),
            Kind::Word(word) => write!(f, "{}: the word `{word}`", self.place),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clauses_are_found_by_their_first_word() {
        for (line, is_clause) in [
            ("Whether it is fresh.", true),
            ("What: a list.", true),
            ("Returns what it holds.", false),
            ("Whatever", false),
            ("`When` is a type.", false),
        ] {
            assert_eq!(begins_with_clause(line), is_clause, "{line}");
        }
    }

    #[test]
    fn verdict_refuses_findings_in_public_docs_only() {
        let count = |is_public| {
            let kind = Kind::Word("told");
            Count::of(&[Finding { place: "any.rs:1".into(), is_public, kind }])
        };
        let mut total = count(false);
        assert_eq!(total.verdict(), Ok(()));
        total += count(true);
        assert!(total.verdict().is_err_and(|message| message.starts_with("1 places in public documentation")));
    }

    #[test]
    fn prose_finds_whole_words_across_lines() {
        let text = "Nobody is told, and what stands\nalone is not a standalone.\n```\nlet told = 1;\n```\nUnited.";
        assert_eq!(words_in(text), ["told", "nobody", "stands alone"]);
    }
}
