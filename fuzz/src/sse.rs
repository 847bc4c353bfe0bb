//! Target of server-sent events, beside a slow and plain reader.

use std::{sync::Arc, time::SystemTime};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use llm_core::{
    ChatEvent, ChatRequest, ChatResponse, EmbedRequest, Embeddings, Error, ErrorKind, Usage, layer::VendorLimits,
};
use llm_providers::{
    SecretString,
    protocol::{Decoded, EncodedRequest, StreamDecoder, VendorProtocol},
};

use crate::{
    canned::{BODY, Canned, EVENT, StreamCut},
    held,
    stream::{is_too_large, read},
};

/// Bytes that may be held for each byte of the input: those of an event, of its text, and of the aggregated response,
/// each with room to grow.
const FACTOR: u64 = 6;

/// Reads the bytes as events, cut and whole.
///
/// # Panics
///
/// If these are not the events that the standard says, or if bounds are passed without an error.
pub fn sse(data: &[u8]) {
    let data = Bytes::copy_from_slice(data);
    let plain = Plain::read(&data);
    for cut in [StreamCut::of(&data), StreamCut::Whole] {
        let came = read(&Echo, &data, cut, true);
        held::bounded(data.len().min(BODY), FACTOR, || read(&Echo, &data, cut, false));
        assert!(plain.events.starts_with(&came.events[..came.events.len().min(plain.events.len())]), "{came:?}");
        let too_large = is_too_large(&came);
        let whole = came.events.len() == plain.events.len() + 1;
        if plain.valid && (plain.largest > EVENT || data.len() > BODY) {
            assert!(too_large || Canned::new(data.clone(), cut).breaks(), "an event of {} bytes passed", plain.largest);
        } else if plain.valid && !Canned::new(data.clone(), cut).breaks() {
            assert!(came.error.is_none() && whole, "{plain:?} was read as {came:?}");
        } else {
            assert!(came.error.is_some() && !whole);
        }
        assert!(!too_large || plain.largest > EVENT || data.len() > BODY, "refused for its size: {}", plain.largest);
    }
}

/// Events by the standard, except that values must be UTF-8 and that the last event needs no blank line.
#[derive(Debug)]
struct Plain {
    events: Vec<ChatEvent>,
    /// True if all values are UTF-8.
    valid: bool,
    /// Size of the largest event in bytes. The end of a line counts as one.
    largest: usize,
}

impl Plain {
    fn read(data: &[u8]) -> Self {
        let mut plain = Self { events: Vec::new(), valid: true, largest: 0 };
        let (mut name, mut data_lines, mut size) = (None, None::<String>, 0);
        let lines = lines(data);
        for (at, line) in lines.iter().enumerate() {
            let ends = at + 1 < lines.len();
            size += line.len() + usize::from(ends && !line.is_empty());
            plain.largest = plain.largest.max(size);
            let line = if at == 0 { line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line) } else { line };
            if plain.valid && !line.is_empty() {
                plain.valid = field(line, &mut name, &mut data_lines).is_some();
            }
            if line.is_empty() || !ends {
                let name = name.take();
                if let (Some(data), true) = (data_lines.take(), plain.valid) {
                    plain.events.push(piece(name.as_deref(), &data));
                }
            }
            if lines[at].is_empty() {
                size = 0;
            }
        }
        plain
    }
}

/// Lines that end with CR, LF or both; what is after the last end is a line too.
fn lines(data: &[u8]) -> Vec<&[u8]> {
    let (mut lines, mut rest) = (Vec::new(), data);
    while let Some(end) = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n')) {
        lines.push(&rest[..end]);
        rest = rest[end..].strip_prefix(b"\r\n").unwrap_or(&rest[end + 1..]);
    }
    lines.push(rest);
    lines
}

fn field(line: &[u8], name: &mut Option<String>, data: &mut Option<String>) -> Option<()> {
    let colon = line.iter().position(|byte| *byte == b':');
    let (of, value) = colon.map_or((line, &b""[..]), |colon| (&line[..colon], &line[colon + 1..]));
    let value = value.strip_prefix(b" ").unwrap_or(value);
    let text = std::str::from_utf8(value).ok();
    match of {
        b"data" => match data {
            Some(data) => *data = format!("{data}\n{}", text?),
            None => *data = Some(text?.to_owned()),
        },
        b"event" => *name = Some(text?.to_owned()),
        b"id" if !value.contains(&0) => drop(text?),
        b"retry" => drop(text?),
        _ => {}
    }
    Some(())
}

fn piece(name: Option<&str>, data: &str) -> ChatEvent {
    ChatEvent::Text { choice: 0, text: format!("{name:?} {data}").into() }
}

/// Format whose pieces are the events themselves, and one more at the end.
#[derive(Clone, Copy, Debug)]
struct Echo;

impl VendorProtocol for Echo {
    type StreamDecoder = Self;

    const NAME: &'static str = "echo";
    const BASE_URL: &'static str = "http://localhost/v1";

    fn authorize(&self, _: &SecretString, _: &mut HeaderMap) -> Result<(), Error> {
        Ok(())
    }

    fn chat(&self, _: &ChatRequest, _: bool) -> Result<EncodedRequest, Error> {
        Ok(EncodedRequest::get("chat"))
    }

    fn read_chat(&self, _: &[u8]) -> Result<Decoded<ChatResponse>, Error> {
        Err(unsupported())
    }

    fn stream_decoder(&self, _: &ChatRequest) -> Self {
        *self
    }

    fn embed(&self, _: &EmbedRequest) -> Result<EncodedRequest, Error> {
        Err(unsupported())
    }

    fn read_embeddings(&self, _: &[u8], _: usize) -> Result<Decoded<Embeddings>, Error> {
        Err(unsupported())
    }

    fn classify(&self, _: StatusCode, _: &HeaderMap, _: &[u8], _: SystemTime, _: Option<&str>) -> Error {
        unsupported()
    }

    fn limits(&self, _: &HeaderMap, _: &Arc<str>, _: SystemTime) -> Option<VendorLimits> {
        None
    }

    fn request_id<'h>(&self, _: &'h HeaderMap) -> Option<&'h str> {
        None
    }
}

impl StreamDecoder for Echo {
    fn event(&mut self, name: Option<&str>, data: &str) -> Result<Vec<ChatEvent>, Error> {
        Ok(vec![piece(name, data)])
    }

    fn finish(&mut self) -> Result<Vec<ChatEvent>, Error> {
        Ok(vec![piece(None, "the end")])
    }

    fn is_done(&self) -> bool {
        false
    }

    fn usage(&self) -> Option<Usage> {
        None
    }

    fn service_tier(&self) -> Option<&Arc<str>> {
        None
    }
}

fn unsupported() -> Error {
    Error::new(ErrorKind::Unsupported, "there are only streams here")
}
