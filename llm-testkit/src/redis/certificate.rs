//! A certificate made on the fly.

use rcgen::{CertifiedKey, generate_simple_self_signed};

/// A certificate for this machine's loopback that is its own root, and its key; both in PEM.
pub(super) fn make() -> (String, String) {
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names).expect("the names are valid");
    (cert.pem(), signing_key.serialize_pem())
}
