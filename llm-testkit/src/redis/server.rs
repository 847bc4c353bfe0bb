use std::path::PathBuf;

use rustix::process::Signal;
use tempfile::TempDir;

use super::admin;
use super::builder::RedisServerBuilder;
use super::process::Process;

/// A `redis-server` on loopback, killed on drop.
#[derive(Debug)]
pub struct RedisServer {
    binary: PathBuf,
    ports: Ports,
    password: Option<String>,
    certificate: Option<String>,
    // Before the directory, so that the server is gone when that goes.
    process: Option<Process>,
    directory: TempDir,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Ports {
    pub(super) clients: u16,
    /// Where the nodes of a Cluster talk to each other.
    pub(super) bus: u16,
}

impl RedisServer {
    /// A plain server: no password, no TLS, nothing on disk.
    ///
    /// # Panics
    ///
    /// If there is no `redis-server`, or it does not start.
    pub fn spawn() -> Self {
        Self::builder().spawn()
    }

    /// A server with settings.
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

    /// The URL with the password: `redis://…`, or `rediss://…` with TLS.
    pub fn url(&self) -> String {
        let scheme = if self.certificate.is_some() { "rediss" } else { "redis" };
        let password = self.password.as_ref().map(|password| format!(":{password}@")).unwrap_or_default();
        format!("{scheme}://{password}127.0.0.1:{}", self.ports.clients)
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.ports.clients
    }

    /// With TLS: the certificate, which is its own root, in PEM.
    pub fn certificate(&self) -> Option<&str> {
        self.certificate.as_deref()
    }

    /// Asks the server something behind the client's back. Lists come as lines, nothing as an empty text.
    ///
    /// # Errors
    ///
    /// What the server says, or that it does not answer.
    pub fn command(&self, args: &[&str]) -> Result<String, String> {
        admin::command(&self.directory.path().join("socket"), self.password.as_deref(), args)
    }

    /// Stops the process where it stands (SIGSTOP): connections stay open, and nothing is answered.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on (SIGCONT).
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Kills it (SIGKILL): connections break, and new ones are refused.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Kills it if it runs, and starts it again on the same port, with nothing in it.
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
