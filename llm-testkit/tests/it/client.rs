//! Client of a vendor, over either transport.

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use llm_testkit::{Server, Vendor};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tower::ServiceExt;

/// Response, read to its end. `whole` is false if it broke off.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Received {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) frames: Vec<Bytes>,
    pub(crate) whole: bool,
}

impl Received {
    pub(crate) fn bytes(&self) -> Bytes {
        self.frames.concat().into()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes()).expect("a body of JSON")
    }

    /// Returns the data of each event.
    pub(crate) fn data(&self) -> Vec<String> {
        let text = String::from_utf8(self.bytes().to_vec()).expect("events are UTF-8");
        let events = text.strip_suffix("\n\n").expect("events end with an empty line").split("\n\n");
        events.map(|event| event.strip_prefix("data: ").expect("an event is data").to_owned()).collect()
    }

    /// Returns the chunks before `[DONE]`.
    pub(crate) fn chunks(&self) -> Vec<Value> {
        let data = self.data();
        let chunks = data.iter().filter(|data| *data != "[DONE]");
        chunks.map(|data| serde_json::from_str(data).expect("a chunk is JSON")).collect()
    }

    /// Returns the text of one choice of a stream.
    pub(crate) fn streamed_text(&self, index: u64) -> String {
        let deltas = self.chunks();
        let of_choice = deltas.iter().flat_map(|chunk| chunk["choices"].as_array().expect("choices"));
        let texts = of_choice.filter(|choice| choice["index"] == index);
        texts.filter_map(|choice| choice["delta"]["content"].as_str()).collect()
    }

    pub(crate) fn request_id(&self) -> &str {
        self.headers["x-request-id"].to_str().expect("an id is ASCII")
    }
}

pub(crate) fn prompt(text: &str) -> Value {
    json!({"model": "m", "messages": [{"role": "user", "content": text}]})
}

/// Returns the same request with further fields.
pub(crate) fn with(mut body: Value, fields: Value) -> Value {
    for (name, value) in fields.as_object().expect("fields are an object") {
        body[name] = value.clone();
    }
    body
}

pub(crate) fn post(path: &str, body: &Value) -> Request<Bytes> {
    let request = Request::post(format!("/v1/{path}")).header("authorization", "Bearer sk-a");
    request.body(body.to_string().into()).expect("a valid request")
}

pub(crate) fn chat(body: &Value) -> Request<Bytes> {
    post("chat/completions", body)
}

/// Sends a request in process.
pub(crate) async fn ask(vendor: &Vendor, request: Request<Bytes>) -> Received {
    let (head, body) = vendor.transport().oneshot(request).await.expect("a head").into_parts();
    read(head.status, head.headers, body).await
}

/// Sends a request over HTTP, on a connection of its own.
pub(crate) async fn ask_http(server: &Server, request: Request<Bytes>) -> Received {
    let (mut sender, connection) = http1::handshake(connect(server).await).await.expect("a handshake");
    let driver = tokio::spawn(connection);
    let request = request.map(Full::new);
    let (head, body) = sender.send_request(host(request)).await.expect("a head").into_parts();
    let response = read(head.status, head.headers, body).await;
    driver.abort();
    response
}

pub(crate) async fn connect(server: &Server) -> TokioIo<TcpStream> {
    TokioIo::new(TcpStream::connect(server.address()).await.expect("the server listens"))
}

pub(crate) fn host<B>(mut request: Request<B>) -> Request<B> {
    request.headers_mut().insert("host", http::HeaderValue::from_static("vendor.test"));
    request
}

async fn read<B>(status: StatusCode, headers: HeaderMap, mut body: B) -> Received
where
    B: http_body::Body<Data = Bytes> + Unpin,
{
    let mut frames = Vec::new();
    while let Some(frame) = body.frame().await {
        match frame.map(http_body::Frame::into_data) {
            Ok(data) => frames.extend(data),
            Err(_) => return Received { status, headers, frames, whole: false },
        }
    }
    Received { status, headers, frames, whole: true }
}
