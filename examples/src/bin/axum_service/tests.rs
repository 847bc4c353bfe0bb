use llm_testkit::{Fault, Rule, Server};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::*;

/// Service on a free port, and the vendor that it calls.
struct Running {
    vendor: Vendor,
    address: String,
    task: JoinHandle<()>,
    _server: Server,
}

impl Running {
    async fn start(timeout: Duration) -> Self {
        let vendor = Vendor::new();
        let server = vendor.serve().await;
        let router = router(&server.base_url(), timeout, Plans::uniform(LIMITS).unwrap()).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        #[expect(clippy::disallowed_methods, reason = "the service runs beside the test")]
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { vendor, address, task, _server: server }
    }

    async fn send(&self, scenario: &str, stream: bool) -> reqwest::Response {
        let body = json!({"organisation": "acme", "scenario": scenario, "stream": stream}).to_string();
        let request = reqwest::Client::new().post(format!("{}/test-cases", self.address));
        request.header("content-type", "application/json").body(body).send().await.unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn header(response: &reqwest::Response, name: &str) -> Option<String> {
    Some(response.headers().get(name)?.to_str().unwrap().to_owned())
}

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn axum_service_streams_then_serves_from_cache() {
    let running = Running::start(MINUTE).await;
    let first = running.send("a login form", true).await;
    assert_eq!(header(&first, "content-type").as_deref(), Some("text/event-stream"));
    assert_eq!(header(&first, "cache-status").as_deref(), Some("llm-cache; fwd=uri-miss"));
    assert_eq!(header(&first, "x-llm-paid-usd"), None, "a stream has no cost before its end");
    let streamed = String::from_utf8(first.bytes().await.unwrap().to_vec()).unwrap();
    assert!(streamed.ends_with("data: [DONE]\n\n"));
    let second = running.send("a login form", false).await;
    assert!(header(&second, "cache-status").unwrap().starts_with("llm-cache; hit; "));
    assert!(header(&second, "age").unwrap().parse::<u64>().is_ok());
    assert_eq!(header(&second, "x-llm-paid-usd").as_deref(), Some("0.00"));
    assert_ne!(header(&second, "x-llm-saved-usd").as_deref(), Some("0.00"));
    assert_eq!(header(&second, "x-ratelimit-remaining-requests").as_deref(), Some("1"));
    let body: Value = serde_json::from_slice(&second.bytes().await.unwrap()).unwrap();
    assert_eq!(body["object"], "chat.completion");
    assert_eq!(running.vendor.calls(), 1);
    let costs = reqwest::get(format!("{}/costs", running.address)).await.unwrap().bytes().await.unwrap();
    assert!(std::str::from_utf8(&costs).unwrap().contains("saved"));
}

#[tokio::test]
async fn axum_service_refusal_has_openai_form() {
    let running = Running::start(MINUTE).await;
    for _ in 0..3 {
        assert!(running.send("a login form", false).await.status().is_success());
    }
    let refused = running.send("a login form", true).await;
    assert_eq!(refused.status().as_u16(), 429);
    assert!((1..=20).contains(&header(&refused, "retry-after").unwrap().parse::<u64>().unwrap()));
    assert_eq!(header(&refused, "x-ratelimit-limit-requests").as_deref(), Some("3"));
    let body: Value = serde_json::from_slice(&refused.bytes().await.unwrap()).unwrap();
    assert_eq!((&body["error"]["type"], &body["error"]["code"]), (&json!("rate_limit_error"), &json!("used_up")));
}

#[tokio::test]
async fn axum_service_hides_key_and_times_out() {
    let running = Running::start(MINUTE).await;
    let fault = Fault::status(axum::http::StatusCode::UNAUTHORIZED, r#"{"error":{"message":"bad key sk-1"}}"#);
    running.vendor.script(Rule::new(fault).once());
    let failed = running.send("a login form", false).await;
    assert_eq!((failed.status().as_u16(), header(&failed, "x-should-retry").as_deref()), (502, Some("false")));
    assert!(!std::str::from_utf8(&failed.bytes().await.unwrap()).unwrap().contains("bad key"));
    let hasty = Running::start(Duration::ZERO).await;
    hasty.vendor.script(Rule::new(Fault::NoResponse));
    assert_eq!(hasty.send("a login form", false).await.status().as_u16(), 504);
}

#[test]
fn axum_service_takes_at_most_60_lines() {
    let code =
        include_str!("main.rs").lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//"));
    let lines = code.take_while(|line| !line.starts_with("#[cfg(test)]")).count();
    assert!(lines <= 60, "{lines} lines");
}
