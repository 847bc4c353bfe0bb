use std::{collections::BTreeMap, sync::Arc};

use llm_core::{Charge, ChatEvent, Error, ErrorKind, Extra, Usage, Usd, chat::ExtraOf};
use serde_json::Value;

use super::{
    super::{
        Dialect,
        decode::{billed, service_tier, take_usage},
        error::RULES,
        fields::{Fields, malformed, object, object_with, take_index, take_list, take_text},
    },
    choice::OpenChoice,
};
use crate::protocol::{Halves, StreamDecoder, error::ErrorBody, usage::StatedUsage};

/// Turns the data of server-sent events into [`ChatEvent`]s, one `data:` field at a time.
///
/// Fields that repeat in every chunk (`created`, `system_fingerprint`) are emitted once, and again when they change.
/// `object` and random padding (`obfuscation`, Mistral's `p`) are dropped, so that the collected events are equal to
/// the response that is not streamed. A tool call with unknown fields, or without a name so far, is emitted in one
/// piece at the end of the stream. So is the reason for a choice's end, because some servers state one in every chunk,
/// of which the last one counts.
#[derive(Debug)]
pub struct ChunkDecoder {
    started: Option<(String, String)>,
    /// Latest values of the response's unknown fields.
    known: Fields,
    choices: BTreeMap<u32, OpenChoice>,
    /// Number of choices that were requested.
    requested: usize,
    halves: Halves,
    done: bool,
    /// True after the events that were held back for the end have been returned.
    closed: bool,
    stated: StatedUsage,
    /// Usage that was last emitted as the usage of the complete response.
    settled: Option<Usage>,
    dialect: Dialect,
    service_tier: Option<Arc<str>>,
    /// Largest amount that the server has stated it billed.
    billed: Option<Usd>,
}

impl ChunkDecoder {
    /// Creates a decoder for a server, by its dialect.
    pub(crate) fn new(dialect: Dialect) -> Self {
        Self {
            started: None,
            known: Fields::new(),
            choices: BTreeMap::new(),
            requested: 1,
            halves: Halves::default(),
            done: false,
            closed: false,
            stated: StatedUsage::default(),
            settled: None,
            dialect,
            service_tier: None,
            billed: None,
        }
    }

    /// Sets the number of requested choices. Default: 1. A stream that ends before so many choices have arrived is
    /// incomplete.
    pub(crate) fn choices(mut self, requested: u32) -> Self {
        self.requested = usize::try_from(requested).unwrap_or(usize::MAX).max(1);
        self
    }

    /// Returns the events for the data of one server-sent event. Data after `[DONE]` is ignored.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Malformed`] if the data is not JSON or not a chunk. An `error` in the data is returned as that
    /// error, unless every choice has a reason for its end: then the response is complete, and keeps the error as an
    /// unknown field. The charge is the usage if it has arrived, otherwise it is unknown.
    fn decode(&mut self, data: &str) -> Result<Vec<ChatEvent>, Error> {
        if self.done {
            return Ok(Vec::new());
        }
        if data.trim() == "[DONE]" {
            self.done = true;
            return Ok(if self.is_whole() { self.close() } else { Vec::new() });
        }
        let data = self.halves.join(data);
        self.chunk(&data).map_err(|error| self.charged(error))
    }

    /// Reads the data of an event whose name says that it is an error, even if the data has no `error`.
    fn decode_error(&mut self, data: &str) -> Result<Vec<ChatEvent>, Error> {
        let fields = object(data.as_bytes()).unwrap_or_default();
        let body = ErrorBody::of(&Value::Object(fields));
        Err(self.charged(RULES.classify_inner(&body, self.has_begun())))
    }

    /// Returns the events that were held back for the end of the stream. Later calls return none.
    fn close(&mut self) -> Vec<ChatEvent> {
        let mut events = Vec::new();
        if std::mem::replace(&mut self.closed, true) {
            return events;
        }
        for (index, choice) in &mut self.choices {
            choice.close(*index, &mut events);
        }
        // Counts are cumulative, so the last counts are those of the complete response.
        self.settle(&mut events);
        events
    }

    fn chunk(&mut self, data: &str) -> Result<Vec<ChatEvent>, Error> {
        let mut fields = object_with(data.as_bytes(), &["function"], "arguments")?;
        let mut events = Vec::new();
        self.billed = self.billed.max(billed(&fields));
        let stated = take_usage(&mut fields, &self.dialect, &mut self.stated);
        let groq = || Some(ErrorBody::of(fields.get("x_groq")?.get("error").filter(|error| !error.is_null())?));
        if let Some(error) = ErrorBody::in_chunk(&fields, "choices").or_else(groq)
            && !self.is_told()
        {
            // After an error no further usage arrives.
            self.settled = self.stated.usage().filter(|_| stated);
            return Err(RULES.classify_inner(&error, self.has_begun()));
        }
        let choices = take_list(&mut fields, "choices").unwrap_or_default();
        let last = choices.is_empty();
        self.start(&mut fields, !choices.is_empty(), &mut events);
        fields.remove("object");
        fields.remove("obfuscation");
        if fields.get("p").is_some_and(Value::is_string) {
            fields.remove("p");
        }
        self.emit_unknown(fields, &mut events);
        for (value, at) in choices.into_iter().zip(0..) {
            let Value::Object(mut fields) = value else {
                return Err(malformed("a choice of a chunk is not an object"));
            };
            let index = take_index(&mut fields, "index").unwrap_or(at);
            self.choices.entry(index).or_default().chunk(index, fields, &mut events)?;
        }
        // Counts that arrive while a choice is unfinished may still grow.
        if stated && (last || self.is_told()) {
            self.settle(&mut events);
        }
        Ok(events)
    }

    /// Emits the usage of the complete response, unless the same usage was emitted before.
    fn settle(&mut self, events: &mut Vec<ChatEvent>) {
        let usage = self.stated.usage();
        if usage != self.settled {
            self.settled = usage;
            events.extend(usage.map(ChatEvent::Usage));
        }
    }

    /// Emits the start of the response, and emits it again if the id or the model arrives later, because both are empty
    /// in Azure's first chunk.
    fn start(&mut self, fields: &mut Fields, speaks: bool, events: &mut Vec<ChatEvent>) {
        let id = take_text(fields, "id").unwrap_or_default();
        let model = take_text(fields, "model").unwrap_or_default();
        let named = !(id.is_empty() && model.is_empty());
        match &mut self.started {
            None if named || speaks => {
                events.push(ChatEvent::Start { id: id.as_str().into(), model: model.as_str().into() });
                self.started = Some((id, model));
            }
            Some((known_id, known_model))
                if (known_id.is_empty() && !id.is_empty()) || (known_model.is_empty() && !model.is_empty()) =>
            {
                for (known, new) in [(known_id, id), (known_model, model)] {
                    if known.is_empty() {
                        *known = new;
                    }
                }
                events.extend(
                    self.started
                        .as_ref()
                        .map(|(id, model)| ChatEvent::Start { id: id.as_str().into(), model: model.as_str().into() }),
                );
            }
            _ => {}
        }
    }

    /// Emits the unknown fields of the response that have changed.
    fn emit_unknown(&mut self, fields: Fields, events: &mut Vec<ChatEvent>) {
        let mut new = Fields::new();
        for (name, value) in fields {
            let known = self.known.get(&name);
            // A null replaces no value, as when events are collected to a response.
            if known == Some(&value) || (known.is_some() && value.is_null()) {
                continue;
            }
            self.known.insert(name.clone(), value.clone());
            new.insert(name, value);
        }
        if let Some(tier) = service_tier(|name| new.get(name)) {
            self.service_tier = Some(tier.into());
        }
        if !new.is_empty() {
            events.push(ChatEvent::Extra { of: ExtraOf::Response, fields: Extra::from(new) });
        }
    }

    /// Returns `true` if content has arrived, even if it is still held back.
    fn has_begun(&self) -> bool {
        self.choices.values().any(OpenChoice::has_begun)
    }

    /// Returns `true` if all requested choices have arrived and have ended.
    fn is_told(&self) -> bool {
        self.choices.len() >= self.requested.max(1) && self.choices.values().all(OpenChoice::is_ended)
    }

    /// Returns `true` if the response is complete.
    fn is_whole(&self) -> bool {
        let tells_enough = || self.stated.usage().is_some() || self.choices.values().all(OpenChoice::is_finished);
        self.is_told() || self.done && !self.choices.is_empty() && tells_enough()
    }

    fn charged(&self, error: Error) -> Error {
        match self.stated.usage() {
            Some(usage) if self.settled.is_some() => error.with_charge(Charge::Known(usage)),
            _ => error,
        }
    }
}

impl StreamDecoder for ChunkDecoder {
    fn event(&mut self, name: Option<&str>, data: &str) -> Result<Vec<ChatEvent>, Error> {
        match name {
            Some("error") => self.decode_error(data),
            _ => self.decode(data),
        }
    }

    /// Ends the stream and returns the events that were held back for its end.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Incomplete`] unless every choice that began has a reason for its end, and either all requested
    /// choices or `[DONE]` have arrived. After `[DONE]`, fewer choices are no error, as in a response that is not
    /// streamed. A response with `[DONE]` and a usage is also complete if its server states no reasons. It ends with
    /// [`FinishReason::Unknown`](llm_core::FinishReason::Unknown).
    fn finish(&mut self) -> Result<Vec<ChatEvent>, Error> {
        if !self.is_whole() {
            let what = match (&self.started, self.done) {
                (None, _) => "the stream broke off before it began",
                (_, true) => "the stream ended, but not every choice stated why",
                (_, false) => "the stream broke off before its end",
            };
            let error = Error::new(ErrorKind::Incomplete, what);
            return Err(self.charged(error.with_charge(Charge::Unknown)));
        }
        Ok(self.close())
    }

    fn is_done(&self) -> bool {
        self.done
    }

    fn usage(&self) -> Option<Usage> {
        self.stated.usage()
    }

    fn service_tier(&self) -> Option<&Arc<str>> {
        self.service_tier.as_ref()
    }

    fn unusable_usage(&self) -> Option<&Arc<str>> {
        self.stated.unusable()
    }

    fn billed(&self) -> Option<Usd> {
        self.billed
    }
}

impl Default for ChunkDecoder {
    /// Creates the decoder of OpenAI's own stream.
    fn default() -> Self {
        Self::new(Dialect::OPENAI)
    }
}
