//! Tests of the HTTP client's own settings, over loopback. No test waits for a clock or asserts a time.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};
use std::time::Duration;

use llm_providers::{
    OpenAi,
    llm_core::{ErrorKind, Provider},
    transport::Reqwest,
};
use llm_testkit::Vendor;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use crate::streaming::question;

fn client(transport: Reqwest, base: &str) -> OpenAi {
    OpenAi::with_transport("sk-test", transport).unwrap().base_url(base).unwrap()
}

#[tokio::test]
async fn proxy_receives_every_call() {
    let vendor = Vendor::new();
    let server = vendor.serve().await;
    let transport = Reqwest::new().unwrap().proxy(&server.origin()).unwrap();
    // The host does not exist, so that only the proxy can answer.
    let reply = client(transport, "http://nowhere.invalid/v1").chat(question()).await.unwrap();
    assert_eq!(Some(reply.output.text().into_owned()), vendor.responses_to(&vendor.requests()[0]).pop());
}

#[test]
fn proxy_password_is_never_shown() {
    let transport = Reqwest::new().unwrap().proxy("http://user:secret@127.0.0.1:1").unwrap();
    assert!(!format!("{transport:?}").contains("secret"));
    let error = Reqwest::new().unwrap().proxy("http://secret:x:y:z").unwrap_err();
    assert!(error.kind() == ErrorKind::InvalidRequest && !format!("{error:?}").contains("secret"));
}

/// Returns the number of connections that two consecutive calls open.
async fn connections(transport: Reqwest) -> usize {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/v1", listener.local_addr().unwrap());
    let accepted = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&accepted);
    let serve = async move {
        let mut open = tokio::task::JoinSet::new();
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            count.fetch_add(1, Ordering::SeqCst);
            open.spawn(async move {
                let mut seen = Vec::new();
                let mut piece = [0; 4_096];
                while let Ok(read @ 1..) = socket.read(&mut piece).await {
                    seen.extend_from_slice(&piece[..read]);
                    if seen.ends_with(b"}") {
                        let response = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 2\r\n\r\n{}";
                        socket.write_all(response.as_bytes()).await.unwrap();
                        seen.clear();
                    }
                }
            });
        }
    };
    let client = client(transport, &base);
    let calls = async {
        for _ in 0..2 {
            assert_eq!(client.chat(question()).await.unwrap_err().kind(), ErrorKind::Overloaded);
        }
    };
    tokio::select! {
        () = serve => unreachable!("it serves for ever"),
        () = calls => {}
    }
    accepted.load(Ordering::SeqCst)
}

#[tokio::test]
async fn max_idle_connections_zero_reuses_no_connection() {
    assert_eq!(connections(Reqwest::new().unwrap()).await, 1);
    assert_eq!(connections(Reqwest::new().unwrap().max_idle_connections(0).unwrap()).await, 2);
}

/// Returns the error of a response that stalls after its first byte, until its client closes the connection.
async fn stalled_response(transport: Reqwest) -> ErrorKind {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = client(transport, &format!("http://{}/v1", listener.local_addr().unwrap()));
    let serve = async {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut seen = Vec::new();
        while !seen.ends_with(b"}") && socket.read_buf(&mut seen).await.unwrap() > 0 {}
        let _ = socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{").await;
        let _ = socket.read_to_end(&mut seen).await;
    };
    let (reply, ()) = tokio::join!(client.chat(question()), serve);
    reply.unwrap_err().kind()
}

#[tokio::test]
async fn total_timeout_ends_a_stalled_response() {
    let transport = Reqwest::new().unwrap().total_timeout(Duration::from_millis(50)).unwrap();
    assert_eq!(stalled_response(transport).await, ErrorKind::Timeout);
}

#[tokio::test]
async fn idle_timeout_of_zero_reuses_no_connection() {
    assert_eq!(connections(Reqwest::new().unwrap().idle_timeout(Some(Duration::ZERO)).unwrap()).await, 2);
    assert_eq!(connections(Reqwest::new().unwrap().idle_timeout(None).unwrap()).await, 1);
}

#[cfg(feature = "http2")]
#[tokio::test]
async fn http2_begins_with_its_preface() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/v1", listener.local_addr().unwrap());
    let client = client(Reqwest::new().unwrap().only_http2(true).unwrap(), &base);
    let serve = async {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut preface = [0; 24];
        socket.read_exact(&mut preface).await.unwrap();
        preface
    };
    let (error, preface) = tokio::join!(client.chat(question()), serve);
    assert_eq!(&preface, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Transport);
}

#[cfg(feature = "rustls")]
#[test]
fn root_certificates_are_pem() {
    let transport = Reqwest::new().unwrap();
    assert!(transport.clone().root_certificates(ROOT.as_bytes()).is_ok());
    assert!(transport.clone().root_certificates([ROOT, ROOT].concat().as_bytes()).is_ok());
    for wrong in ["", "secret", "-----BEGIN CERTIFICATE-----\nsecret\n-----END CERTIFICATE-----\n"] {
        let error = transport.clone().root_certificates(wrong.as_bytes()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{error:?}");
    }
}

/// Self-signed certificate that was made for this test. Its private key was not kept.
#[cfg(feature = "rustls")]
const ROOT: &str = "\
-----BEGIN CERTIFICATE-----\n\
MIIBiDCCAS2gAwIBAgIUc7GoLTvPdpMJadSIR/tZ1rwxT6EwCgYIKoZIzj0EAwIw\n\
GDEWMBQGA1UEAwwNbG9vcGJhY2sudGVzdDAgFw0yNjExMjExMzI5NDlaGA8yMTI2\n\
MTAyODEzMjk0OVowGDEWMBQGA1UEAwwNbG9vcGJhY2sudGVzdDBZMBMGByqGSM49\n\
AgEGCCqGSM49AwEHA0IABNuzreMuY+CwJBWuF+ioMAJFN79BJ9vMprmVLUFdWo1s\n\
oBJNjImPcPLVJlqC21sjb+j2LV5KMOUOHTVffF8TkFSjUzBRMB0GA1UdDgQWBBRd\n\
y3JAhJmW2LHMGg/p1cnTIpLUJzAfBgNVHSMEGDAWgBRdy3JAhJmW2LHMGg/p1cnT\n\
IpLUJzAPBgNVHRMBAf8EBTADAQH/MAoGCCqGSM49BAMCA0kAMEYCIQC4PiQDhIAx\n\
s4488Tap6XdCHOuQIi0X2VqAN4OqcrPQQwIhANq2uu719N+jYISjG35yXYb66adU\n\
T14F0P11BIxukluN\n\
-----END CERTIFICATE-----\n";
