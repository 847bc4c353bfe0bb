//! Parser of one line of a log.

use std::time::{Duration, SystemTime};

use serde_json::{Map, Value};

use super::DEFAULT_TENANT;
use crate::workload::Request;

/// Example of a correct line.
pub(super) const EXAMPLE: &str =
    r#"{"prompt": "…", "tenant": "acme", "model": "gpt-4o", "ts": "2026-03-01T09:30:00Z"}"#;

/// Largest number that is read as a time in seconds: the end of the year 9999.
const LAST: u64 = 253_402_300_799;

/// Reads the request of a line. The error says what is wrong with the line.
pub(super) fn request(line: &str) -> Result<Request, String> {
    let fields = match serde_json::from_str(line) {
        Ok(Value::Object(fields)) => fields,
        Ok(_) => return Err(format!("it is no object: write a line such as {EXAMPLE}")),
        Err(e) => return Err(format!("it is no JSON (column {}): write a line such as {EXAMPLE}", e.column())),
    };
    let prompt = match fields.get("prompt") {
        Some(Value::String(prompt)) if !prompt.trim().is_empty() => prompt.as_str(),
        Some(_) => return Err("prompt must be a text that is not empty".to_owned()),
        None => return Err(format!("there is no prompt: write a line such as {EXAMPLE}")),
    };
    let tenant = match given(&fields, "tenant") {
        None => DEFAULT_TENANT.to_owned(),
        Some(Value::String(tenant)) if !tenant.is_empty() => tenant.clone(),
        Some(Value::Number(number)) if !number.is_f64() => number.to_string(),
        Some(_) => return Err("tenant must be a name or a whole number".to_owned()),
    };
    let model = match given(&fields, "model") {
        None => None,
        Some(Value::String(model)) if !model.trim().is_empty() => Some(model.as_str().into()),
        Some(_) => return Err("model must be a name".to_owned()),
    };
    let at = given(&fields, "ts").map(time).transpose()?;
    Ok(Request { at, model, instructed: false, ..Request::new(tenant, prompt) })
}

/// Returns a field that exists and is not null.
fn given<'a>(fields: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    fields.get(name).filter(|value| !value.is_null())
}

fn time(value: &Value) -> Result<SystemTime, String> {
    let no_time = "ts must be a time after 1970: unix seconds, or RFC 3339 text such as \"2026-03-01T09:30:00Z\"";
    let since = match value {
        Value::Number(number) => {
            number.as_u64().map(Duration::from_secs).or_else(|| Duration::try_from_secs_f64(number.as_f64()?).ok())
        }
        Value::String(text) => {
            let time = text.parse::<jiff::Timestamp>().ok().map(SystemTime::from);
            time.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok())
        }
        _ => None,
    };
    match since {
        Some(since) if since.as_secs() > LAST => {
            Err("ts is beyond the year 9999: give seconds, not milliseconds".to_owned())
        }
        Some(since) => Ok(SystemTime::UNIX_EPOCH + since),
        None => Err(no_time.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_error_states_expected_form() {
        for (line, message) in [
            ("[1]", "it is no object"),
            ("{\"prompt\": \"a\"", "it is no JSON (column 14)"),
            ("{\"tenant\": \"a\"}", "there is no prompt"),
            ("{\"prompt\": [\"a\"]}", "prompt must be a text that is not empty"),
            ("{\"prompt\": \" \"}", "prompt must be a text that is not empty"),
            ("{\"prompt\": \"a\", \"tenant\": 1.5}", "tenant must be a name or a whole number"),
            ("{\"prompt\": \"a\", \"model\": 4}", "model must be a name"),
            ("{\"prompt\": \"a\", \"ts\": \"yesterday\"}", "ts must be a time after 1970"),
            ("{\"prompt\": \"a\", \"ts\": -5}", "ts must be a time after 1970"),
            ("{\"prompt\": \"a\", \"ts\": 1772357400250}", "ts is beyond the year 9999: give seconds"),
        ] {
            let error = request(line).expect_err(line);
            assert!(error.starts_with(message), "{line}: {error}");
        }
    }

    #[test]
    fn line_time_is_seconds_or_timestamp() {
        let at = |ts: &str| {
            let request = request(&format!("{{\"prompt\": \"a\", \"ts\": {ts}}}")).expect(ts);
            request.at.map(|at| at.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970"))
        };
        assert_eq!(at("null"), None);
        assert_eq!(at("1772357400"), Some(Duration::from_secs(1_772_357_400)));
        assert_eq!(at("0.25"), Some(Duration::from_millis(250)));
        assert_eq!(at("\"2026-03-01T11:30:00.5+02:00\""), Some(Duration::from_millis(1_772_357_400_500)));
    }
}
