use std::{path::PathBuf, process::Command};

use super::*;
use crate::tree::scratch::Scratch;

/// Repository in a directory, read by a git without the user's settings.
struct Git {
    root: PathBuf,
    reader: Repository,
    env: Vec<(&'static str, String)>,
}

/// Creates a repository. On a machine without git it prints a note and returns `None`.
fn repository(scratch: &Scratch, at: &str) -> Option<Git> {
    if Command::new("git").arg("--version").output().is_err() {
        eprintln!("skipped: there is no git here");
        return None;
    }
    std::fs::create_dir_all(scratch.path().join(at)).expect("a directory");
    let git = isolated(&scratch.path().join(at));
    command(&git, &["init", "--quiet"]);
    Some(git)
}

fn isolated(root: &Path) -> Git {
    let no_file = root.join("no-such-file").display().to_string();
    let env = vec![("GIT_CONFIG_NOSYSTEM", "1".to_owned()), ("GIT_CONFIG_GLOBAL", no_file)];
    let reader = env.iter().fold(Repository::new(root), |reader, (name, value)| reader.env(name, value));
    Git { root: root.to_owned(), reader, env }
}

fn command(git: &Git, args: &[&str]) {
    let mut command = Command::new("git");
    command.arg("-C").arg(&git.root).args(["-c", "user.name=test", "-c", "user.email=test@example.invalid"]).args(args);
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"] {
        command.env_remove(name);
    }
    let out = command.envs(git.env.iter().map(|(name, value)| (name, value))).output().expect("git starts");
    assert!(out.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&out.stderr));
}

fn commit(git: &Git) {
    command(git, &["add", "--all"]);
    command(git, &["commit", "--quiet", "--message", "x"]);
}

fn items(history: &History) -> Vec<&str> {
    history.items.iter().map(|item| item.text.as_str()).collect()
}

#[test]
fn history_requests_items_of_changed_files_again() {
    let scratch = Scratch::new();
    let Some(git) = repository(&scratch, "r") else { return };
    scratch.file("r/a.rs", "pub fn a() { 1 }\npub fn b() {}\n");
    scratch.file("r/notes.txt", "pub fn no() {}\n");
    commit(&git);
    scratch.file("r/a.rs", "pub fn a() { 2 }\npub fn b() {}\n");
    commit(&git);
    command(&git, &["mv", "a.rs", "c.rs"]);
    commit(&git);

    let history = History::read_with(&git.reader, &git.root).expect("readable");
    assert_eq!(items(&history), ["pub fn a() { 1 }", "pub fn b() {}", "pub fn a() { 2 }", "pub fn b() {}"]);
    assert_eq!((history.commits, history.files, history.cut, &history.fallback), (3, 2, false, &None));
    let revision = history.revision.clone().expect("there are commits");
    let source = history.into_source();
    assert_eq!(source.calls(), 4);
    assert_eq!(source.notes()[0], format!("3 commits up to {revision}; 2 files, 4 calls"));
}

#[test]
fn history_of_directory_leaves_out_others() {
    let scratch = Scratch::new();
    let Some(git) = repository(&scratch, "r") else { return };
    scratch.file("r/a.rs", "pub fn outside() {}\n");
    scratch.file("r/sub/b.rs", "pub fn inside() {}\n");
    commit(&git);
    let sub = isolated(&git.root.join("sub"));
    assert_eq!(items(&History::read_with(&sub.reader, &sub.root).expect("readable")), ["pub fn inside() {}"]);
}

/// Returns the reason for which a history fell back to its working tree of one item.
fn fallback(reader: &Repository, root: &Path) -> String {
    let history = History::read_with(reader, root).expect("readable");
    assert_eq!((items(&history), history.commits, history.files), (vec!["pub fn a() {}"], 0, 1));
    let reason = history.fallback.clone().expect("fell back");
    assert!(history.into_source().notes()[0].contains(&reason));
    reason
}

#[test]
fn history_unreadable_falls_back_to_working_tree() {
    let scratch = Scratch::new();
    let Some(git) = repository(&scratch, "r") else { return };
    scratch.file("r/a.rs", "pub fn a() {}\n");
    assert!(fallback(&git.reader, &git.root).starts_with("it has no commit yet"));

    commit(&git);
    command(&git, &["commit", "--quiet", "--allow-empty", "--message", "y"]);
    let url = format!("file://{}", git.root.display());
    command(&git, &["clone", "--quiet", "--depth", "1", &url, "../shallow"]);
    let shallow = isolated(&scratch.path().join("shallow"));
    assert!(fallback(&shallow.reader, &shallow.root).starts_with("the clone is shallow"));

    let refused = git.reader.env("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1");
    assert!(fallback(&refused, &git.root).contains("belongs to another user"));
}

#[test]
fn history_without_git_reads_working_tree() {
    let scratch = Scratch::new();
    scratch.file("a.rs", "pub fn a() {}\n");
    let reader = Repository::new(scratch.path()).program("no-such-program-here");
    assert!(fallback(&reader, scratch.path()).starts_with("git cannot be started"));
}

#[test]
fn history_cap_on_calls_is_reported() {
    let mut history = History::empty(5);
    let items = |count| vec!["pub fn f() {}".to_owned(); count];
    assert!(history.add(items(4), None) && !history.cut);
    assert!(!history.add(items(2), None));
    assert_eq!((history.items.len(), history.cut), (5, true));
    assert!(history.into_source().notes().iter().any(|note| note == "cut at 5 calls"));
}

#[test]
fn exactly_the_cap_is_no_cut() {
    let mut history = History::empty(1);
    assert!(history.add(vec!["pub fn f() {}".to_owned()], None));
    assert!(history.add(Vec::new(), None));
    assert!(!history.cut);
}

#[test]
fn history_of_any_language_has_commit_times() {
    let scratch = Scratch::new();
    let Some(mut git) = repository(&scratch, "r") else { return };
    let commit_at = |git: &mut Git, seconds: u64| {
        git.env.retain(|(name, _)| *name != "GIT_COMMITTER_DATE");
        git.env.push(("GIT_COMMITTER_DATE", format!("@{seconds} +0000")));
        commit(git);
    };
    scratch.file("r/a.py", "import os\n\ndef a():\n    return 1\n");
    scratch.file("r/sub/b.py", "def b():\n    return 2\n");
    scratch.file("r/c.rs", "pub fn c() {}\n");
    scratch.file("r/picture.py", "\0\n binary\n");
    commit_at(&mut git, 1_700_000_000);
    scratch.file("r/a.py", "def a():\n    return 3\n");
    commit_at(&mut git, 1_700_000_900);

    let read = |globs: &[&str]| {
        let globs: Vec<String> = globs.iter().map(|glob| (*glob).to_owned()).collect();
        History::of_files_with(&git.reader, &globs)
    };
    let history = read(&["**/*.py"]).expect("readable");
    assert_eq!(items(&history), ["def a():\n    return 1", "def b():\n    return 2", "def a():\n    return 3"]);
    assert_eq!((history.commits, history.files), (2, 4));
    let times: Vec<_> = history.into_source().map(|request| request.expect("in memory").at).collect();
    let at = |seconds| Some(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds));
    assert_eq!(times, [at(1_700_000_000), at(1_700_000_000), at(1_700_000_900)]);

    assert_eq!(items(&read(&["*.rs", "sub/*.py"]).expect("readable")), ["pub fn c() {}", "def b():\n    return 2"]);
    assert!(read(&["*.java"]).expect_err("no such file").contains("matches *.java: give another --glob"));
    assert!(read(&["picture.py"]).expect_err("no text").contains("hold no items"));
}

#[test]
fn history_error_says_what_to_do() {
    let scratch = Scratch::new();
    if repository(&scratch, "r").is_none() {
        return;
    }
    let error =
        |at: &str| History::of_files(&scratch.path().join(at), &["*.py".to_owned()]).expect_err("nothing to read");
    assert!(error("r").to_string().contains("it has no commit yet"));
    std::fs::create_dir_all(scratch.path().join("plain")).expect("a directory");
    assert!(error("plain").to_string().ends_with("it is not a git repository: name a directory inside one"));
}
