//! The `git` binary.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};

use super::changes::COMMIT;

/// The `git` binary in one directory. Its errors are reasons to print: why the history cannot be read.
pub(super) struct Git {
    pub(super) program: OsString,
    pub(super) root: PathBuf,
    pub(super) env: Vec<(&'static str, OsString)>,
}

impl Git {
    pub(super) fn new(root: &Path) -> Self {
        Self { program: "git".into(), root: root.to_owned(), env: Vec::new() }
    }

    /// The current commit, in short form.
    pub(super) fn revision(&self) -> Result<String, String> {
        self.run(&["rev-parse", "--git-dir"])?;
        self.run(&["rev-parse", "--verify", "--short", "HEAD"])
            .map(|out| out.trim().to_owned())
            .map_err(|_| "it has no commit yet, and nothing to ask about before there is one".to_owned())
    }

    pub(super) fn is_shallow(&self) -> Result<bool, String> {
        self.run(&["rev-parse", "--is-shallow-repository"]).map(|out| out.trim() == "true")
    }

    /// The changes below the directory to files that match any of `globs` (or to all, if there are none) by the newest
    /// `commits` (or all), oldest first.
    pub(super) fn log(&self, commits: Option<usize>, globs: &[String]) -> Result<String, String> {
        let (count, format) =
            (commits.map(|commits| format!("--max-count={commits}")), format!("--format={COMMIT}%ct"));
        let settings = ["-c", "log.showSignature=false", "-c", "log.showRoot=true", "-c", "core.quotePath=false"];
        let mut args = settings.to_vec();
        args.extend(["log", "--reverse", "--no-merges", "--full-history", &format, "--raw", "--no-abbrev"]);
        args.extend(["--find-renames", "--relative", "--no-color", "-O/dev/null"]);
        args.extend(count.as_deref());
        let globs: Vec<String> = globs.iter().map(|glob| format!(":(glob){glob}")).collect();
        args.push("--");
        args.extend(globs.iter().map(String::as_str));
        self.run(&args)
    }

    /// A process that reads blobs by name.
    pub(super) fn blobs(&self) -> Result<Blobs, String> {
        let mut command = self.command(&["cat-file", "--batch"]);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().map_err(not_started)?;
        let names = child.stdin.take().expect("stdin is piped");
        let contents = BufReader::new(child.stdout.take().expect("stdout is piped"));
        Ok(Blobs { child, names: Some(names), contents })
    }

    fn run(&self, args: &[&str]) -> Result<String, String> {
        let Output { status, stdout, stderr } =
            self.command(args).stdin(Stdio::null()).output().map_err(not_started)?;
        if status.success() {
            Ok(String::from_utf8_lossy(&stdout).into_owned())
        } else {
            Err(reason(&String::from_utf8_lossy(&stderr)))
        }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--no-pager").arg("-C").arg(&self.root).args(args);
        // Messages are told apart by their English words; a partial clone must not be completed over the network.
        command.env("LC_ALL", "C").env("GIT_NO_LAZY_FETCH", "1");
        // The directory says which repository is meant, also below a git hook.
        for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"] {
            command.env_remove(name);
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// A running `git cat-file --batch`. It ends on drop.
pub(super) struct Blobs {
    child: Child,
    names: Option<ChildStdin>,
    contents: BufReader<ChildStdout>,
}

impl Blobs {
    /// The text of a blob; bytes that are not UTF-8 are replaced.
    pub(super) fn read(&mut self, name: &str) -> Result<String, String> {
        self.ask(name)
            .map_err(|e| format!("git stopped reading files: {e}"))?
            .ok_or_else(|| "a file of the history is missing".to_owned())
    }

    fn ask(&mut self, name: &str) -> std::io::Result<Option<String>> {
        let names = self.names.as_mut().expect("open until drop");
        writeln!(names, "{name}")?;
        names.flush()?;
        let mut head = String::new();
        self.contents.read_line(&mut head)?;
        // The head is `<name> blob <bytes>`, or `<name> missing`.
        let Some(bytes) = head.trim_end().split_once(" blob ").and_then(|(_, bytes)| bytes.parse::<usize>().ok())
        else {
            return Ok(None);
        };
        let mut content = vec![0; bytes + 1];
        self.contents.read_exact(&mut content)?;
        content.pop();
        Ok(Some(String::from_utf8_lossy(&content).into_owned()))
    }
}

impl Drop for Blobs {
    fn drop(&mut self) {
        // At the end of its input the process ends by itself.
        self.names = None;
        drop(self.child.wait());
    }
}

fn not_started(e: std::io::Error) -> String {
    format!("git cannot be started (is it installed?): {e}")
}

/// What git's message comes to.
fn reason(message: &str) -> String {
    if message.contains("dubious ownership") {
        "git refuses the directory, as it belongs to somebody else: see safe.directory in git's help".to_owned()
    } else if message.contains("not a git repository") {
        "it is not a git repository: name a directory inside one".to_owned()
    } else {
        format!("git says: {}", message.lines().next().unwrap_or("nothing").trim_start_matches("fatal: "))
    }
}

#[cfg(test)]
mod tests {
    use super::reason;

    #[test]
    fn the_usual_refusals_are_told_apart() {
        assert!(
            reason("fatal: detected dubious ownership in repository at '/x'\nTo add")
                .contains("belongs to somebody else")
        );
        assert!(
            reason("fatal: not a git repository (or any of the parent directories): .git")
                .contains("not a git repository")
        );
        assert_eq!(reason("fatal: bad object\nmore"), "git says: bad object");
        assert_eq!(reason(""), "git says: nothing");
    }
}
