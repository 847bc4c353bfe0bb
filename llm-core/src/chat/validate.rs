use super::{ChatRequest, Part, Role};
use crate::Error;

impl ChatRequest {
    /// Returns an error for a request that every vendor would refuse, so that a client can refuse it without a round
    /// trip.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidRequest`](crate::ErrorKind::InvalidRequest), which names the field, if there is no model or
    /// no message, a message is empty, a tool result is in the wrong place, or a number is not finite or out of range.
    pub fn validate(&self) -> Result<(), Error> {
        if self.model.trim().is_empty() {
            return Err(Error::invalid("model is empty: name one, such as gpt-4o-mini"));
        }
        if self.messages.is_empty() {
            return Err(Error::invalid("messages is empty: add at least one"));
        }
        for (at, message) in self.messages.iter().enumerate() {
            if message.parts.is_empty() {
                return Err(Error::invalid(format!("messages[{at}] has no parts")));
            }
            let results = message.parts.iter().filter(|part| matches!(part, Part::ToolResult(_))).count();
            if message.role == Role::Tool && results == 0 {
                return Err(Error::invalid(format!("messages[{at}] is a tool's but holds no tool result")));
            }
            if message.role != Role::Tool && results > 0 {
                return Err(Error::invalid(format!("messages[{at}] holds a tool result but is not a tool's")));
            }
        }
        let sampling = &self.sampling;
        in_range("temperature", sampling.temperature, 0.0, f64::MAX)?;
        in_range("top_p", sampling.top_p, 0.0, 1.0)?;
        in_range("frequency_penalty", sampling.frequency_penalty, -2.0, 2.0)?;
        in_range("presence_penalty", sampling.presence_penalty, -2.0, 2.0)?;
        if sampling.n == Some(0) {
            return Err(Error::invalid("n is 0: ask for at least one response"));
        }
        if sampling.max_output_tokens == Some(0) {
            return Err(Error::invalid("max_output_tokens is 0: allow at least one"));
        }
        Ok(())
    }
}

fn in_range(name: &str, value: Option<f64>, least: f64, most: f64) -> Result<(), Error> {
    match value {
        Some(value) if !value.is_finite() => {
            Err(Error::invalid(format!("{name} is {value}: it must be a finite number")))
        }
        Some(value) if value < least => Err(Error::invalid(format!("{name} is {value}: it must be at least {least}"))),
        Some(value) if value > most => Err(Error::invalid(format!("{name} is {value}: it must be at most {most}"))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ErrorKind, Message, chat::Sampling};

    #[test]
    fn validate_refuses_invalid_requests() {
        let good = ChatRequest::new("m").user("hello");
        let sampled = |sampling| good.clone().sampling(sampling);
        let cases = [
            (ChatRequest::new(" ").user("hello"), "model"),
            (ChatRequest::new("m"), "messages is empty"),
            (ChatRequest::new("m").message(Message::new(Role::User, vec![])), "messages[0]"),
            (ChatRequest::new("m").message(Message::new(Role::Tool, vec![Part::text("x")])), "tool"),
            (sampled(Sampling { temperature: Some(f64::NAN), ..Sampling::default() }), "temperature is NaN"),
            (sampled(Sampling { temperature: Some(-0.1), ..Sampling::default() }), "at least 0"),
            (sampled(Sampling { top_p: Some(1.1), ..Sampling::default() }), "top_p"),
            (sampled(Sampling { presence_penalty: Some(f64::INFINITY), ..Sampling::default() }), "presence_penalty"),
            (sampled(Sampling { frequency_penalty: Some(-3.0), ..Sampling::default() }), "frequency_penalty"),
            (sampled(Sampling { n: Some(0), ..Sampling::default() }), "n is 0"),
            (sampled(Sampling { max_output_tokens: Some(0), ..Sampling::default() }), "max_output_tokens"),
        ];
        assert!(good.validate().is_ok());
        for (request, what) in cases {
            let error = request.validate().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidRequest);
            assert!(error.message().contains(what), "{error}");
        }
    }
}
