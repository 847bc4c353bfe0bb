//! Reader of a directory's Rust files, in path order.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::Error;

/// Directories at the root that are skipped: build output, and copies of other packages.
const PASSED: [&str; 2] = ["target", "vendor"];

/// Returns the paths of the `.rs` files below `root`, sorted. Hidden directories, `target` and `vendor` at the root,
/// and symbolic links are skipped.
///
/// # Errors
///
/// A directory cannot be listed.
pub fn rust_files(root: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut files = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for (path, is_directory) in entries(&directory).map_err(|e| Error::io(&directory, e))? {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if is_directory {
                let passed = directory == root && PASSED.contains(&&*name);
                if !passed && !name.starts_with('.') {
                    open.push(path);
                }
            } else if name.ends_with(".rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Returns the text of a file; bytes that are not UTF-8 are replaced.
///
/// # Errors
///
/// The file cannot be read.
pub fn text(path: &Path) -> Result<String, Error> {
    let bytes = fs::read(path).map_err(|e| Error::io(path, e))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Returns the files and directories in `directory`, each with `true` if it is a directory.
fn entries(directory: &Path) -> io::Result<Vec<(PathBuf, bool)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() || kind.is_file() {
            found.push((entry.path(), kind.is_dir()));
        }
    }
    Ok(found)
}

#[cfg(test)]
pub(crate) mod scratch {
    //! Directories for tests.

    use std::fs;
    use std::path::{Path, PathBuf};
    use std::sync::atomic::{AtomicU32, Ordering};

    /// Temporary directory that is removed on drop.
    pub(crate) struct Scratch(PathBuf);

    impl Scratch {
        pub(crate) fn new() -> Self {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let name = format!("llm-examples-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
            let path = std::env::temp_dir().join(name);
            fs::create_dir_all(&path).expect("a temporary directory");
            Self(path)
        }

        pub(crate) fn path(&self) -> &Path {
            &self.0
        }

        /// Writes a file, and the directories above it.
        pub(crate) fn file(&self, path: &str, content: impl AsRef<[u8]>) -> PathBuf {
            let path = self.0.join(path);
            fs::create_dir_all(path.parent().expect("inside the directory")).expect("directories");
            fs::write(&path, content).expect("a file");
            path
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            // If the removal fails, the directory stays in the system's temporary directory.
            drop(fs::remove_dir_all(&self.0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::scratch::Scratch;
    use super::*;

    #[test]
    fn tree_lists_rust_files_without_build_output() {
        let scratch = Scratch::new();
        for path in
            ["b.rs", "a/z.rs", "a/b/c.rs", "a/target/t.rs", "a.txt", "target/x.rs", ".git/y.rs", "vendor/v/src/lib.rs"]
        {
            scratch.file(path, "");
        }
        let found = rust_files(scratch.path()).expect("readable");
        let expected: Vec<_> =
            ["a/b/c.rs", "a/target/t.rs", "a/z.rs", "b.rs"].iter().map(|p| scratch.path().join(p)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn tree_error_names_missing_directory() {
        let scratch = Scratch::new();
        let error = rust_files(&scratch.path().join("none")).expect_err("missing");
        assert!(error.to_string().contains("none"), "{error}");
    }
}
