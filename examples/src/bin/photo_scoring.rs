//! Scores photos for customers of three plans, during a spike of ten times the usual load, in virtual time.
//!
//! `cargo run --release -p examples --bin photo_scoring`, without a key or a server. `--input DIR` uploads your own PNG
//! files; without it, small files are generated.

use std::{fs, io, path::Path, process::ExitCode};

use examples::{
    photo_scoring::{self, uploads::Size},
    report::{Options, start},
};
use llm_core::BoxError;

const USAGE: &str = "\
usage: photo_scoring [--seed N] [--input DIR] [--json FILE] [--svg FILE]

  --seed N     seed of all that is drawn (2026)
  --input DIR  directory of PNG files to upload, instead of small made ones
  --json FILE  writes the table as JSON
  --svg FILE   draws its money and requests";

fn main() -> ExitCode {
    start("photo_scoring", USAGE, std::env::args_os().skip(1), run)
}

fn run(options: &Options) -> Result<(), BoxError> {
    let photos = options.input.as_deref().map_or(Ok(Vec::new()), photos)?;
    let report = photo_scoring::report(&Size::plan(), &photos, options.seed)?;
    options.publish(&[report], &["paid", "sent", "p95"])
}

fn photos(directory: &Path) -> Result<Vec<Vec<u8>>, BoxError> {
    let unreadable = |path: &Path, error: io::Error| format!("cannot read {}: {error}", path.display());
    let entries = fs::read_dir(directory).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let entries = entries.map_err(|error| unreadable(directory, error))?;
    let mut paths: Vec<_> = entries.into_iter().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("png")));
    paths.sort();
    let photos = paths.iter().map(|path| fs::read(path).map_err(|error| unreadable(path, error)));
    let photos = photos.collect::<Result<Vec<_>, _>>()?;
    if photos.is_empty() { Err(format!("{} has no PNG file", directory.display()).into()) } else { Ok(photos) }
}
