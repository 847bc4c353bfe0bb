use std::sync::Arc;

use llm_core::{
    Charge, ChatEvent, ChatRequest, Error, ErrorKind, Extra, FinishReason, Usage, chat::ExtraOf, layer::SideCall,
};
use serde_json::Value;

use super::{
    super::{
        decode::{ResponseUsage, read_block, settle},
        error::RULES,
    },
    block::CHOICE,
    blocks::Blocks,
};
use crate::protocol::{
    Halves, StreamDecoder,
    error::ErrorBody,
    fields::{Fields, malformed, object_with, take_index, take_list, take_object, take_text},
};

/// Turns the data of server-sent events into [`ChatEvent`]s, one event at a time.
///
/// The collected events are equal to the response that is not streamed, except that white space in tool arguments is
/// kept as the model wrote it. Blocks of kinds that this library does not know (a vendor's own tools) are returned in
/// one piece, and the response's unknown fields at its end. Counts of usage are cumulative, so the largest value of
/// each decides, and counts before the end are lower bounds.
#[derive(Debug, Default)]
pub struct EventDecoder {
    started: bool,
    /// True if content has arrived, even if it is still held back.
    has_content: bool,
    id: Arc<str>,
    model: Arc<str>,
    done: bool,
    halves: Halves,
    blocks: Blocks,
    finish: FinishReason,
    /// Unknown fields of the response and of its usage, and the fields of the usage itself.
    unknown_fields: Fields,
    unknown_usage_fields: Fields,
    response_usage: ResponseUsage,
    usage: Option<Usage>,
    /// Usage of the complete response, once it is known.
    total: Option<Usage>,
}

impl EventDecoder {
    /// Creates a decoder of the response to `request`, which states the surcharges that the response does not state.
    pub(crate) fn of(request: &ChatRequest) -> Self {
        Self { response_usage: ResponseUsage::for_request(request), ..Self::default() }
    }

    /// Returns the events for the data of one server-sent event. Data after `message_stop` and unknown kinds of events
    /// are ignored, as the vendor demands.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Malformed`] if the data is not JSON, not an event, or belongs to no block. An `error` event is
    /// returned as that error. The charge is the usage of the complete response if it has arrived, otherwise it is
    /// unknown.
    fn decode(&mut self, data: &str) -> Result<Vec<ChatEvent>, Error> {
        if self.done {
            return Ok(Vec::new());
        }
        let mut events = Vec::new();
        let data = self.halves.join(data);
        match self.read(&data, &mut events) {
            Ok(()) => {
                self.has_content |= events.iter().any(ChatEvent::is_content);
                Ok(events)
            }
            Err(error) => Err(self.charged(error)),
        }
    }

    fn read(&mut self, data: &str, events: &mut Vec<ChatEvent>) -> Result<(), Error> {
        let mut fields = object_with(data.as_bytes(), &["content", "content_block"], "input")?;
        let kind = take_text(&mut fields, "type").unwrap_or_default();
        match &*kind {
            "message_start" => self.start(fields, events),
            "content_block_start" => self.block_start(fields, events),
            "content_block_delta" => self.block_delta(fields, events),
            "content_block_stop" => self.blocks.stop(take_index(&mut fields, "index"), events),
            "message_delta" => self.message_delta(fields, events),
            "message_stop" => self.stop(events),
            "error" => Err(RULES.classify_inner(&ErrorBody::of(&serde_json::Value::Object(fields)), self.has_content)),
            // An event of an unknown kind may hold an error.
            kind => {
                let nameless = || ErrorBody::in_chunk(&fields, "content").filter(|_| kind.is_empty());
                let error = ErrorBody::in_event(&fields).or_else(nameless);
                error.map_or(Ok(()), |error| Err(RULES.classify_inner(&error, self.has_content)))
            }
        }
    }

    fn start(&mut self, mut fields: Fields, events: &mut Vec<ChatEvent>) -> Result<(), Error> {
        if self.started {
            return Err(malformed("the stream began twice"));
        }
        self.started = true;
        let mut message = take_object(&mut fields, "message").unwrap_or_default();
        self.id = take_text(&mut message, "id").unwrap_or_default().into();
        self.model = take_text(&mut message, "model").unwrap_or_default().into();
        events.push(ChatEvent::Start { id: Arc::clone(&self.id), model: Arc::clone(&self.model) });
        let blocks = take_list(&mut message, "content").unwrap_or_default();
        events.extend(blocks.into_iter().filter_map(read_block).map(|part| ChatEvent::Part { choice: CHOICE, part }));
        message.remove("type");
        message.remove("role");
        self.message(message, events);
        Ok(())
    }

    fn block_start(&mut self, mut fields: Fields, events: &mut Vec<ChatEvent>) -> Result<(), Error> {
        let index = take_index(&mut fields, "index").unwrap_or_default();
        let block = take_object(&mut fields, "content_block")
            .ok_or_else(|| malformed("a content_block_start of the stream has no content_block"))?;
        self.started = true;
        self.respond_by(fallback_model(&block), events);
        // An empty text block is not content yet. A block of another kind that arrives in one piece is content.
        self.has_content |= !block.get("type").is_some_and(|kind| kind == "text" || kind == "thinking");
        self.blocks.start(index, block, events)
    }

    fn block_delta(&mut self, mut fields: Fields, events: &mut Vec<ChatEvent>) -> Result<(), Error> {
        let index = take_index(&mut fields, "index").unwrap_or_default();
        let delta = take_object(&mut fields, "delta")
            .ok_or_else(|| malformed("a content_block_delta of the stream has no delta"))?;
        self.has_content = true;
        self.blocks.delta(index, delta, events)
    }

    fn message_delta(&mut self, mut fields: Fields, events: &mut Vec<ChatEvent>) -> Result<(), Error> {
        self.blocks.close(events)?;
        let mut message = take_object(&mut fields, "delta").unwrap_or_default();
        if let Some(usage) = fields.remove("usage") {
            message.insert("usage".to_owned(), usage);
        }
        self.message(message, events);
        Ok(())
    }

    /// Reads the fields of the message, at its beginning and whenever an event changes them.
    fn message(&mut self, mut message: Fields, events: &mut Vec<ChatEvent>) {
        let usage = take_object(&mut message, "usage").unwrap_or_default();
        let (finish, unknown) = settle(&mut message);
        self.read_usage(usage);
        self.respond_by(self.response_usage.served_by().cloned(), events);
        merge(&mut self.unknown_fields, message);
        if !unknown.is_empty() {
            events.push(ChatEvent::Extra { of: ExtraOf::Choice(CHOICE), fields: unknown });
        }
        if finish != FinishReason::Unknown && finish != self.finish {
            self.finish.update(&finish);
            events.push(ChatEvent::Finish { choice: CHOICE, reason: finish });
        }
        if self.is_finished() && self.usage != self.total {
            self.total = self.usage;
            events.extend(self.total.map(ChatEvent::Usage));
        }
    }

    /// Adds a second [`ChatEvent::Start`] with the name of the fallback model that responds, so that the response is
    /// priced by that model.
    fn respond_by(&mut self, model: Option<Arc<str>>, events: &mut Vec<ChatEvent>) {
        if let Some(model) = model.filter(|model| *model != self.model) {
            self.model = Arc::clone(&model);
            events.push(ChatEvent::Start { id: Arc::clone(&self.id), model });
        }
    }

    /// Merges a usage, or a part of one, into the usage so far.
    fn read_usage(&mut self, fields: Fields) {
        self.response_usage.read(&fields);
        merge(&mut self.unknown_usage_fields, fields);
        self.usage = self.response_usage.usage();
    }

    fn is_finished(&self) -> bool {
        self.finish != FinishReason::Unknown
    }

    fn stop(&mut self, events: &mut Vec<ChatEvent>) -> Result<(), Error> {
        self.blocks.close(events)?;
        self.done = true;
        let mut unknown = std::mem::take(&mut self.unknown_fields);
        let mut usage = std::mem::take(&mut self.unknown_usage_fields);
        self.response_usage.strip(&mut usage);
        if !usage.is_empty() {
            unknown.insert("usage".to_owned(), usage.into());
        }
        if !unknown.is_empty() {
            events.push(ChatEvent::Extra { of: ExtraOf::Response, fields: Extra::from(unknown) });
        }
        Ok(())
    }

    fn charged(&self, error: Error) -> Error {
        match self.total {
            Some(usage) => error.with_charge(Charge::Known(usage)),
            None => error,
        }
    }
}

impl StreamDecoder for EventDecoder {
    fn event(&mut self, _: Option<&str>, data: &str) -> Result<Vec<ChatEvent>, Error> {
        self.decode(data)
    }

    /// Ends the stream and returns the events that were held back for its end.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Incomplete`] if neither `message_stop` nor the reason for the end of the response has arrived.
    fn finish(&mut self) -> Result<Vec<ChatEvent>, Error> {
        if !self.done && !self.is_finished() {
            let what = if self.started { "before its end" } else { "before it began" };
            let error = Error::new(ErrorKind::Incomplete, format!("the stream broke off {what}"));
            return Err(self.charged(error.with_charge(Charge::Unknown)));
        }
        let mut events = Vec::new();
        if !self.done {
            self.stop(&mut events).map_err(|error| self.charged(error))?;
        }
        Ok(events)
    }

    fn is_done(&self) -> bool {
        self.done
    }

    fn usage(&self) -> Option<Usage> {
        self.usage
    }

    fn service_tier(&self) -> Option<&Arc<str>> {
        self.response_usage.service_tier()
    }

    fn surcharges(&self) -> &[Arc<str>] {
        self.response_usage.surcharges()
    }

    fn side_calls(&self) -> &[SideCall] {
        self.response_usage.stated().side_calls()
    }

    fn unusable_usage(&self) -> Option<&Arc<str>> {
        self.response_usage.stated().unusable()
    }
}

/// Returns the model that a block of type `fallback` names.
fn fallback_model(block: &Fields) -> Option<Arc<str>> {
    let is_fallback = block.get("type").is_some_and(|kind| kind == "fallback");
    block.get("to").filter(|_| is_fallback)?.get("model").and_then(Value::as_str).map(Arc::from)
}

/// Replaces earlier fields by later ones that are not null.
fn merge(known: &mut Fields, later: Fields) {
    known.extend(later.into_iter().filter(|(_, value)| !value.is_null()));
}
