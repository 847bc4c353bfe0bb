use std::time::Duration;

use super::certificate::Certificate;
use super::server::RedisServer;

/// Number of slots of a Cluster.
const SLOTS: u16 = 16_384;
const NODES: u16 = 3;
/// Pause between two checks of the state of the nodes. The largest number of checks is [`MAX_ASKS`].
const ASK_EVERY: Duration = Duration::from_millis(20);
const MAX_ASKS: usize = 1_000;

/// Redis Cluster of three primaries that share all slots, without replicas. It is killed on drop.
///
/// # Example
///
/// ```no_run
/// use llm_testkit::redis::RedisCluster;
///
/// let cluster = RedisCluster::spawn();
/// assert!(cluster.url().starts_with("redis+cluster://"));
/// assert_eq!(cluster.nodes().len(), 3);
/// ```
///
///
/// Spawning takes more than two seconds, because nodes wait that long before they trust each other. Share a Cluster among
/// the cases of a test.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<RedisServer>,
}

impl RedisCluster {
    /// Spawns the nodes and waits until all of them serve.
    ///
    /// # Panics
    ///
    /// If there is no `redis-server`, or the nodes do not agree on their slots within 20 s.
    pub fn spawn() -> Self {
        Self::spawn_certified(None)
    }

    /// Spawns a Cluster as [`spawn`](Self::spawn) does, with TLS only; see [`certificate`](Self::certificate).
    ///
    /// # Panics
    ///
    /// As [`spawn`](Self::spawn).
    pub fn spawn_with_tls() -> Self {
        Self::spawn_certified(Some(Certificate::make()))
    }

    fn spawn_certified(certificate: Option<Certificate>) -> Self {
        let node = RedisServer::builder().cluster_node().certified(certificate);
        let nodes: Vec<_> = (0..NODES).map(|_| node.clone().spawn()).collect();
        for (n, node) in (0..NODES).zip(&nodes) {
            let (first, last) =
                (SLOTS / NODES * n, if n + 1 == NODES { SLOTS - 1 } else { SLOTS / NODES * (n + 1) - 1 });
            ask(node, &["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &last.to_string()]);
            ask(node, &["CLUSTER", "SET-CONFIG-EPOCH", &(n + 1).to_string()]);
        }
        for node in &nodes[1..] {
            let (port, bus) = (node.port().to_string(), node.bus_port().to_string());
            ask(&nodes[0], &["CLUSTER", "MEET", "127.0.0.1", &port, &bus]);
        }
        let cluster = Self { nodes };
        cluster.wait_until_healthy();
        cluster
    }

    /// Returns the URL with all nodes: `redis+cluster://…`, or `rediss+cluster://…` with TLS.
    pub fn url(&self) -> String {
        let scheme = if self.certificate().is_some() { "rediss" } else { "redis" };
        let nodes: Vec<_> = self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port())).collect();
        format!("{scheme}+cluster://{}", nodes.join(","))
    }

    /// Returns the self-signed certificate of all nodes in PEM; `None` without TLS.
    pub fn certificate(&self) -> Option<&str> {
        self.nodes[0].certificate()
    }

    /// Returns the nodes in the order of their slots.
    pub fn nodes(&self) -> &[RedisServer] {
        &self.nodes
    }

    /// Returns the nodes, to kill and restart them. A node that is restarted keeps its slots.
    pub fn nodes_mut(&mut self) -> &mut [RedisServer] {
        &mut self.nodes
    }

    /// Spawns a replica of the node at the index `node`. The replica takes over the slots of the node if it receives
    /// `CLUSTER FAILOVER TAKEOVER`.
    ///
    /// The Cluster must be without TLS.
    ///
    /// # Panics
    ///
    /// If the replica does not start, or is not up to date within 20 s.
    pub fn replica_of(&self, node: usize) -> RedisServer {
        let replica = RedisServer::builder().cluster_node().spawn();
        for node in &self.nodes {
            ask(&replica, &["CLUSTER", "MEET", "127.0.0.1", &node.port().to_string(), &node.bus_port().to_string()]);
        }
        let [own, id] = [&replica, &self.nodes[node]].map(|node| ask(node, &["CLUSTER", "MYID"]));
        let says =
            |node: &RedisServer, what: [&str; 2], text: &str| node.command(&what).is_ok_and(|it| it.contains(text));
        wait_for(|| says(&replica, ["CLUSTER", "INFO"], "cluster_known_nodes:4"));
        wait_for(|| replica.command(&["CLUSTER", "REPLICATE", &id]).is_ok());
        wait_for(|| says(&replica, ["INFO", "replication"], "master_link_status:up"));
        wait_for(|| says(&replica, ["CLUSTER", "INFO"], "cluster_state:ok"));
        wait_for(|| self.nodes.iter().all(|node| says(node, ["CLUSTER", "NODES"], &own)));
        replica
    }

    /// Waits until every node reports that all nodes are known and all slots are served.
    ///
    /// # Panics
    ///
    /// If a node does not report this within 20 s.
    pub fn wait_until_healthy(&self) {
        let is_whole = |node: &RedisServer| {
            let info = node.command(&["CLUSTER", "INFO"]).unwrap_or_default();
            info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3")
        };
        wait_for(|| self.nodes.iter().all(is_whole));
    }
}

fn ask(node: &RedisServer, args: &[&str]) -> String {
    node.command(args).unwrap_or_else(|error| panic!("{}: {error}", args.join(" ")))
}

#[expect(clippy::disallowed_methods, reason = "the nodes are other processes, which send no signal when they agree")]
fn wait_for(agreed: impl Fn() -> bool) {
    for _ in 0..MAX_ASKS {
        if agreed() {
            return;
        }
        std::thread::sleep(ASK_EVERY);
    }
    panic!("the nodes of the Cluster do not agree");
}
