//! Response before its headers are known, and the effects of faults on it.

use crate::billing::CallKind;
use crate::fault::{Fault, RefusalKind};
use crate::flavor::Format;
use crate::plan::{End, Frame, Head};
use crate::prng::Prng;
use crate::protocol::Protocol;
use crate::refusal::Refusal;
use crate::response::{ChatResponse, EmbeddingResponse, Timeline};
use crate::settings::Settings;
use bytes::{Bytes, BytesMut};
use serde_json::Value;
use std::time::Duration;

/// Largest number of frames of a body that is not streamed, so that faults can interrupt it in its middle.
const PIECES: usize = 8;

/// Response with status 200, as frames with times.
#[derive(Debug)]
pub(crate) struct PlannedResponse {
    pub(crate) frames: Vec<Frame>,
    pub(crate) head: Head,
    pub(crate) end: End,
    pub(crate) streamed: bool,
    /// Length of a body that is not streamed, for the header `content-length`.
    pub(crate) length: Option<usize>,
    pub(crate) charge: Option<Charge>,
}

/// Data from which the bill of a call is made when the call ends.
#[derive(Debug)]
pub(crate) struct Charge {
    pub(crate) kind: CallKind,
    pub(crate) format: Format,
    pub(crate) response_id: String,
    pub(crate) model: String,
    pub(crate) response_hash: u64,
    pub(crate) input: u64,
    pub(crate) cached: u64,
    pub(crate) written: [u64; 2],
    pub(crate) output: u64,
}

/// Writer of responses in one format, which also applies a fault.
pub(crate) struct ResponseWriter<'a> {
    pub(crate) protocol: &'static dyn Protocol,
    pub(crate) settings: &'a Settings,
    pub(crate) prng: Prng,
    pub(crate) fault: Option<&'a Fault>,
}

impl ResponseWriter<'_> {
    pub(crate) fn chat(&mut self, mut response: ChatResponse) -> PlannedResponse {
        match self.fault {
            Some(Fault::InvalidToolJson) => response.corrupt_arguments(),
            Some(Fault::Filtered) => response.filter(),
            _ => {}
        }
        let moments = self.settings.latency.schedule(&mut self.prng, response.longest());
        let timeline = Timeline { per_delta: self.settings.tokens_per_delta.get(), moments: &moments };
        let usage = !matches!(self.fault, Some(Fault::NoUsage));
        let mut frames = if response.stream {
            self.protocol.events(&response, &timeline, usage)
        } else {
            let bytes = self.protocol.unary(&response, usage).to_string().into();
            vec![Frame { at: timeline.last(), bytes, tokens: response.output() }]
        };
        if let (Some(Fault::HugeEvent(length)), true) = (self.fault, response.stream) {
            let bytes = self.protocol.huge_event(&response, *length);
            // NOTE: the event follows the opening events of the stream. Anthropic's format has two of these, the others
            // have one.
            let index = if self.protocol.format() == Format::Anthropic { 2 } else { 1 };
            frames.insert(index.min(frames.len()), Frame { at: timeline.first(), bytes, tokens: 0 });
        }
        let charge = Charge {
            kind: if response.stream { CallKind::ChatStream } else { CallKind::Chat },
            format: self.protocol.format(),
            response_id: response.id.clone(),
            response_hash: response.hash,
            input: response.input,
            cached: response.cached,
            written: response.written,
            output: response.output(),
            model: response.model.clone(),
        };
        let error = |before| {
            let error = self.refusal();
            (self.protocol.error_event(&error, &response, before), error)
        };
        PlannedResponse::new(frames, charge).with_fault(self.fault, error)
    }

    pub(crate) fn embeddings(&mut self, embed: EmbeddingResponse) -> PlannedResponse {
        let at = self.settings.latency.schedule(&mut self.prng, 1)[0];
        let body = self.protocol.embeddings(&embed, !matches!(self.fault, Some(Fault::NoUsage)));
        let frames = vec![Frame { at, bytes: body.to_string().into(), tokens: 0 }];
        let charge = Charge {
            kind: CallKind::Embeddings,
            format: self.protocol.format(),
            response_id: String::new(),
            response_hash: embed.hash,
            input: embed.input,
            cached: 0,
            written: [0; 2],
            output: 0,
            model: embed.model,
        };
        let error = |_| (Bytes::new(), self.refusal());
        PlannedResponse::new(frames, charge).with_fault(self.fault, error)
    }

    /// Returns the error that a fault puts into a response.
    fn refusal(&self) -> Value {
        let kind = match self.fault {
            Some(Fault::RefusedInStream(kind)) => *kind,
            _ => RefusalKind::ServerError,
        };
        self.protocol.refuse(&Refusal::of_kind(kind), "").1
    }
}

impl PlannedResponse {
    fn new(frames: Vec<Frame>, charge: Charge) -> Self {
        let head = Head::At(frames.first().map_or(Duration::ZERO, |frame| frame.at));
        let streamed = charge.kind == CallKind::ChatStream;
        Self { frames, head, end: End::Done, streamed, length: None, charge: Some(charge) }
    }

    /// Applies a fault. `error` receives the number of events before the error, and returns the error as an event and
    /// as a complete body.
    fn with_fault(mut self, fault: Option<&Fault>, error: impl Fn(usize) -> (Bytes, Value)) -> Self {
        match fault {
            Some(Fault::HugeEvent(length)) if !self.streamed => self.pad(*length),
            Some(Fault::InvalidUtf8) => self.edit(1, invalidate),
            Some(Fault::TruncatedJson) => self.edit(self.frames.len() / 2, truncate),
            Some(Fault::ErrorEvent { after }) => self.fail(*after, error),
            Some(Fault::RefusedInStream(_)) => {
                self.fail(self.frames.iter().take_while(|frame| frame.tokens == 0).count(), error);
                self.charge = None;
            }
            Some(Fault::NoDone) if self.streamed => drop(self.frames.pop()),
            Some(Fault::Shred(size)) => self.frames = shred(&self.frames, size.get()),
            Some(Fault::Slow(delay)) => self.delay(*delay),
            _ => {}
        }
        if !self.streamed {
            self.length = Some(self.frames.iter().map(|frame| frame.bytes.len()).sum());
        }
        match fault {
            Some(Fault::CutAfter(frames)) => self.break_off(*frames, End::Cut),
            Some(Fault::StallAfter(frames)) => self.break_off(*frames, End::Stall),
            Some(Fault::NoResponse) => self.head = Head::Never,
            _ => {}
        }
        self
    }

    /// Inserts white space before the last byte of a body that is not streamed, so that its JSON stays valid.
    fn pad(&mut self, length: usize) {
        self.edit(0, |bytes| {
            let (body, brace) = bytes.split_at(bytes.len().saturating_sub(1));
            [body, &vec![b' '; length], brace].concat().into()
        });
    }

    /// Changes the bytes of the frame at `index`, or of the last frame if there are fewer.
    fn edit(&mut self, index: usize, change: impl FnOnce(&[u8]) -> Bytes) {
        let index = index.min(self.frames.len().saturating_sub(1));
        if let Some(frame) = self.frames.get_mut(index) {
            frame.bytes = change(&frame.bytes);
        }
    }

    fn fail(&mut self, after: usize, error: impl Fn(usize) -> (Bytes, Value)) {
        if self.streamed {
            let at = self.frames.get(after).or(self.frames.last()).map_or(Duration::ZERO, |frame| frame.at);
            self.frames.truncate(after);
            self.frames.push(Frame { at, tokens: 0, bytes: error(self.frames.len()).0 });
        } else {
            self.edit(0, |_| error(0).1.to_string().into());
            self.charge = None;
        }
    }

    fn delay(&mut self, delay: Duration) {
        for frame in &mut self.frames {
            frame.at += delay;
        }
        self.head = Head::At(self.frames.first().map_or(delay, |frame| frame.at));
    }

    fn break_off(&mut self, frames: usize, end: End) {
        if !self.streamed {
            let size = self.length.unwrap_or(0).div_ceil(PIECES).max(1);
            self.frames = shred(&self.frames, size);
        }
        self.frames.truncate(frames);
        self.end = end;
    }
}

/// Returns the same bytes in frames of `size` bytes. The tokens of a frame belong to its first piece.
fn shred(frames: &[Frame], size: usize) -> Vec<Frame> {
    let pieces = frames.iter().flat_map(|frame| {
        let starts = (0..frame.bytes.len()).step_by(size);
        starts.map(move |from| Frame {
            at: frame.at,
            bytes: frame.bytes.slice(from..frame.bytes.len().min(from + size)),
            tokens: if from == 0 { frame.tokens } else { 0 },
        })
    });
    pieces.collect()
}

/// Inserts two bytes that are not UTF-8: into the first string of the content, otherwise into that of the object's
/// type, otherwise at the beginning.
fn invalidate(bytes: &[u8]) -> Bytes {
    let markers: [&[u8]; 4] = [b"\"content\":\"", b"\"text\":\"", b"\"object\":\"", b"\"type\":\""];
    let find =
        |marker: &[u8]| bytes.windows(marker.len()).position(|window| window == marker).map(|at| at + marker.len());
    let at = markers.into_iter().find_map(find).unwrap_or(0);
    let mut corrupted = BytesMut::from(&bytes[..at]);
    corrupted.extend_from_slice(&[0xff, 0xfe]);
    corrupted.extend_from_slice(&bytes[at..]);
    corrupted.freeze()
}

/// Returns the first half of an event, with its blank line at the end, or of a body.
fn truncate(bytes: &[u8]) -> Bytes {
    let half = &bytes[..bytes.len() / 2];
    let ends: [&[u8]; 2] = [b"\r\n\r\n", b"\n\n"];
    let end = ends.into_iter().find(|end| bytes.ends_with(end)).unwrap_or_default();
    [half, end].concat().into()
}
