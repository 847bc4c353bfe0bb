//! Tests of HTTP/2 and certificates, over TLS on loopback. No test waits for a clock or asserts a time.

use std::{
    net::Ipv4Addr,
    sync::{Arc, Mutex},
};

use http_body_util::BodyExt;
use hyper::{Request, body::Incoming, server::conn, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use llm_providers::{
    OpenAi,
    llm_core::{Charge, ErrorKind, Provider},
    transport::Reqwest,
};
use llm_testkit::Vendor;
use tokio::net::TcpListener;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::aws_lc_rs, pki_types::PrivatePkcs8KeyDer, version::TLS13},
};
use tower::Service;

use crate::streaming::question;

/// Vendor behind TLS, with a self-signed certificate.
struct Secured {
    vendor: Vendor,
    listener: TcpListener,
    acceptor: TlsAcceptor,
    /// Certificate of the vendor, as PEM.
    root: String,
    /// Protocol that was negotiated for each connection.
    agreed: Arc<Mutex<Vec<String>>>,
}

impl Secured {
    async fn new(protocols: &[&str]) -> Self {
        let own = rcgen::generate_simple_self_signed([Ipv4Addr::LOCALHOST.to_string()]).unwrap();
        let key = PrivatePkcs8KeyDer::from(own.signing_key.serialize_der());
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let config = config.with_protocol_versions(&[&TLS13]).unwrap().with_no_client_auth();
        let mut config = config.with_single_cert(vec![own.cert.der().clone()], key.into()).unwrap();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        Self {
            vendor: Vendor::new(),
            listener: TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap(),
            acceptor: TlsAcceptor::from(Arc::new(config)),
            root: own.cert.pem(),
            agreed: Arc::default(),
        }
    }

    fn client(&self, transport: Reqwest) -> OpenAi {
        let base = format!("https://{}/v1", self.listener.local_addr().unwrap());
        OpenAi::with_transport("sk-test", transport).unwrap().base_url(&base).unwrap()
    }

    /// Serves connections until the future is dropped.
    async fn serve(&self) {
        let mut open = tokio::task::JoinSet::new();
        loop {
            let (socket, _) = self.listener.accept().await.unwrap();
            let (acceptor, vendor, agreed) = (self.acceptor.clone(), self.vendor.transport(), Arc::clone(&self.agreed));
            open.spawn(async move {
                // A client that does not trust the certificate closes the connection here.
                let Ok(socket) = acceptor.accept(socket).await else { return };
                let protocol = socket.get_ref().1.alpn_protocol().unwrap_or_default().to_vec();
                let is_http2 = protocol == b"h2";
                agreed.lock().unwrap().push(String::from_utf8(protocol).unwrap());
                let service = service_fn(move |request: Request<Incoming>| {
                    let mut vendor = vendor.clone();
                    async move {
                        let (head, body) = request.into_parts();
                        let body = body.collect().await.unwrap().to_bytes();
                        vendor.call(Request::from_parts(head, body)).await
                    }
                });
                let socket = TokioIo::new(socket);
                // The client ends the connection when it is dropped.
                if is_http2 {
                    drop(conn::http2::Builder::new(TokioExecutor::new()).serve_connection(socket, service).await);
                } else {
                    drop(conn::http1::Builder::new().serve_connection(socket, service).await);
                }
            });
        }
    }

    /// Returns the protocols that were negotiated by two unary calls and a streamed one, made one after the other.
    async fn asked(&self, transport: Reqwest) -> Vec<String> {
        let client = self.client(transport);
        let calls = async {
            for _ in 0..2 {
                let reply = client.chat(question()).await.unwrap();
                assert_eq!(
                    Some(reply.output.text().into_owned()),
                    self.vendor.responses_to(&self.vendor.requests()[0]).pop()
                );
            }
            client.chat_stream(question()).await.unwrap().output.complete().await.unwrap();
        };
        tokio::select! {
            () = self.serve() => unreachable!("it serves for ever"),
            () = calls => {}
        }
        assert_eq!(self.vendor.calls(), 3);
        std::mem::take(&mut *self.agreed.lock().unwrap())
    }
}

#[tokio::test]
async fn http2_shares_one_connection() {
    let secured = Secured::new(&["h2", "http/1.1"]).await;
    let transport = Reqwest::new().unwrap().root_certificates(secured.root.as_bytes()).unwrap();
    assert_eq!(secured.asked(transport).await, ["h2"]);
    assert!(secured.vendor.requests().iter().all(|request| request.version() == http::Version::HTTP_2));
}

#[tokio::test]
async fn http2_falls_back_to_http1() {
    let secured = Secured::new(&["http/1.1"]).await;
    let transport = Reqwest::new().unwrap().root_certificates(secured.root.as_bytes()).unwrap();
    assert_eq!(secured.asked(transport).await, ["http/1.1"]);
}

#[tokio::test]
async fn root_certificates_unknown_is_not_trusted() {
    let secured = Secured::new(&["h2"]).await;
    let other = Secured::new(&["h2"]).await;
    let stranger = Reqwest::new().unwrap().root_certificates(other.root.as_bytes()).unwrap();
    for transport in [Reqwest::new().unwrap(), stranger] {
        let client = secured.client(transport);
        let error = tokio::select! {
            () = secured.serve() => unreachable!("it serves for ever"),
            reply = client.chat(question()) => reply.map(drop).unwrap_err(),
        };
        assert_eq!((error.kind(), error.charge()), (ErrorKind::Transport, Charge::None), "{error:?}");
        assert!(error.message().contains("certificate is not trusted"), "{error:?}");
        assert!(!format!("{error:?}").contains("127.0.0.1"), "{error:?}");
    }
    assert_eq!(secured.vendor.calls(), 0, "nothing is sent to it");
}
