//! Another process of this test program, which shares the server.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
};

use tokio::runtime::Builder;

use super::{invalidation, processes};

/// Environment variable with the role of a child process.
const CHILD: &str = "LLM_CACHE_TEST_PROCESS";

/// Child process, which is killed on drop.
pub(super) struct Child {
    process: std::process::Child,
    go: std::process::ChildStdin,
    says: BufReader<std::process::ChildStdout>,
}

impl Child {
    /// Spawns a process with a role and its arguments, and waits until it is ready.
    pub(super) fn spawn(part: &str) -> Self {
        let mut process = Command::new(std::env::current_exe().expect("this program has a path"))
            .args(["redis::child::child", "--exact", "--nocapture"])
            .env(CHILD, part)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("this program starts");
        let go = process.stdin.take().expect("it is piped");
        let says = BufReader::new(process.stdout.take().expect("it is piped"));
        let mut child = Self { process, go, says };
        child.waits_for("ready");
        child
    }

    pub(super) fn go(&mut self) {
        writeln!(self.go, "go").expect("it listens");
    }

    /// Waits for a line that begins with `wanted`, and returns the rest of the line.
    pub(super) fn waits_for(&mut self, wanted: &str) -> String {
        loop {
            let mut line = String::new();
            assert!(self.says.read_line(&mut line).expect("it speaks") > 0, "it ended before it said {wanted:?}");
            // The test harness may write to the same line before the child's first output.
            if let Some((_, rest)) = line.split_once(&format!("child {wanted}")) {
                return rest.trim().to_owned();
            }
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Reports that the child is ready, and waits for the signal to start.
pub(super) fn ready() {
    println!("child ready");
    std::io::stdin().read_line(&mut String::new()).expect("the parent writes");
}

/// Runs the role of a child process.
#[test]
#[expect(clippy::disallowed_methods, reason = "this is the edge of the child process")]
fn child() {
    let Ok(part) = std::env::var(CHILD) else { return };
    let part: Vec<_> = part.split(' ').collect();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        match part[..] {
            ["ask", redis, vendor, calls] => processes::ask(redis, vendor, calls.parse().unwrap()).await,
            ["race", redis, rounds] => invalidation::race(redis, rounds.parse().unwrap()).await,
            _ => panic!("no such part: {part:?}"),
        }
    });
}
