//! One `redis-server` process.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

/// Process that is killed on drop, even if it is paused.
#[derive(Debug)]
pub(super) struct Process(Child);

impl Process {
    /// Starts a server and waits until it accepts connections. If it ends before, the error is its output.
    pub(super) fn start(binary: &Path, config: &Path) -> Result<Self, String> {
        let mut command = Command::new(binary);
        command.arg(config).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {}: {error}", binary.display()));
        let output = child.stdout.take().expect("it is piped");
        let mut printed = String::new();
        // The pipe is closed after this loop. The server then continues without a log.
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if line.contains("Ready to accept connections") {
                return Ok(Self(child));
            }
            printed.push_str(&line);
            printed.push('\n');
        }
        drop(Self(child));
        Err(printed)
    }

    pub(super) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw).expect("a child has a process id");
        kill_process(pid, signal).expect("a child that was not waited for can be signalled");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // An error means that the process has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
