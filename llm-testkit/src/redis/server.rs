use std::path::PathBuf;

use rustix::process::Signal;
use tempfile::TempDir;

use super::admin;
use super::builder::RedisServerBuilder;
use super::process::Process;

/// Redis server on loopback. It is killed on drop.
#[derive(Debug)]
pub struct RedisServer {
    binary: PathBuf,
    ports: Ports,
    password: Option<String>,
    certificate: Option<String>,
    // Declared before the directory, so that the server ends before the directory is removed.
    process: Option<Process>,
    directory: TempDir,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Ports {
    pub(super) clients: u16,
    /// Port of the bus between the nodes of a Cluster.
    pub(super) bus: u16,
}

impl RedisServer {
    /// Spawns a server without password, TLS and persistence.
    ///
    /// # Panics
    ///
    /// If there is no `redis-server`, or it does not start.
    pub fn spawn() -> Self {
        Self::builder().spawn()
    }

    /// Creates a builder of a server with other settings than those of [`spawn`](Self::spawn).
    ///
    /// # Panics
    ///
    /// If there is no `redis-server`.
    pub fn builder() -> RedisServerBuilder {
        RedisServerBuilder::new()
    }

    pub(super) fn new(
        binary: PathBuf,
        ports: Ports,
        password: Option<String>,
        certificate: Option<String>,
        directory: TempDir,
        process: Process,
    ) -> Self {
        Self { binary, ports, password, certificate, process: Some(process), directory }
    }

    /// Returns the URL with the password: `redis://…`, or `rediss://…` with TLS.
    pub fn url(&self) -> String {
        let scheme = if self.certificate.is_some() { "rediss" } else { "redis" };
        let password = self.password.as_ref().map(|password| format!(":{password}@")).unwrap_or_default();
        format!("{scheme}://{password}127.0.0.1:{}", self.ports.clients)
    }

    /// Returns the port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.ports.clients
    }

    /// Returns the self-signed certificate in PEM; `None` without TLS.
    pub fn certificate(&self) -> Option<&str> {
        self.certificate.as_deref()
    }

    /// Sends a command to the server directly, without the client under test.
    ///
    /// A list is returned as lines, and a missing value as an empty text.
    ///
    /// # Errors
    ///
    /// The error that the server replied, or the failure of the connection, such as no reply within 5 s.
    pub fn command(&self, args: &[&str]) -> Result<String, String> {
        admin::command(&self.directory.path().join("socket"), self.password.as_deref(), args)
    }

    /// Pauses the process (SIGSTOP). Connections stay open, but receive no reply.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Resumes a paused process (SIGCONT).
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Kills the process (SIGKILL). Connections break, and new ones are refused.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Kills the process if it runs, and starts it again on the same port, without data.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub fn restart(&mut self) {
        self.kill();
        let config = self.directory.path().join("redis.conf");
        let started = Process::start(&self.binary, &config);
        self.process = Some(started.unwrap_or_else(|said| panic!("redis-server does not start again:\n{said}")));
    }

    pub(super) fn bus_port(&self) -> u16 {
        self.ports.bus
    }

    fn signal(&self, signal: Signal) {
        self.process.as_ref().expect("the server was not killed").signal(signal);
    }
}
