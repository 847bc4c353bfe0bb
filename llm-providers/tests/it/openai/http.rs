//! Tests of the client over real HTTP on loopback. No test waits for a clock or asserts a time.

use std::time::Duration;

use futures_util::StreamExt;
use llm_providers::{
    OpenAi,
    llm_core::{Call, Charge, EmbedRequest, ErrorKind, Provider},
    transport::Reqwest,
};
use llm_testkit::{Fault, Rule, Server, Vendor};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use crate::streaming::{question, read};

async fn served(vendor: &Vendor) -> (Server, OpenAi) {
    let server = vendor.serve().await;
    let client = OpenAi::new("sk-test").unwrap().base_url(&server.base_url()).unwrap();
    (server, client)
}

#[tokio::test]
async fn http_serves_unary_streamed_and_embeddings() {
    let vendor = Vendor::new();
    let (_server, client) = served(&vendor).await;
    let whole = client.chat(question()).await.unwrap();
    let reply = client.chat_stream(question()).await.unwrap();
    let streamed = read(reply.output, reply.receipt).await;
    assert_eq!(streamed.response.unwrap().text(), whole.output.text());
    let vectors = client.embed(Call::new("t", EmbedRequest::new("e", ["a", "b"]))).await.unwrap();
    assert_eq!(vectors.output.vectors.len(), 2);
    vendor.wait_until(|vendor| vendor.bills().len() == 3).await;
    for receipt in [&whole.receipt, &streamed.receipt, &vectors.receipt] {
        let accounting = receipt.accounting();
        let bill = vendor.bill(accounting.request_id.as_deref().unwrap()).unwrap();
        let usage = accounting.usage.unwrap();
        assert_eq!((usage.input, usage.output), (bill.input_tokens, bill.output_tokens));
        assert!(!bill.cancelled, "responses are read to their end");
    }
}

#[tokio::test]
async fn http_connection_failures_have_error_kinds() {
    let vendor = Vendor::new();
    let (_server, client) = served(&vendor).await;
    for (fault, unary, streamed) in [
        (Fault::Reset, ErrorKind::Transport, ErrorKind::Transport),
        (Fault::CutAfter(2), ErrorKind::Incomplete, ErrorKind::Incomplete),
        (Fault::Html, ErrorKind::Malformed, ErrorKind::Malformed),
        (Fault::InvalidUtf8, ErrorKind::Malformed, ErrorKind::Malformed),
    ] {
        vendor.script(Rule::new(fault).times(2));
        let error = client.chat(question()).await.unwrap_err();
        assert_eq!((error.kind(), error.charge()), (unary, Charge::Unknown), "{error:?}");
        let error = match client.chat_stream(question()).await {
            Ok(reply) => read(reply.output, reply.receipt).await.error.unwrap(),
            Err(error) => error,
        };
        assert_eq!(error.kind(), streamed, "{error:?}");
        assert!(!format!("{error:?}").contains("127.0.0.1"), "no address: {error:?}");
    }
    assert_eq!(vendor.calls(), 8, "nothing is retried");
}

#[tokio::test]
async fn max_event_bytes_ends_stream() {
    let vendor = Vendor::new();
    vendor.script(Rule::new(Fault::HugeEvent(10_000_000)));
    let (_server, client) = served(&vendor).await;
    let error = match client.chat_stream(question()).await {
        Ok(reply) => read(reply.output, reply.receipt).await.error.unwrap(),
        Err(error) => error,
    };
    assert_eq!(error.kind(), ErrorKind::Malformed);
    assert!(error.message().contains("max_event_bytes"), "{error}");
    vendor.wait_until(|vendor| vendor.in_flight() == 0).await;
}

#[tokio::test]
async fn dropped_call_closes_http_connection() {
    let vendor = Vendor::new();
    let (_server, client) = served(&vendor).await;
    vendor.script(Rule::new(Fault::NoResponse).once());
    {
        let asked = client.chat(question());
        let arrived = vendor.wait_until(|vendor| vendor.in_flight() == 1);
        tokio::select! {
            _ = asked => panic!("there is no response"),
            () = arrived => {}
        }
    }
    vendor.wait_until(|vendor| vendor.in_flight() == 0).await;
    vendor.script(Rule::new(Fault::StallAfter(2)).once());
    let mut reply = client.chat_stream(question()).await.unwrap();
    reply.output.next().await.unwrap().unwrap();
    assert_eq!(vendor.in_flight(), 1);
    drop(reply);
    vendor.wait_until(|vendor| vendor.in_flight() == 0).await;
    assert!(vendor.bills().iter().all(|bill| bill.cancelled));
}

#[tokio::test]
async fn read_timeout_ends_silent_response() {
    let vendor = Vendor::new();
    let server = vendor.serve().await;
    let transport = Reqwest::new().unwrap().read_timeout(Duration::from_millis(20)).unwrap();
    let client = OpenAi::with_transport("sk-test", transport).unwrap().base_url(&server.base_url()).unwrap();
    for fault in [Fault::NoResponse, Fault::StallAfter(1)] {
        vendor.script(Rule::new(fault).times(2));
        let error = client.chat(question()).await.unwrap_err();
        assert_eq!((error.kind(), error.charge()), (ErrorKind::Timeout, Charge::Unknown), "{error:?}");
        let error = match client.chat_stream(question()).await {
            Ok(reply) => read(reply.output, reply.receipt).await.error.unwrap(),
            Err(error) => error,
        };
        assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
    }
}

#[tokio::test]
async fn http_unreachable_server_costs_nothing() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let client = OpenAi::keyless().unwrap().base_url(&format!("http://{gone}/v1")).unwrap();
    let error = client.chat(question()).await.unwrap_err();
    assert_eq!((error.kind(), error.charge()), (ErrorKind::Transport, Charge::None));
    assert!(!format!("{error:?}").contains("/v1"), "no address: {error:?}");
}

#[tokio::test]
async fn http_redirect_is_not_followed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let client = OpenAi::keyless().unwrap().base_url(&format!("http://{address}")).unwrap();
    let serve = async {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut request = vec![0; 4_096];
        let read = socket.read(&mut request).await.unwrap();
        let response =
            "HTTP/1.1 307 Temporary Redirect\r\nlocation: http://elsewhere.test/\r\ncontent-length: 0\r\n\r\n";
        socket.write_all(response.as_bytes()).await.unwrap();
        String::from_utf8_lossy(&request[..read]).to_ascii_lowercase()
    };
    let (error, request) = tokio::join!(client.chat(question()), serve);
    let error = error.unwrap_err();
    assert_eq!((error.kind(), error.status()), (ErrorKind::NotFound, Some(307)));
    assert!(error.message().contains("redirects"), "{error}");
    assert!(!request.contains("authorization"));
}
