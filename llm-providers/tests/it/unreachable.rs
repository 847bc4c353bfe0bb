//! Tests of vendors that cannot be reached, and of the causes that the errors name.

use llm_providers::{
    OpenAi,
    llm_core::{Charge, Error, ErrorKind, Provider},
};
use tokio::net::TcpListener;

use crate::streaming::question;

async fn error(base: &str) -> Error {
    let error = OpenAi::keyless().unwrap().base_url(base).unwrap().chat(question()).await.unwrap_err();
    assert_eq!((error.kind(), error.charge()), (ErrorKind::Transport, Charge::None), "{error:?}");
    assert!(error.message().starts_with("the vendor cannot be reached: "), "{error}");
    assert!(!format!("{error:?}").contains("/v1"), "no address: {error:?}");
    error
}

#[tokio::test]
async fn unreachable_names_refused_connection() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    assert!(error(&format!("http://{gone}/v1")).await.message().contains("refused"));
}

#[tokio::test]
async fn unreachable_names_missing_host() {
    // The label is too long for a host name, so that no name server is asked.
    let error = error(&format!("http://{}.invalid/v1", "a".repeat(64))).await;
    assert!(error.message().contains("name was not found"), "{error:?}");
}

#[cfg(feature = "rustls")]
#[tokio::test]
async fn unreachable_names_certificate() {
    use std::sync::Arc;

    use tokio_rustls::{
        TlsAcceptor,
        rustls::{ServerConfig, crypto::aws_lc_rs, pki_types::PrivatePkcs8KeyDer},
    };

    let own = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(own.signing_key.serialize_der());
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let config = config.with_single_cert(vec![own.cert.der().clone()], key.into()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("https://{}/v1", listener.local_addr().unwrap());
    let serve = async {
        let socket = listener.accept().await.unwrap().0;
        TlsAcceptor::from(Arc::new(config)).accept(socket).await
    };
    let (error, _) = tokio::join!(error(&base), serve);
    assert!(error.message().contains("certificate is not trusted"), "{error:?}");
}
