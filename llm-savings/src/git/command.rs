//! Runs of the program `git`.

use std::{
    ffi::OsString,
    fmt,
    io::{BufRead, BufReader, Read, Write},
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio},
};

use super::changes::COMMIT;

/// Program `git`, with the directory and the environment in which it runs.
#[derive(Clone, Debug)]
pub(super) struct Git {
    pub(super) program: OsString,
    pub(super) root: PathBuf,
    pub(super) env: Vec<(&'static str, OsString)>,
}

/// Error of reading a history, whose text states the reason and the remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GitError(String);

impl GitError {
    pub(super) fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

impl fmt::Display for GitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for GitError {}

/// Returns the abbreviated hash of the current commit.
pub(super) fn revision(git: &Git) -> Result<String, GitError> {
    run(git, &["rev-parse", "--git-dir"])?;
    run(git, &["rev-parse", "--verify", "--short", "HEAD"])
        .map(|out| out.trim().to_owned())
        .map_err(|_| GitError::new("it has no commit yet, and nothing to request before there is one"))
}

pub(super) fn is_shallow(git: &Git) -> Result<bool, GitError> {
    run(git, &["rev-parse", "--is-shallow-repository"]).map(|out| out.trim() == "true")
}

/// Returns the changes of the newest `commits` commits (of all if it is `None`), oldest first. Only files that match
/// one of `globs` are included; all files if there are no globs.
pub(super) fn log(git: &Git, commits: Option<usize>, globs: &[String]) -> Result<String, GitError> {
    let (count, format) = (commits.map(|commits| format!("--max-count={commits}")), format!("--format={COMMIT}%ct"));
    let settings = ["-c", "log.showSignature=false", "-c", "log.showRoot=true", "-c", "core.quotePath=false"];
    let mut args = settings.to_vec();
    args.extend(["log", "--reverse", "--no-merges", "--full-history", &format, "--raw", "--no-abbrev"]);
    args.extend(["--find-renames", "--relative", "--no-color", "-O/dev/null"]);
    args.extend(count.as_deref());
    let globs: Vec<String> = globs.iter().map(|glob| format!(":(glob){glob}")).collect();
    args.push("--");
    args.extend(globs.iter().map(String::as_str));
    run(git, &args)
}

fn run(git: &Git, args: &[&str]) -> Result<String, GitError> {
    let Output { status, stdout, stderr } = command(git, args).stdin(Stdio::null()).output().map_err(not_started)?;
    if status.success() {
        Ok(String::from_utf8_lossy(&stdout).into_owned())
    } else {
        Err(GitError(reason(&String::from_utf8_lossy(&stderr))))
    }
}

fn command(git: &Git, args: &[&str]) -> Command {
    let mut command = Command::new(&git.program);
    command.arg("--no-pager").arg("-C").arg(&git.root).args(args);
    // The reason for a failure is recognised by English words in git's message. A partial clone must not fetch objects
    // over the network.
    command.env("LC_ALL", "C").env("GIT_NO_LAZY_FETCH", "1");
    // The directory selects the repository, even if the program runs inside a git hook.
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"] {
        command.env_remove(name);
    }
    command.envs(git.env.iter().map(|(name, value)| (name, value)));
    command
}

/// Running process of `git cat-file --batch`. Dropping the value ends the process.
#[derive(Debug)]
pub(super) struct Blobs {
    child: Child,
    names: Option<ChildStdin>,
    contents: BufReader<ChildStdout>,
}

impl Blobs {
    pub(super) fn start(git: &Git) -> Result<Self, GitError> {
        let mut command = command(git, &["cat-file", "--batch"]);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().map_err(not_started)?;
        let names = child.stdin.take().expect("stdin is piped");
        let contents = BufReader::new(child.stdout.take().expect("stdout is piped"));
        Ok(Self { child, names: Some(names), contents })
    }

    /// Returns the text of a blob; bytes that are not UTF-8 are replaced.
    pub(super) fn read(&mut self, name: &str) -> Result<String, GitError> {
        self.find(name)
            .map_err(|error| GitError(format!("git stopped reading files: {error}")))?
            .ok_or_else(|| GitError::new("a file of the history is missing"))
    }

    fn find(&mut self, name: &str) -> std::io::Result<Option<String>> {
        let names = self.names.as_mut().expect("open until drop");
        writeln!(names, "{name}")?;
        names.flush()?;
        let mut head = String::new();
        self.contents.read_line(&mut head)?;
        // The header is `<name> blob <bytes>`, or `<name> missing`.
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
        // The process ends when its input is closed.
        self.names = None;
        drop(self.child.wait());
    }
}

fn not_started(error: std::io::Error) -> GitError {
    GitError(format!("git cannot be started (is it installed?): {error}"))
}

/// Returns the reason for a failure, with the remedy if it is known, from git's message.
fn reason(message: &str) -> String {
    if message.contains("dubious ownership") {
        "git refuses the directory, as it belongs to another user: see safe.directory in git's help".to_owned()
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
    fn usual_refusals_state_their_reasons() {
        assert!(
            reason("fatal: detected dubious ownership in repository at '/x'\nTo add")
                .contains("belongs to another user")
        );
        assert!(
            reason("fatal: not a git repository (or any of the parent directories): .git")
                .contains("not a git repository")
        );
        assert_eq!(reason("fatal: bad object\nmore"), "git says: bad object");
        assert_eq!(reason(""), "git says: nothing");
    }
}
