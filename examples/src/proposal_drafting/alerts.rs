//! Sending of alerts over HTTP.

use std::{sync::Arc, time::Duration};

use llm_core::BoxError;
use llm_ratelimit::{Form, Webhook};

/// Creates a webhook that posts alerts to a URL. Its task ends with [`Webhook::close`].
///
/// # Errors
///
/// There is no tokio runtime, or the HTTP client cannot be created.
pub fn post_to(address: impl Into<Arc<str>>) -> Result<Arc<Webhook>, BoxError> {
    let client = reqwest::Client::builder().timeout(Duration::from_secs(10)).build()?;
    let address = address.into();
    let post = move |json: String| {
        let request = client.post(&*address).header("content-type", "application/json").body(json);
        async move { request.send().await.is_ok_and(|response| response.status().is_success()) }
    };
    Ok(Webhook::spawn(Form::Slack, post)?)
}

#[cfg(test)]
mod tests {
    use llm_ratelimit::{Demand, Limiter, Plans, Settlement};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    /// Accepts one POST request, responds with a status, and returns the body of the request.
    async fn receive(listener: TcpListener, status: &str) -> String {
        let (mut stream, _) = listener.accept().await.unwrap();
        let (mut text, mut buffer) = (String::new(), [0; 1_024]);
        while !text.ends_with('}') {
            let length = stream.read(&mut buffer).await.unwrap();
            assert!(length > 0, "{text}");
            text += std::str::from_utf8(&buffer[..length]).unwrap();
        }
        stream.write_all(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").as_bytes()).await.unwrap();
        text
    }

    #[tokio::test]
    async fn alerts_are_posted_to_receiver() {
        for (status, lost) in [("200 OK", 0), ("500 Internal Server Error", 1)] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let alerts = post_to(format!("http://{}/alerts", listener.local_addr().unwrap())).unwrap();
            let limiter = Limiter::builder(Plans::uniform(["100 tokens/day"]).unwrap()).sink(Arc::clone(&alerts));
            let limiter = limiter.build().unwrap();
            let call = async || Ok::<_, llm_core::Error>(((), Settlement::Unknown));
            limiter.run(&Demand::new("acme", "gpt-4o-mini").tokens(10, 45), call).await.unwrap();
            let (posted, ()) = tokio::join!(receive(listener, status), alerts.close());
            assert!(posted.starts_with("POST /alerts HTTP/1.1\r\n"), "{posted}");
            assert!(posted.contains("\r\n\r\n{\"text\":") && posted.contains("acme"), "{posted}");
            assert_eq!(alerts.lost(), lost, "{status}");
        }
    }
}
