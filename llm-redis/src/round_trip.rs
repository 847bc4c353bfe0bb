//! Sending of requests and pipelines to the server, and conversion of their replies.

use std::sync::atomic::Ordering;

use redis::{RedisResult, ServerErrorKind};

use crate::{
    Command, Error, Request, Value,
    connection::Connection,
    error_mapping,
    inner::{Inner, RoundTrip},
    request::Kind,
};

impl RoundTrip for Request {
    type Response = Value;

    fn name(&self) -> &'static str {
        match &self.0 {
            Kind::Command(command) => command.name,
            Kind::Script(_) => "script",
        }
    }

    fn slot(&self) -> Result<Option<u16>, Error> {
        match &self.0 {
            Kind::Command(command) => Ok(command.slot),
            Kind::Script(call) => call.slot(),
        }
    }

    fn is_repeatable(&self) -> bool {
        match &self.0 {
            Kind::Command(command) => command.repeatable,
            // Scripts must be idempotent, so a script call may always be sent again.
            Kind::Script(_) => true,
        }
    }

    async fn send(&self, connection: &mut Connection, inner: &Inner) -> Result<Value, Error> {
        let slot = self.slot()?;
        let reply = match &self.0 {
            Kind::Command(command) => server_error(connection.send(&command.encoded, slot).await),
            Kind::Script(call) => {
                let offset = inner.clock_offset_micros.load(Ordering::Relaxed);
                match server_error(connection.send(&call.encode(false, offset), slot).await) {
                    Err(error) if error.kind() == ServerErrorKind::NoScript.into() => {
                        inner.counts.scripts_loaded.increment();
                        server_error(connection.send(&call.encode(true, offset), slot).await)
                    }
                    reply => reply,
                }
            }
        };
        inner.decode(reply, self.name())
    }
}

/// Commands that are sent together to one server.
pub(crate) struct Pipeline {
    encoded: redis::Pipeline,
    names: Vec<&'static str>,
    repeatable: bool,
}

impl Pipeline {
    pub(crate) fn new(commands: Vec<Command>) -> Self {
        let mut encoded = redis::Pipeline::with_capacity(commands.len());
        let names = commands.iter().map(|command| command.name).collect();
        let repeatable = commands.iter().all(|command| command.repeatable);
        for command in commands {
            encoded.add_command(command.encoded);
        }
        Self { encoded, names, repeatable }
    }

    /// Returns the number of commands in the pipeline.
    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }
}

impl RoundTrip for Pipeline {
    type Response = Vec<Result<Value, Error>>;

    fn name(&self) -> &'static str {
        "pipeline"
    }

    fn slot(&self) -> Result<Option<u16>, Error> {
        Ok(None)
    }

    fn is_repeatable(&self) -> bool {
        self.repeatable
    }

    async fn send(&self, connection: &mut Connection, inner: &Inner) -> Result<Self::Response, Error> {
        if self.names.is_empty() {
            return Ok(Vec::new());
        }
        let replies = connection.send_all(&self.encoded).await;
        let replies = replies.map_err(|error| error_mapping::call_error(&error, self.name(), &inner.target.address))?;
        let replies = replies.into_iter().zip(&self.names);
        Ok(replies.map(|(reply, name)| inner.decode(server_error(Ok(reply)), name)).collect())
    }
}

impl Inner {
    /// Converts a reply of the `redis` crate to a [`Value`], and logs an error of the server.
    fn decode(&self, reply: RedisResult<redis::Value>, command: &'static str) -> Result<Value, Error> {
        let reply = reply.map_err(|error| error_mapping::call_error(&error, command, &self.target.address));
        let reply = reply.inspect_err(|error| self.reporter.log_refusal(error))?;
        Value::decode(reply).ok_or_else(|| Error::unexpected("a value", "of an unknown type"))
    }
}

/// Converts a reply that is an error of the server into an `Err`.
fn server_error(reply: RedisResult<redis::Value>) -> RedisResult<redis::Value> {
    match reply? {
        redis::Value::ServerError(error) => Err(error.into()),
        reply => Ok(reply),
    }
}
