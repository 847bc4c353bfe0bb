use futures_util::future::join_all;
use llm_testkit::{Fault, Rule, Server, Vendor};
use tokio::{net::TcpListener, task::JoinHandle};

use super::*;

/// Service on a free port, and its vendor.
struct Running {
    vendor: Vendor,
    cache: Cache,
    address: String,
    http: reqwest::Client,
    task: JoinHandle<()>,
    _server: Server,
}

impl Running {
    async fn start() -> Self {
        let vendor = Vendor::new();
        let server = vendor.serve().await;
        let service = Service::new(&server.base_url(), &["2/minute", "100k tokens/day"]).unwrap();
        let cache = service.cache().clone();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        #[expect(clippy::disallowed_methods, reason = "the service runs beside the test")]
        let task = tokio::spawn(async move { axum::serve(listener, service.router()).await.unwrap() });
        Self { vendor, cache, address, http: reqwest::Client::new(), task, _server: server }
    }

    async fn post(&self, path: &str, organisation: &str, scenario: &str) -> reqwest::Response {
        let form = Form { organisation: organisation.into(), scenario: scenario.into() };
        let request = self.http.post(format!("{}{path}", self.address)).header("content-type", "application/json");
        request.body(serde_json::to_string(&form).unwrap()).send().await.unwrap()
    }

    async fn send(&self, path: &str, organisation: &str, scenario: &str) -> TestCases {
        let response = self.post(path, organisation, scenario).await;
        assert!(response.status().is_success());
        serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[tokio::test]
async fn axum_service_calls_once_for_equal_requests() {
    let running = Running::start().await;
    let plain = running.send("/before", "acme", "a login form").await;
    let first = running.send("/test-cases", "acme", "a login form").await;
    let second = running.send("/test-cases", "acme", "a login form").await;
    assert!(!plain.text.is_empty());
    assert_eq!([&first, &second], [&plain, &plain]);
    assert_eq!(running.vendor.calls(), 2, "one before, one after");
    assert_eq!(running.cache.stats().hits, 1);
}

#[tokio::test]
async fn axum_service_separates_requests_and_tenants() {
    let running = Running::start().await;
    for (organisation, scenario) in [("acme", "a login form"), ("acme", "a search field"), ("other", "a login form")] {
        running.send("/test-cases", organisation, scenario).await;
    }
    assert_eq!(running.vendor.calls(), 3);
}

#[tokio::test]
async fn axum_service_joins_two_hundred_equal_calls() {
    let running = Running::start().await;
    let all = join_all((0..200).map(|_| running.send("/test-cases", "acme", "a login form"))).await;
    assert!(all.iter().all(|cases| *cases == all[0]));
    assert_eq!(running.vendor.calls(), 1);
}

#[tokio::test]
async fn axum_service_limit_states_retry_after() {
    let running = Running::start().await;
    for _ in 0..2 {
        running.send("/limited", "acme", "a login form").await;
    }
    let refused = running.post("/limited", "acme", "a login form").await;
    assert_eq!(refused.status().as_u16(), 429);
    let header = |name: &str| refused.headers()[name].to_str().unwrap().to_owned();
    assert!((1..=30).contains(&header("retry-after").parse::<u64>().unwrap()), "half a minute brings one back");
    assert_eq!(
        (header("x-ratelimit-limit-requests"), header("x-ratelimit-remaining-requests")),
        ("2".into(), "0".into())
    );
    let left: u64 = header("x-ratelimit-remaining-tokens").parse().unwrap();
    assert!(left < 100_000 && left > 90_000, "what was used counts, not what was reserved: {left}");
    running.send("/limited", "other", "a login form").await;
    assert_eq!(running.vendor.calls(), 2, "one for each organisation");
}

#[tokio::test]
async fn axum_service_stores_no_failure() {
    let running = Running::start().await;
    running
        .vendor
        .script(Rule::new(Fault::status(axum::http::StatusCode::BAD_REQUEST, r#"{"error":{"message":"no"}}"#)).once());
    assert_eq!(running.post("/test-cases", "acme", "a login form").await.status().as_u16(), 502);
    assert!(!running.send("/test-cases", "acme", "a login form").await.text.is_empty());
}
