//! Another process of this test program, which shares the server.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
    sync::mpsc::Sender,
};

use tokio::runtime::Builder;

use super::{deploys, processes};

/// Environment variable with the role of a child process.
const CHILD: &str = "LLM_RATELIMIT_TEST_PROCESS";

/// Child process, which is killed on drop.
pub(super) struct Child {
    process: std::process::Child,
    go: std::process::ChildStdin,
}

impl Child {
    /// Spawns a process with a role and its arguments. Its output lines are sent with its number, and `None` at its
    /// end.
    pub(super) fn spawn(part: &str, number: usize, says: Sender<(usize, Option<String>)>) -> Self {
        let mut process = Command::new(std::env::current_exe().expect("this program has a path"))
            .args(["redis::child::child", "--exact", "--nocapture"])
            .env(CHILD, part)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program starts");
        let go = process.stdin.take().expect("it is piped");
        let lines = BufReader::new(process.stdout.take().expect("it is piped")).lines();
        std::thread::spawn(move || {
            // The test harness may write to the same line before the child's first output.
            for line in lines.map_while(Result::ok) {
                if let Some((_, said)) = line.split_once("child ") {
                    let _ = says.send((number, Some(said.to_owned())));
                }
            }
            let _ = says.send((number, None));
        });
        Self { process, go }
    }

    pub(super) fn go(&mut self) {
        writeln!(self.go, "go").expect("it listens");
    }

    /// Asks the process to end.
    pub(super) fn stop(&mut self) {
        writeln!(self.go, "stop").expect("it listens");
    }

    pub(super) fn kill(&mut self) {
        self.process.kill().expect("it runs");
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
fn child() {
    let Ok(told) = std::env::var(CHILD) else { return };
    let told: Vec<_> = told.split(' ').collect();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        match told[..] {
            ["spend", redis, calls, seed, sharing] => {
                let (calls, seed) = (calls.parse().unwrap(), seed.parse().unwrap());
                processes::spend(redis, calls, seed, processes::Sharing::of(sharing)).await;
            }
            ["burst", redis, calls] => deploys::burst(redis, calls.parse().unwrap()).await,
            ["serve", redis, is_chunked] => deploys::serve(redis, is_chunked == "true").await,
            _ => panic!("no such part: {told:?}"),
        }
    });
}
