use std::{collections::BTreeMap, sync::Arc};

use llm_core::{Charge, ChatEvent, Error, ErrorKind, Usage, chat::ExtraOf};
use serde_json::Value;

use super::{
    super::{
        decode::{ResponseUsage, blocked},
        error::RULES,
        fields::{Fields, malformed, object_with, take_index, take_list, take_text},
    },
    candidate::OpenCandidate,
    unknown_fields::UnknownFields,
};
use crate::protocol::{Halves, StreamDecoder, error::ErrorBody};

/// Field whose JSON text is kept, in the object `functionCall`.
const ARGS: &str = "args";
const CALL: &str = "functionCall";

/// Turns the data of server-sent events into [`ChatEvent`]s, one `data:` field at a time.
///
/// Every chunk has the form of a complete response. The collected events are equal to the response that is not
/// streamed. Function calls are returned in one piece, even if their arguments arrive in several (`partialArgs`).
/// Unknown fields and the usage are returned at the [end](Self::finish). If several chunks state the usage, the last
/// one decides.
#[derive(Debug, Default)]
pub struct ChunkDecoder {
    started: Option<(String, String)>,
    candidates: BTreeMap<u32, OpenCandidate>,
    unknown_fields: UnknownFields,
    halves: Halves,
    done: bool,
    response_usage: ResponseUsage,
    /// Number of candidates that were requested.
    requested: usize,
}

impl ChunkDecoder {
    /// Creates a decoder for a request of `requested` candidates. The response is incomplete until all of them have ended.
    pub(crate) fn candidates(requested: u32) -> Self {
        Self { requested: usize::try_from(requested).unwrap_or(usize::MAX), ..Self::default() }
    }

    /// Returns the events for the data of one server-sent event, which is a chunk or a list of chunks. Gemini sends no
    /// `[DONE]`; if a proxy does, data after it is ignored.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Malformed`] if the data is not JSON or not a chunk; [`ErrorKind::ContentFiltered`] if the prompt
    /// was blocked, with the stated usage as its charge. An `error` in the data is returned as that error.
    pub(crate) fn decode(&mut self, data: &str) -> Result<Vec<ChatEvent>, Error> {
        let mut events = Vec::new();
        let data = &*self.halves.join(data);
        if self.done || data.trim() == "[DONE]" {
            self.done = true;
        } else if data.trim_start().starts_with('[') {
            let list = object_with(format!("{{\"list\":{data}}}").as_bytes(), &[CALL], ARGS)?.remove("list");
            let Some(Value::Array(list)) = list else { return Err(malformed("the response is not a list of chunks")) };
            for value in list {
                let Value::Object(fields) = value else { return Err(malformed("a chunk is not an object")) };
                self.chunk(fields, &mut events)?;
            }
        } else {
            self.chunk(object_with(data.as_bytes(), &[CALL], ARGS)?, &mut events)?;
        }
        Ok(events)
    }

    /// Returns the usage that has been stated so far.
    pub(crate) fn response_usage(&self) -> &ResponseUsage {
        &self.response_usage
    }

    fn chunk(&mut self, mut fields: Fields, events: &mut Vec<ChatEvent>) -> Result<(), Error> {
        if let Some(error) = ErrorBody::in_chunk(&fields, "candidates") {
            return Err(RULES.classify_inner(&error, self.candidates.values().any(OpenCandidate::has_begun)));
        }
        self.response_usage.take(&mut fields);
        if let Some(error) = blocked(&fields) {
            return Err(match self.response_usage.usage() {
                Some(usage) => error.with_charge(Charge::Known(usage)),
                None => error,
            });
        }
        let candidates = take_list(&mut fields, "candidates").unwrap_or_default();
        self.start(&mut fields, !candidates.is_empty(), events);
        self.unknown_fields.take(fields);
        let response = self.started.as_ref().map_or("", |(id, _)| id);
        for (value, at) in candidates.into_iter().zip(0..) {
            let Value::Object(mut fields) = value else {
                return Err(malformed("a candidate of a chunk is not an object"));
            };
            let index = take_index(&mut fields, "index").unwrap_or(at);
            let open = self.candidates.entry(index).or_insert_with(|| OpenCandidate::new(index));
            let before = open.searches();
            open.chunk(response, fields, events)?;
            self.response_usage.searches += open.searches().saturating_sub(before);
        }
        Ok(())
    }

    /// Emits the start of the response, and emits it again if its id or model arrives in a later chunk.
    fn start(&mut self, fields: &mut Fields, speaks: bool, events: &mut Vec<ChatEvent>) {
        let id = take_text(fields, "responseId").unwrap_or_default();
        let model = take_text(fields, "modelVersion").unwrap_or_default();
        let new = match &mut self.started {
            None if speaks || !(id.is_empty() && model.is_empty()) => {
                self.started = Some((id, model));
                true
            }
            None => false,
            Some((known_id, known_model)) => {
                let mut new = false;
                for (known, new_value) in [(known_id, id), (known_model, model)] {
                    if known.is_empty() && !new_value.is_empty() {
                        *known = new_value;
                        new = true;
                    }
                }
                new
            }
        };
        if let Some((id, model)) = self.started.as_ref().filter(|_| new) {
            events.push(ChatEvent::Start { id: id.as_str().into(), model: model.as_str().into() });
        }
    }
}

impl StreamDecoder for ChunkDecoder {
    fn event(&mut self, _: Option<&str>, data: &str) -> Result<Vec<ChatEvent>, Error> {
        self.decode(data)
    }

    /// Ends the stream and returns the events that were held back for its end: unknown fields and the usage.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Incomplete`] if fewer candidates than were [requested](Self::candidates) have arrived (or none, if
    /// the number is not known), or one that began has no reason for its end.
    fn finish(&mut self) -> Result<Vec<ChatEvent>, Error> {
        if self.candidates.len() < self.requested.max(1) || !self.candidates.values().all(OpenCandidate::is_finished) {
            let what = if self.started.is_none() { "before it began" } else { "before its end" };
            let error = Error::new(ErrorKind::Incomplete, format!("the stream broke off {what}"));
            return Err(error.with_charge(Charge::Unknown));
        }
        let (usage, mut events) = (self.usage(), Vec::new());
        self.unknown_fields.emit(ExtraOf::Response, &mut events);
        self.candidates.values_mut().for_each(|candidate| candidate.emit(&mut events));
        events.extend(usage.map(ChatEvent::Usage));
        Ok(events)
    }

    fn is_done(&self) -> bool {
        self.done
    }

    fn usage(&self) -> Option<Usage> {
        self.response_usage.usage()
    }

    fn service_tier(&self) -> Option<&Arc<str>> {
        self.response_usage.service_tier()
    }

    fn unusable_usage(&self) -> Option<&Arc<str>> {
        self.response_usage.stated().unusable()
    }
}
