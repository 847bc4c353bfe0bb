use std::fmt::Write;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;

use tempfile::TempDir;

use super::binary;
use super::certificate::Certificate;
use super::process::Process;
use super::server::{Ports, RedisServer};

/// Number of attempts to start a server, each on new ports, because another process may take a free port first.
const ATTEMPTS: usize = 8;

/// Builder of a [`RedisServer`], returned by [`RedisServer::builder`].
///
/// # Example
///
/// ```no_run
/// use llm_testkit::redis::RedisServer;
///
/// let server = RedisServer::builder().password("secret").max_memory(4 << 20, "allkeys-lfu").spawn();
/// assert!(server.url().starts_with("redis://:secret@127.0.0.1:"));
/// ```
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

    /// Sets the password that clients must send, which may contain only letters and digits; none by default.
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self.line(&format!("requirepass {password}")).line(&format!("masterauth {password}"))
    }

    /// Accepts TLS connections only, with a self-signed certificate; see [`RedisServer::certificate`].
    pub fn tls(self) -> Self {
        self.certified(Some(Certificate::make()))
    }

    /// Sets the memory limit in bytes, and the eviction policy of a full server: `noeviction`, `allkeys-lfu` and so on.
    pub fn max_memory(self, bytes: u64, policy: &str) -> Self {
        self.line(&format!("maxmemory {bytes}")).line(&format!("maxmemory-policy {policy}"))
    }

    /// Makes the server a read-only replica of another server.
    pub fn replica_of(self, primary: &RedisServer) -> Self {
        self.line(&format!("replicaof 127.0.0.1 {}", primary.port())).line("repl-diskless-sync-delay 0")
    }

    /// Appends a line to `redis.conf`, such as `rename-command EVALSHA ""`.
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
        // These lines shorten the waiting times of a failover.
        node.line("cluster-node-timeout 1000").line("repl-diskless-sync-delay 0")
    }

    /// Starts the server, and waits until it accepts connections.
    ///
    /// # Panics
    ///
    /// If the server does not start. The message contains the server's output.
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

    /// Creates a temporary directory with the configuration and the certificate of a server.
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

/// Returns a port that was free when it was checked.
fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
    listener.local_addr().expect("a bound socket has an address").port()
}
