use std::collections::BTreeMap;

use llm_core::{ChatEvent, Error};

use super::block::{Kind, OpenBlock};
use crate::protocol::fields::{Fields, malformed};

/// Blocks of a streamed response, several of which may be open at the same time.
///
/// Pieces of the first open block are returned at once. Pieces of other blocks wait until the blocks before them have
/// ended, so that the parts of the response arrive in order and undivided.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    first: Option<(u32, OpenBlock)>,
    waiting: BTreeMap<u32, Waiting>,
    /// Kind of the last part, if a following part of the same kind would be merged with it.
    last: Option<Kind>,
    /// Number of tool calls so far.
    calls: u32,
}

#[derive(Debug)]
struct Waiting {
    block: Fields,
    deltas: Vec<Fields>,
    has_ended: bool,
}

impl Blocks {
    /// Begins a block. A block that is still open at the same index ends, because some servers do not send the end of a
    /// block.
    pub(super) fn start(&mut self, index: u32, block: Fields, events: &mut Vec<ChatEvent>) -> Result<(), Error> {
        match &self.first {
            Some((open, _)) if *open != index => {
                let waiting = Waiting { block, deltas: Vec::new(), has_ended: false };
                match self.waiting.insert(index, waiting) {
                    None => Ok(()),
                    Some(_) => Err(malformed("a block in the stream began twice")),
                }
            }
            _ => {
                self.end(events);
                self.begin(index, block, events);
                Ok(())
            }
        }
    }

    /// Reads a piece of a block.
    pub(super) fn delta(&mut self, index: u32, delta: Fields, events: &mut Vec<ChatEvent>) -> Result<(), Error> {
        match (&mut self.first, self.waiting.get_mut(&index)) {
            (Some((open, block)), _) if *open == index => block.delta(delta, self.last, events),
            (_, Some(waiting)) if !waiting.has_ended => {
                waiting.deltas.push(delta);
                Ok(())
            }
            _ => Err(malformed("a piece in the stream belongs to no open block")),
        }
    }

    /// Ends the block at an index, or the first open block if there is no index.
    pub(super) fn stop(&mut self, index: Option<u32>, events: &mut Vec<ChatEvent>) -> Result<(), Error> {
        if let Some(waiting) = index.and_then(|index| self.waiting.get_mut(&index)) {
            waiting.has_ended = true;
        } else if let Some((open, _)) = self.first
            && index.is_none_or(|index| index == open)
        {
            self.end(events);
            return self.advance(false, events);
        }
        Ok(())
    }

    /// Ends all blocks, and adds the events that waited.
    pub(super) fn close(&mut self, events: &mut Vec<ChatEvent>) -> Result<(), Error> {
        self.end(events);
        self.advance(true, events)
    }

    /// Adds the events of blocks that have waited, up to the first block that is still open. If `all` is set, every
    /// block counts as ended.
    fn advance(&mut self, all: bool, events: &mut Vec<ChatEvent>) -> Result<(), Error> {
        while self.first.is_none() {
            let Some((index, waiting)) = self.waiting.pop_first() else { break };
            self.begin(index, waiting.block, events);
            for delta in waiting.deltas {
                self.delta(index, delta, events)?;
            }
            if all || waiting.has_ended {
                self.end(events);
            }
        }
        Ok(())
    }

    fn begin(&mut self, index: u32, block: Fields, events: &mut Vec<ChatEvent>) {
        self.first = Some((index, OpenBlock::begin(block, &mut self.calls, self.last, events)));
    }

    fn end(&mut self, events: &mut Vec<ChatEvent>) {
        if let Some((_, block)) = self.first.take() {
            self.last = block.end(self.last, events);
        }
    }
}
