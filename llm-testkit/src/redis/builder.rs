use std::fmt::Write;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;

use tempfile::TempDir;

use super::binary;
use super::certificate::Certificate;
use super::process::Process;
use super::server::{Ports, RedisServer};

/// How often another port is tried when somebody else was quicker.
const ATTEMPTS: usize = 8;

/// Settings of a [`RedisServer`]; see [`RedisServer::builder`].
#[derive(Debug, Clone)]
pub struct RedisServerBuilder {
    binary: PathBuf,
    password: Option<String>,
    certificate: Option<Certificate>,
    lines: Vec<String>,
    cluster: bool,
}

impl RedisServerBuilder {
    pub(super) fn new() -> Self {
        #[expect(clippy::disallowed_methods, reason = "a test's edge, where the environment comes in")]
        let binary = binary::find(|name| std::env::var_os(name));
        Self { binary, password: None, certificate: None, lines: Vec::new(), cluster: false }
    }

    /// Clients need this password; letters and digits.
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self.line(&format!("requirepass {password}")).line(&format!("masterauth {password}"))
    }

    /// It speaks TLS alone, with a certificate of its own; see [`RedisServer::certificate`].
    pub fn tls(self) -> Self {
        self.certified(Some(Certificate::make()))
    }

    /// It holds at most so many bytes, and when it is full it does as the policy says: `noeviction`, `allkeys-lfu`, ….
    pub fn max_memory(self, bytes: u64, policy: &str) -> Self {
        self.line(&format!("maxmemory {bytes}")).line(&format!("maxmemory-policy {policy}"))
    }

    /// It is a read-only replica of another one.
    pub fn replica_of(self, primary: &RedisServer) -> Self {
        self.line(&format!("replicaof 127.0.0.1 {}", primary.port())).line("repl-diskless-sync-delay 0")
    }

    /// One more line of `redis.conf`, such as `rename-command EVALSHA ""`.
    pub fn line(mut self, line: &str) -> Self {
        self.lines.push(line.to_owned());
        self
    }

    pub(super) fn certified(mut self, certificate: Option<Certificate>) -> Self {
        self.certificate = certificate;
        self
    }

    pub(super) fn cluster_node(mut self) -> Self {
        self.cluster = true;
        let node = self.line("cluster-enabled yes").line("cluster-config-file nodes.conf");
        // What else a failover would wait for.
        node.line("cluster-node-timeout 1000").line("repl-diskless-sync-delay 0")
    }

    /// Starts the server, and waits until it takes connections.
    ///
    /// # Panics
    ///
    /// If it does not start; the message holds what it printed.
    pub fn spawn(self) -> RedisServer {
        let mut printed = String::new();
        for _ in 0..ATTEMPTS {
            let ports = Ports { clients: free_port(), bus: free_port() };
            let directory = self.prepare(ports);
            match Process::start(&self.binary, &directory.path().join("redis.conf")) {
                Ok(process) => {
                    let Self { binary, password, certificate, .. } = self;
                    let certificate = certificate.map(|certificate| certificate.certificate);
                    return RedisServer::new(binary, ports, password, certificate, directory, process);
                }
                Err(said) => printed = said,
            }
        }
        panic!("redis-server does not start:\n{printed}")
    }

    /// A directory with all that a server needs.
    fn prepare(&self, ports: Ports) -> TempDir {
        let directory = tempfile::Builder::new().prefix("redis").tempdir().expect("a temporary directory can be made");
        let path = directory.path();
        if let Some(Certificate { certificate, key }) = &self.certificate {
            fs::write(path.join("cert.pem"), certificate).expect("a temporary file can be written");
            fs::write(path.join("key.pem"), key).expect("a temporary file can be written");
        }
        fs::write(path.join("redis.conf"), self.config(ports, &path.display().to_string()))
            .expect("a temporary file can be written");
        directory
    }

    fn config(&self, ports: Ports, directory: &str) -> String {
        let clients = ports.clients;
        let mut config = String::from("bind 127.0.0.1\nsave \"\"\nappendonly no\nprotected-mode no\n");
        let mut line = |line: std::fmt::Arguments<'_>| writeln!(config, "{line}").expect("a string takes all text");
        line(format_args!("dir {directory}\nunixsocket {directory}/socket"));
        match self.certificate.is_some() {
            false => line(format_args!("port {clients}")),
            true => line(format_args!(
                "port 0\ntls-port {clients}\ntls-auth-clients no\ntls-cert-file {directory}/cert.pem\n\
                 tls-key-file {directory}/key.pem\ntls-ca-cert-file {directory}/cert.pem"
            )),
        }
        if self.cluster {
            line(format_args!("cluster-port {}", ports.bus));
            if self.certificate.is_some() {
                line(format_args!("tls-cluster yes"));
            }
        }
        for own in &self.lines {
            line(format_args!("{own}"));
        }
        config
    }
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
    listener.local_addr().expect("a bound socket has an address").port()
}
