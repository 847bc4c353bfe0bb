//! Connection to a single server or to a Cluster, as one type for both kinds of connections of the `redis` crate.

use std::{sync::Arc, time::Duration};

use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, PushInfo,
    RedisConnectionInfo, RedisResult, Value, aio::MultiplexedConnection, io::tcp::TcpSettings,
};

#[cfg(feature = "cluster")]
use redis::{
    cluster::{ClusterClient, ClusterConfig},
    cluster_async::ClusterConnection,
    cluster_routing::{Route, RoutingInfo, SingleNodeRoutingInfo, SlotAddr},
};

use crate::address::Address;

/// Server to connect to, with the settings of connections and calls.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) address: Address,
    /// Root certificates in PEM; `None` for those of the system.
    #[cfg_attr(not(feature = "tls"), expect(dead_code, reason = "no TLS, no certificates"))]
    pub(crate) roots: Option<Arc<[u8]>>,
    pub(crate) connect_timeout: Duration,
    pub(crate) call_timeout: Duration,
    /// Timeout of a probe. An available server replies within this time.
    pub(crate) probe_timeout: Duration,
    pub(crate) max_in_flight: usize,
    pub(crate) retries: u32,
}

/// Callback for messages that the server sends without a request.
pub(crate) type OnPush = Arc<dyn Fn(PushInfo) + Send + Sync>;

/// Open connection. Clones share the connection's socket, or its sockets in a Cluster.
#[derive(Clone)]
pub(crate) enum Connection {
    Single(MultiplexedConnection),
    #[cfg(feature = "cluster")]
    Cluster(ClusterConnection),
}

impl Connection {
    /// Connects to a server.
    ///
    /// The `redis` crate spawns the task that drives the connection. The task ends when the last clone of the
    /// connection is dropped.
    pub(crate) async fn open(target: &Target, on_push: OnPush) -> RedisResult<Self> {
        let address = &target.address;
        #[cfg(feature = "tls")]
        if address.tls {
            choose_provider();
        }
        let push = move |info: PushInfo| -> Result<(), ()> {
            on_push(info);
            Ok(())
        };
        #[cfg(feature = "cluster")]
        if address.cluster {
            return open_cluster(target, push).await.map(Self::Cluster);
        }
        let (host, port) = address.hosts.first().expect("a URL has a host");
        let client = client(target, info(address, host, *port)?)?;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(target.connect_timeout))
            // The connection needs no timeout for responses, because each call has a timeout that covers all of its
            // steps.
            .set_response_timeout(None)
            .set_pipeline_buffer_size(target.max_in_flight)
            .set_push_sender(push);
        client.get_multiplexed_async_connection_with_config(&config).await.map(Self::Single)
    }

    /// Sends a command to the server. In a Cluster, sends it to the primary of `slot`, or to any primary if `slot` is
    /// `None`.
    pub(crate) async fn send(&mut self, command: &Cmd, slot: Option<u16>) -> RedisResult<Value> {
        match self {
            Self::Single(connection) => {
                let _ = slot;
                connection.send_packed_command(command).await
            }
            #[cfg(feature = "cluster")]
            Self::Cluster(connection) => connection.route_command(command.clone(), route(slot)).await,
        }
    }

    /// Sends several commands to a single server, and returns their replies, including errors, in the same order.
    pub(crate) async fn send_all(&mut self, commands: &redis::Pipeline) -> RedisResult<Vec<Value>> {
        match self {
            Self::Single(connection) => connection.send_packed_commands(commands, 0, commands.len()).await,
            #[cfg(feature = "cluster")]
            Self::Cluster(_) => unreachable!("commands to a Cluster are sent one by one"),
        }
    }

    /// Subscribes to a channel on this connection.
    pub(crate) async fn subscribe(&mut self, channel: &str) -> RedisResult<()> {
        match self {
            Self::Single(connection) => connection.subscribe(channel).await,
            #[cfg(feature = "cluster")]
            Self::Cluster(connection) => connection.subscribe(channel).await,
        }
    }

    /// Ends the subscription to a channel on this connection.
    pub(crate) async fn unsubscribe(&mut self, channel: &str) -> RedisResult<()> {
        match self {
            Self::Single(connection) => connection.unsubscribe(channel).await,
            #[cfg(feature = "cluster")]
            Self::Cluster(connection) => connection.unsubscribe(channel).await,
        }
    }
}

/// Returns the connection settings of one host.
fn info(address: &Address, host: &str, port: u16) -> RedisResult<ConnectionInfo> {
    let transport = match address.tls {
        false => ConnectionAddr::Tcp(host.to_owned(), port),
        true => ConnectionAddr::TcpTls { host: host.to_owned(), port, insecure: false, tls_params: None },
    };
    let mut redis = RedisConnectionInfo::default()
        .set_protocol(ProtocolVersion::RESP3)
        .set_db(address.db)
        .set_lib_name(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
    if let Some(user) = &address.secrets.user {
        redis = redis.set_username(user);
    }
    if let Some(password) = &address.secrets.password {
        redis = redis.set_password(password);
    }
    let info = transport.into_connection_info()?;
    Ok(info.set_tcp_settings(TcpSettings::default().set_nodelay(true)).set_redis_settings(redis))
}

#[cfg(not(feature = "tls"))]
fn client(_: &Target, info: ConnectionInfo) -> RedisResult<Client> {
    Client::open(info)
}

#[cfg(feature = "tls")]
fn client(target: &Target, info: ConnectionInfo) -> RedisResult<Client> {
    match certificates(target) {
        Some(certificates) if target.address.tls => Client::build_with_tls(info, certificates),
        _ => Client::open(info),
    }
}

#[cfg(feature = "tls")]
fn certificates(target: &Target) -> Option<redis::TlsCertificates> {
    let root_cert = target.roots.as_ref()?.to_vec();
    Some(redis::TlsCertificates { client_tls: None, root_cert: Some(root_cert) })
}

/// Installs a crypto provider if the application has not installed one, because rustls panics if it was built with
/// several providers and none is installed.
#[cfg(feature = "tls")]
fn choose_provider() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Installing fails if another thread has installed a provider in the meantime. That provider works as well.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    }
}

/// Shortest and longest pause before a Cluster client looks up a slot again, in milliseconds.
#[cfg(feature = "cluster")]
const REDIRECT_PAUSE: (u64, u64) = (2, 16);

/// Connects to all nodes of a Cluster.
#[cfg(feature = "cluster")]
async fn open_cluster(
    target: &Target,
    push: impl Fn(PushInfo) -> Result<(), ()> + Send + Sync + 'static,
) -> RedisResult<ClusterConnection> {
    let address = &target.address;
    let nodes = address.hosts.iter().map(|(host, port)| info(address, host, *port));
    let nodes = nodes.collect::<RedisResult<Vec<_>>>()?;
    let mut builder = ClusterClient::builder(nodes)
        .use_protocol(ProtocolVersion::RESP3)
        .tcp_settings(TcpSettings::default().set_nodelay(true))
        .connection_timeout(target.connect_timeout)
        // Each call has a timeout of its own. The response timeout ends requests whose callers have dropped their
        // futures.
        .response_timeout(target.probe_timeout)
        .overall_response_timeout(None)
        // The client gets one retry more than the settings allow, so that a redirection, which is not a failure, does
        // not use up a retry.
        .retries(target.retries + 1)
        .min_retry_wait(REDIRECT_PAUSE.0)
        .max_retry_wait(REDIRECT_PAUSE.1)
        .push_sender(push);
    if let Some(user) = &address.secrets.user {
        builder = builder.username(user);
    }
    if let Some(password) = &address.secrets.password {
        builder = builder.password(password);
    }
    #[cfg(feature = "tls")]
    if let Some(certificates) = certificates(target).filter(|_| address.tls) {
        builder = builder.certs(certificates);
    }
    builder.build()?.get_async_connection_with_config(ClusterConfig::new()).await
}

/// Returns the route to the primary of a slot, or to any primary.
#[cfg(feature = "cluster")]
fn route(slot: Option<u16>) -> RoutingInfo {
    RoutingInfo::SingleNode(match slot {
        Some(slot) => SingleNodeRoutingInfo::SpecificNode(Route::new(slot, SlotAddr::Master)),
        None => SingleNodeRoutingInfo::RandomPrimary,
    })
}
