//! Minimal RESP2 client over a Unix socket, so that tests can inspect a server without the client under test.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Longest wait for a reply, because a paused server sends none.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// Sends a command. A list is returned as lines. The error is the text of the error that the server replied, or of the
/// failure of the connection.
pub(super) fn command(socket: &Path, password: Option<&str>, args: &[&str]) -> Result<String, String> {
    let mut connection = connect(socket).map_err(|error| error.to_string())?;
    if let Some(password) = password {
        ask(&mut connection, &["AUTH", password])?;
    }
    ask(&mut connection, args)
}

fn connect(socket: &Path) -> io::Result<BufReader<UnixStream>> {
    let stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(MAX_WAIT))?;
    Ok(BufReader::new(stream))
}

fn ask(connection: &mut BufReader<UnixStream>, args: &[&str]) -> Result<String, String> {
    let mut wire = format!("*{}\r\n", args.len());
    for arg in args {
        wire.push_str(&format!("${}\r\n{arg}\r\n", arg.len()));
    }
    let sent = connection.get_mut().write_all(wire.as_bytes());
    sent.and_then(|()| read(connection)).map_err(|error| error.to_string())?
}

fn read(connection: &mut BufReader<UnixStream>) -> io::Result<Result<String, String>> {
    let mut line = String::new();
    connection.read_line(&mut line)?;
    let line = line.trim_end();
    let (Some(kind), Some(rest)) = (line.chars().next(), line.get(1..)) else {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
    };
    let length = || rest.parse::<i64>().map_err(io::Error::other);
    Ok(match kind {
        '-' => Err(rest.to_owned()),
        '$' => match usize::try_from(length()?) {
            Err(_) => Ok(String::new()),
            Ok(length) => {
                let mut bytes = vec![0; length + 2];
                connection.read_exact(&mut bytes)?;
                bytes.truncate(length);
                Ok(String::from_utf8_lossy(&bytes).into_owned())
            }
        },
        '*' => {
            let items = (0..length()?.max(0)).map(|_| read(connection));
            let items: io::Result<Result<Vec<_>, _>> = items.collect();
            items?.map(|items| items.join("\n"))
        }
        _ => Ok(rest.to_owned()),
    })
}
