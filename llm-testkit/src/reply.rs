//! An answer before it has its headers, and what faults make of it.

use crate::books::CallKind;
use crate::fault::Fault;
use crate::openai::{Chat, Embed, error_body};
use crate::plan::{End, Frame, Head};
use crate::prng::Prng;
use crate::settings::Settings;
use bytes::{Bytes, BytesMut};
use std::time::Duration;

/// The most frames that a body in one piece is cut into, for faults in its middle.
const PIECES: usize = 8;

/// A 200, as frames with times.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) frames: Vec<Frame>,
    pub(crate) head: Head,
    pub(crate) end: End,
    pub(crate) streamed: bool,
    /// The length of a body in one piece, as its header says it.
    pub(crate) length: Option<usize>,
    pub(crate) charge: Option<Charge>,
}

/// What the vendor will bill for.
#[derive(Debug)]
pub(crate) struct Charge {
    pub(crate) kind: CallKind,
    pub(crate) model: String,
    pub(crate) answer_hash: u64,
    pub(crate) input: u64,
    pub(crate) cached: u64,
    pub(crate) output: u64,
}

impl Reply {
    pub(crate) fn chat(mut chat: Chat, id: &str, settings: &Settings, prng: &mut Prng, fault: Option<&Fault>) -> Self {
        if matches!(fault, Some(Fault::InvalidToolJson)) {
            chat.spoil_arguments();
        }
        let moments = settings.latency.schedule(prng, chat.longest());
        let usage = !matches!(fault, Some(Fault::NoUsage));
        let kind = if chat.stream { CallKind::ChatStream } else { CallKind::Chat };
        let mut frames = if chat.stream {
            chat.events(id, settings.tokens_per_delta.get(), &moments, usage)
        } else {
            vec![Frame {
                at: moments.last().copied().unwrap_or_default(),
                bytes: chat.unary(id, usage),
                tokens: chat.output(),
            }]
        };
        if let (Some(Fault::HugeEvent(length)), true) = (fault, chat.stream) {
            let at = frames.first().map_or(Duration::ZERO, |frame| frame.at);
            frames.insert(1, Frame { at, bytes: chat.huge_event(id, *length), tokens: 0 });
        }
        let output = chat.output();
        let charge =
            Charge { kind, answer_hash: chat.hash, input: chat.input, cached: chat.cached, output, model: chat.model };
        Self::new(frames, kind, charge).spoiled(fault)
    }

    pub(crate) fn embeddings(embed: Embed, settings: &Settings, prng: &mut Prng, fault: Option<&Fault>) -> Self {
        let at = settings.latency.schedule(prng, 1)[0];
        let frames = vec![Frame { at, bytes: embed.unary(!matches!(fault, Some(Fault::NoUsage))), tokens: 0 }];
        let kind = CallKind::Embeddings;
        let charge =
            Charge { kind, answer_hash: embed.hash, input: embed.input, cached: 0, output: 0, model: embed.model };
        Self::new(frames, kind, charge).spoiled(fault)
    }

    fn new(frames: Vec<Frame>, kind: CallKind, charge: Charge) -> Self {
        let head = Head::At(frames.first().map_or(Duration::ZERO, |frame| frame.at));
        let streamed = kind == CallKind::ChatStream;
        Self { frames, head, end: End::Done, streamed, length: None, charge: Some(charge) }
    }

    fn spoiled(mut self, fault: Option<&Fault>) -> Self {
        match fault {
            Some(Fault::HugeEvent(length)) if !self.streamed => self.pad(*length),
            Some(Fault::InvalidUtf8) => self.edit(1, invalidate),
            Some(Fault::TruncatedJson) => self.edit(self.frames.len() / 2, truncate),
            Some(Fault::ErrorEvent { after }) => self.fail(*after),
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
            Some(Fault::NoAnswer) => self.head = Head::Never,
            _ => {}
        }
        self
    }

    /// Inserts white space before the last byte of a body in one piece.
    fn pad(&mut self, length: usize) {
        self.edit(0, |bytes| {
            let (body, brace) = bytes.split_at(bytes.len().saturating_sub(1));
            [body, &vec![b' '; length], brace].concat().into()
        });
    }

    /// Changes the bytes of one frame: the one at `index`, or the last one.
    fn edit(&mut self, index: usize, change: impl FnOnce(&[u8]) -> Bytes) {
        let index = index.min(self.frames.len().saturating_sub(1));
        if let Some(frame) = self.frames.get_mut(index) {
            frame.bytes = change(&frame.bytes);
        }
    }

    fn fail(&mut self, after: usize) {
        let error = error_body("server_error", None, None, "the model failed while it answered");
        if self.streamed {
            let at = self.frames.get(after).or(self.frames.last()).map_or(Duration::ZERO, |frame| frame.at);
            self.frames.truncate(after);
            self.frames.push(Frame { at, tokens: 0, bytes: format!("data: {error}\n\n").into() });
        } else {
            self.edit(0, |_| error.to_string().into());
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

/// The same bytes in frames of `size`. Tokens come with the first byte of what carried them.
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

/// Puts two bytes that are not UTF-8 into the first string of the content, or of the object's kind where there is no
/// content.
fn invalidate(bytes: &[u8]) -> Bytes {
    let markers: [&[u8]; 2] = [b"\"content\":\"", b"\"object\":\""];
    let find =
        |marker: &[u8]| bytes.windows(marker.len()).position(|window| window == marker).map(|at| at + marker.len());
    let at = markers.into_iter().find_map(find).unwrap_or(0);
    let mut spoiled = BytesMut::from(&bytes[..at]);
    spoiled.extend_from_slice(&[0xff, 0xfe]);
    spoiled.extend_from_slice(&bytes[at..]);
    spoiled.freeze()
}

/// The first half of an event or of a body.
fn truncate(bytes: &[u8]) -> Bytes {
    let half = &bytes[..bytes.len() / 2];
    if bytes.ends_with(b"\n\n") { [half, b"\n\n"].concat().into() } else { Bytes::copy_from_slice(half) }
}
