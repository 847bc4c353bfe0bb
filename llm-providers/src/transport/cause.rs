//! Causes of failed connections, with advice. The error's own text is not part of messages, because it may contain
//! addresses.

use std::{error::Error as StdError, io, iter::successors};

/// Returns the cause of a connection that failed or broke off; `None` if the cause is not known.
pub(crate) fn cause(error: &(dyn StdError + 'static)) -> Option<&'static str> {
    successors(Some(error), |&error| error.source()).find_map(|error| {
        let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
        // Errors of certificates and of name look-ups are recognised by their text, because their types are not
        // accessible here.
        of_certificate(&error.to_string()).or_else(|| kind.and_then(of_io)).or_else(|| of_look_up(&error.to_string()))
    })
}

/// Adds the cause of a failed connection to a message, if the cause is known.
pub(crate) fn with_cause(message: &str, error: &(dyn StdError + 'static)) -> String {
    match cause(error) {
        Some(cause) => format!("{message}: {cause}"),
        None => message.to_owned(),
    }
}

fn of_io(kind: io::ErrorKind) -> Option<&'static str> {
    use io::ErrorKind as K;
    Some(match kind {
        K::ConnectionRefused => "the connection was refused (does a server listen at the base URL?)",
        K::HostUnreachable | K::NetworkUnreachable => "there is no route to its address (is the network up?)",
        K::TimedOut => "the connection took too long",
        K::ConnectionReset | K::ConnectionAborted | K::BrokenPipe | K::UnexpectedEof => "the connection was closed",
        _ => return None,
    })
}

fn of_look_up(words: &str) -> Option<&'static str> {
    let look_up = words.contains("dns error") || words.contains("lookup address");
    look_up.then_some("its name was not found (is the base URL right?)")
}

fn of_certificate(words: &str) -> Option<&'static str> {
    let words = words.to_ascii_lowercase();
    let says = |word: &str| words.contains(word);
    Some(match () {
        () if !says("certificate") => return None,
        () if says("expired") => "its certificate has expired",
        () if says("not valid for name") || says("notvalidforname") => {
            "its certificate is for another name (is the base URL right?)"
        }
        () => "its certificate is not trusted (see root_certificates)",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cause_is_found_within_wrapped_errors() {
        for (inner, word) in [
            (io::Error::from(io::ErrorKind::ConnectionRefused), "refused"),
            (io::Error::from(io::ErrorKind::NetworkUnreachable), "route"),
            (io::Error::from(io::ErrorKind::ConnectionReset), "closed"),
            (io::Error::other("failed to lookup address information: h.test"), "name was not found"),
            (io::Error::other("invalid peer certificate: UnknownIssuer"), "not trusted"),
            (io::Error::other("invalid peer certificate: Expired"), "expired"),
            (io::Error::other("invalid peer certificate: certificate not valid for name \"h.test\""), "another name"),
        ] {
            let error = io::Error::other(llm_core::Error::invalid("outer").with_source(inner));
            let message = with_cause("it failed", &error);
            assert!(message.starts_with("it failed: ") && message.contains(word), "{message}");
            assert!(!message.contains("h.test"), "{message}");
        }
        assert_eq!(with_cause("it failed", &io::Error::other("strange")), "it failed");
    }
}
