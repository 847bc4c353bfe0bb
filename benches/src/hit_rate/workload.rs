use std::time::Duration;

/// Series of requests, in the order of their times.
#[derive(Clone, Debug)]
pub struct Workload {
    /// Description of the series and of what makes two of its requests equal.
    pub name: String,
    /// Requests of the series.
    pub requests: Vec<Request>,
}

/// One request of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Time of the request, since 1970 or since the series began.
    pub at: Duration,
    /// Tenant of the request. Tenants share no responses.
    pub tenant: u8,
    /// Number of the prompt. Requests with equal numbers are equal.
    pub prompt: u32,
}

impl Workload {
    /// Creates a series, and sorts it by time.
    pub fn new(name: impl Into<String>, mut requests: Vec<Request>) -> Self {
        requests.sort_by_key(|request| request.at);
        Self { name: name.into(), requests }
    }

    /// Returns the time from the first request to the last.
    pub fn span(&self) -> Duration {
        match (self.requests.first(), self.requests.last()) {
            (Some(first), Some(last)) => last.at - first.at,
            _ => Duration::ZERO,
        }
    }

    /// Returns the number of different requests. Requests of different tenants are different.
    pub fn distinct(&self) -> usize {
        let keys: std::collections::HashSet<_> = self.requests.iter().map(Request::key).collect();
        keys.len()
    }
}

impl Request {
    /// Returns the key that the response to the request is stored under.
    pub fn key(&self) -> (u8, u32) {
        (self.tenant, self.prompt)
    }
}
