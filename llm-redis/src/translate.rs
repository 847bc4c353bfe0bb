//! What the client crate reports, in our words and without secrets.

use redis::{ErrorKind as Theirs, RedisError, ServerErrorKind};

use crate::{
    Error, ErrorKind,
    address::{Address, Secrets},
};

/// The longest text of a server that is passed on, in characters.
const MOST_TEXT: usize = 200;

/// An error that came instead of a connection.
pub(crate) fn of_connecting(error: &RedisError, address: &Address) -> Error {
    let secrets = &address.secrets;
    let own = |kind, text: &str| Error::new(kind, format!("{address}: {text}"));
    match error.kind() {
        Theirs::AuthenticationFailed => own(ErrorKind::Auth, WRONG_PASSWORD),
        Theirs::RESP3NotSupported => own(ErrorKind::MissingCommand, "no HELLO; Redis 7 or compatible is needed"),
        Theirs::Parse | Theirs::UnexpectedReturnType => own(ErrorKind::Protocol, NOT_REDIS),
        // A server that talks nonsense during the handshake.
        Theirs::Client => own(ErrorKind::Protocol, NOT_REDIS),
        Theirs::InvalidClientConfig => own(ErrorKind::InvalidSetting, &text(error, secrets)),
        Theirs::Server(_) | Theirs::Extension => {
            let answered = of_answer(error, "the handshake", address);
            own(answered.kind(), &answered.to_string())
        }
        _ if error.is_timeout() => own(ErrorKind::Timeout, "no connection in time"),
        _ if error.is_connection_refusal() => own(ErrorKind::Connection, "the connection was refused"),
        _ => {
            let text = text(error, secrets);
            // A Cluster's first connection hides what went wrong in a text.
            match ["WRONGPASS", "NOAUTH", "AuthenticationFailed"].iter().any(|refused| text.contains(refused)) {
                true => own(ErrorKind::Auth, WRONG_PASSWORD),
                false => own(ErrorKind::Connection, &text),
            }
        }
    }
}

/// An error that came instead of the answer to a command that was sent.
pub(crate) fn of_answer(error: &RedisError, command: &str, address: &Address) -> Error {
    let own = |kind, text: String| Error::new(kind, format!("{command}: {text}"));
    let code = error.code().unwrap_or_default().to_owned();
    let text = text(error, &address.secrets);
    match error.kind() {
        _ if error.is_timeout() => Error::sent(ErrorKind::Timeout, format!("{command}: no answer in time")),
        Theirs::Parse => Error::sent(ErrorKind::Protocol, format!("{command}: {NOT_REDIS}")),
        Theirs::Io | Theirs::ClusterConnectionNotFound | Theirs::Client => {
            Error::sent(ErrorKind::Connection, format!("{command}: the connection broke before the answer came"))
        }
        Theirs::AuthenticationFailed => own(ErrorKind::Auth, WRONG_PASSWORD.to_owned()),
        Theirs::Server(ServerErrorKind::NoPerm) => own(ErrorKind::NotPermitted, NOT_PERMITTED.to_owned()),
        Theirs::Server(ServerErrorKind::ReadOnly) => own(ErrorKind::ReadOnly, READ_ONLY.to_owned()),
        Theirs::Server(ServerErrorKind::Moved | ServerErrorKind::Ask) if address.cluster => {
            Error::sent(ErrorKind::Connection, format!("{command}: the Cluster's node for this slot is away"))
        }
        Theirs::Server(ServerErrorKind::Moved | ServerErrorKind::Ask) => {
            own(ErrorKind::ClusterRedirect, REDIRECTED.to_owned())
        }
        Theirs::Server(ServerErrorKind::CrossSlot) => own(ErrorKind::CrossSlot, CROSS_SLOT.to_owned()),
        Theirs::Server(
            ServerErrorKind::BusyLoading
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::MasterDown
            | ServerErrorKind::TryAgain,
        ) => own(ErrorKind::NotReady, format!("the server is not ready ({code}); it says: {text}")),
        _ if code == "NOAUTH" || code == "WRONGPASS" => own(ErrorKind::Auth, WRONG_PASSWORD.to_owned()),
        _ if code == "OOM" => own(ErrorKind::OutOfMemory, FULL.to_owned()),
        // What a script met is told inside the script's own error.
        _ if text.contains("READONLY") || text.contains("read only replica") => {
            own(ErrorKind::ReadOnly, READ_ONLY.to_owned())
        }
        _ if text.contains("-OOM") || text.contains("command not allowed when used memory") => {
            own(ErrorKind::OutOfMemory, FULL.to_owned())
        }
        _ if text.contains("unknown command") || text.contains("Unknown Redis command") => own(
            ErrorKind::MissingCommand,
            "the server does not know a command that is needed; Redis 7 or compatible is, with no command renamed"
                .to_owned(),
        ),
        _ => own(ErrorKind::Server, format!("the server refused it ({code}): {text}")),
    }
}

const WRONG_PASSWORD: &str = "the server does not take the user and password of the URL";
const NOT_REDIS: &str = "what came back is not Redis' protocol; check host and port";
const NOT_PERMITTED: &str = "the user may not run this; the page on running a fleet lists the commands to allow";
const READ_ONLY: &str = "the server is a read-only replica; point the URL to the primary";
const REDIRECTED: &str = "the server is one node of a Cluster; use a redis+cluster:// URL";
const CROSS_SLOT: &str = "the keys live in different slots; give them one hash tag";
const FULL: &str = "the server's memory is full; raise maxmemory, or use an evicting policy for a cache";

/// What was said, shortened, without the arguments of a command and without the URL's secrets.
fn text(error: &RedisError, secrets: &Secrets) -> String {
    let said = match error.detail() {
        Some(detail) => detail.to_owned(),
        None => error.to_string(),
    };
    let said = said.split(", with args beginning with").next().unwrap_or_default();
    secrets.without(said).chars().take(MOST_TEXT).filter(|c| !c.is_control()).collect()
}
