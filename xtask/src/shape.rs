//! Figures of a crate's sources: sizes, documentation, surface, imports.

mod functions;
mod imports;
mod surface;

use std::{collections::BTreeMap, fmt};

use crate::{
    documented::documented,
    source::{Lines, SourceFile},
};

pub(crate) use self::surface::Settings;

/// Figures of one crate, tests left out.
pub(crate) struct Shape {
    lines: Lines,
    /// Lines of code below each directory of `src`.
    directories: BTreeMap<String, usize>,
    files: Spread,
    functions: Spread,
    /// Public items that are neither variants nor fields.
    items: usize,
    examples: usize,
    root_exports: usize,
    settings: Vec<Settings>,
    /// Files that import each other, directly or through others; one list for each circle.
    circles: Vec<Vec<String>>,
    /// Functions that box futures, each with the number of boxes.
    boxed: Vec<(String, usize)>,
}

/// Median, 95th percentile and largest of sizes in lines.
struct Spread {
    median: usize,
    p95: usize,
    longest: (usize, String),
}

impl Shape {
    /// Measures the files of one crate. `shown` returns the printed form of a file's path.
    pub(crate) fn of(files: &[SourceFile], shown: impl Fn(&SourceFile) -> String) -> Self {
        let mut lines = Lines::default();
        let mut directories = BTreeMap::new();
        for file in files {
            let of_file = file.lines();
            if let [directory, _, ..] = file.module.as_slice() {
                *directories.entry(directory.clone()).or_default() += of_file.code;
            }
            lines.code += of_file.code;
            lines.docs += of_file.docs;
            lines.all += of_file.all;
        }
        let documented: Vec<_> = files.iter().flat_map(documented).filter(|item| item.is_public).collect();
        let mut boxed: Vec<(String, usize)> = Vec::new();
        for (name, _, boxes) in files.iter().flat_map(functions::of) {
            if boxes > 0 {
                boxed.push((name, boxes));
            }
        }
        Self {
            lines,
            directories,
            files: Spread::of(files.iter().map(|file| (file.lines().code, shown(file))).collect()),
            functions: Spread::of(files.iter().flat_map(functions::of).map(|(name, size, _)| (size, name)).collect()),
            items: documented.iter().filter(|item| !item.is_part).count(),
            examples: documented.iter().map(|item| item.examples()).sum(),
            root_exports: surface::root_exports(files),
            settings: surface::settings(files),
            circles: imports::circles(files)
                .iter()
                .map(|circle| circle.iter().map(|i| shown(&files[*i])).collect())
                .collect(),
            boxed,
        }
    }
}

impl Spread {
    fn of(mut sizes: Vec<(usize, String)>) -> Self {
        sizes.sort();
        let at = |percent: usize| sizes.get((sizes.len() * percent / 100).min(sizes.len().saturating_sub(1)));
        let size = |percent| at(percent).map_or(0, |(size, _)| *size);
        Self { median: size(50), p95: size(95), longest: sizes.last().cloned().unwrap_or_default() }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { median, p95, longest: (longest, name) } = self;
        write!(f, "median {median}, p95 {p95}, longest {longest} ({name})")
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Lines { code, docs, all } = self.lines;
        let inside: Vec<String> = self.directories.iter().map(|(name, code)| format!("{name}/ {code}")).collect();
        writeln!(f, "  code lines     {code} ({})", inside.join(", "))?;
        writeln!(f, "  doc lines      {} % of {all}", docs * 100 / all.max(1))?;
        writeln!(f, "  files          {}", self.files)?;
        writeln!(f, "  functions      {}", self.functions)?;
        let per_hundred = self.examples * 100 / self.items.max(1);
        writeln!(f, "  examples       {} for {} public items: {per_hundred} per 100", self.examples, self.items)?;
        writeln!(f, "  root exports   {}", self.root_exports)?;
        for settings in &self.settings {
            writeln!(f, "  settings       {settings}")?;
        }
        writeln!(f, "  import circles {}", self.circles.len())?;
        for circle in &self.circles {
            writeln!(f, "                 {}", circle.join(" "))?;
        }
        let boxes: usize = self.boxed.iter().map(|(_, count)| count).sum();
        let names: Vec<String> = self.boxed.iter().map(|(name, count)| format!("{name} {count}")).collect();
        write!(f, "  boxed futures  {boxes} ({})", names.join(", "))
    }
}
