//! Conversion of the `redis` crate's errors to errors of this crate, from which secrets are removed.

use redis::{ErrorKind as Theirs, RedisError, ServerErrorKind};

use crate::{
    Error, ErrorKind,
    address::{Address, Secrets},
};

/// Largest number of characters of a server's error text that an error contains.
const MAX_TEXT: usize = 200;

/// Converts an error that occurred while a connection was opened.
pub(crate) fn connect_error(error: &RedisError, address: &Address) -> Error {
    let secrets = &address.secrets;
    let own = |kind, text: &str| Error::new(kind, format!("{address}: {text}"));
    match error.kind() {
        Theirs::AuthenticationFailed => own(ErrorKind::Auth, WRONG_PASSWORD),
        Theirs::RESP3NotSupported => {
            own(ErrorKind::MissingCommand, "the server has no HELLO command; use Redis 7 or compatible")
        }
        Theirs::Parse | Theirs::UnexpectedReturnType => own(ErrorKind::Protocol, NOT_REDIS),
        // The server sent something other than a Redis reply during the handshake.
        Theirs::Client => own(ErrorKind::Protocol, NOT_REDIS),
        Theirs::InvalidClientConfig => own(ErrorKind::InvalidSetting, &text(error, secrets)),
        Theirs::Server(_) | Theirs::Extension => {
            let refused = call_error(error, "the handshake", address);
            own(refused.kind(), &refused.to_string())
        }
        _ if error.is_timeout() => own(ErrorKind::Timeout, "no connection in time"),
        _ if error.is_connection_refusal() => own(ErrorKind::Connection, "the connection was refused"),
        _ => {
            let text = text(error, secrets);
            // For a failed first connection to a Cluster, the `redis` crate states the cause only as text.
            match ["WRONGPASS", "NOAUTH", "AuthenticationFailed"].iter().any(|code| text.contains(code)) {
                true => own(ErrorKind::Auth, WRONG_PASSWORD),
                false => own(ErrorKind::Connection, &text),
            }
        }
    }
}

/// Converts the error of a command that was sent.
pub(crate) fn call_error(error: &RedisError, command: &str, address: &Address) -> Error {
    let own = |kind, text: String| Error::new(kind, format!("{command}: {text}"));
    let code = error.code().unwrap_or_default().to_owned();
    let text = text(error, &address.secrets);
    match error.kind() {
        _ if error.is_timeout() => Error::sent(ErrorKind::Timeout, format!("{command}: no response in time")),
        Theirs::Parse => Error::sent(ErrorKind::Protocol, format!("{command}: {NOT_REDIS}")),
        Theirs::Io | Theirs::ClusterConnectionNotFound | Theirs::Client => {
            Error::sent(ErrorKind::Connection, format!("{command}: the connection broke before the response arrived"))
        }
        Theirs::AuthenticationFailed => own(ErrorKind::Auth, WRONG_PASSWORD.to_owned()),
        Theirs::Server(ServerErrorKind::NoPerm) => own(ErrorKind::NotPermitted, NOT_PERMITTED.to_owned()),
        Theirs::Server(ServerErrorKind::ReadOnly) => own(ErrorKind::ReadOnly, READ_ONLY.to_owned()),
        Theirs::Server(ServerErrorKind::Moved | ServerErrorKind::Ask) if address.cluster => {
            Error::sent(ErrorKind::Connection, format!("{command}: the Cluster's node for this slot is unavailable"))
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
        ) => own(ErrorKind::NotReady, format!("the server is not ready ({code}): {text}")),
        _ if code == "NOAUTH" || code == "WRONGPASS" => own(ErrorKind::Auth, WRONG_PASSWORD.to_owned()),
        _ if code == "OOM" => own(ErrorKind::OutOfMemory, FULL.to_owned()),
        // An error inside of a script appears as part of the script's error.
        _ if text.contains("READONLY") || text.contains("read only replica") => {
            own(ErrorKind::ReadOnly, READ_ONLY.to_owned())
        }
        _ if text.contains("-OOM") || text.contains("command not allowed when used memory") => {
            own(ErrorKind::OutOfMemory, FULL.to_owned())
        }
        _ if text.contains("can't run this command or subcommand") => {
            own(ErrorKind::NotPermitted, NOT_PERMITTED.to_owned())
        }
        _ if text.contains("unknown command") || text.contains("Unknown Redis command") => own(
            ErrorKind::MissingCommand,
            "the server does not know this command; use Redis 7 or compatible, with no command renamed".to_owned(),
        ),
        _ => own(ErrorKind::Server, format!("the server refused the command ({code}): {text}")),
    }
}

const WRONG_PASSWORD: &str = "the server refused the user and password of the URL; correct them";
const NOT_REDIS: &str = "the reply is not in the Redis protocol; check host and port";
const NOT_PERMITTED: &str = "the user has no permission for this; docs/fleet.md lists the commands to allow";
const READ_ONLY: &str = "the server is a read-only replica; point the URL to the primary";
const REDIRECTED: &str = "the server is one node of a Cluster; use a redis+cluster:// URL";
const CROSS_SLOT: &str = "the keys are in different slots; give them one hash tag";
const FULL: &str = "the server's memory is full; raise maxmemory, or use an evicting policy for a cache";

/// Returns the text of an error, cut to [`MAX_TEXT`] characters, without arguments of the command and secrets of the
/// URL.
fn text(error: &RedisError, secrets: &Secrets) -> String {
    let text = match error.detail() {
        Some(detail) => detail.to_owned(),
        None => error.to_string(),
    };
    let text = text.split(", with args beginning with").next().unwrap_or_default();
    secrets.redact(text).chars().take(MAX_TEXT).filter(|c| !c.is_control()).collect()
}
