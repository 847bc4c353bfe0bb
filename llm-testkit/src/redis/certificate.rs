//! Self-signed certificate.

use std::fmt;

use rcgen::{CertifiedKey, generate_simple_self_signed};

/// Self-signed certificate for loopback, and its key, both in PEM.
#[derive(Clone)]
pub(super) struct Certificate {
    pub(super) certificate: String,
    pub(super) key: String,
}

impl Certificate {
    pub(super) fn make() -> Self {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names).expect("the names are valid");
        Self { certificate: cert.pem(), key: signing_key.serialize_pem() }
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Certificate")
    }
}
