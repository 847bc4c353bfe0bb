use llm_core::Error;
use serde_json::{Map, Value};

use super::super::fields::{Fields, malformed, take_list};

const CALL: &str = "functionCall";
/// Largest depth of the arguments, and largest length of a list in them, that pieces may fill.
const MOST: usize = 100;

/// Function call whose arguments arrive in pieces, if the request set `streamFunctionCallArguments`: a call with
/// `willContinue`, then pieces of its arguments (`partialArgs`) with JSON paths, and finally a call without
/// `willContinue`.
#[derive(Debug, Default)]
pub(crate) struct PartialCall(Option<Open>);

#[derive(Debug)]
struct Open {
    /// Fields of the part, without the arguments.
    part: Fields,
    arguments: Value,
}

/// Step of a JSON path.
enum Step<'p> {
    Field(&'p str),
    Item(usize),
}

impl PartialCall {
    /// Reads a part of a response. Returns the part, or the complete call if the part completes one; `None` while a
    /// call is open.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Malformed`](llm_core::ErrorKind::Malformed) if a piece cannot be put into the arguments.
    pub(crate) fn take(&mut self, mut part: Value) -> Result<Option<Value>, Error> {
        let Some(call) = part.get_mut(CALL).and_then(Value::as_object_mut) else { return Ok(Some(part)) };
        if self.0.is_none() && !call.contains_key("partialArgs") && !call.contains_key("willContinue") {
            return Ok(Some(part));
        }
        let continues = call.remove("willContinue") == Some(Value::Bool(true));
        let pieces = take_list(call, "partialArgs").unwrap_or_default();
        let Value::Object(fields) = part else { return Ok(Some(part)) };
        let open = match &mut self.0 {
            Some(open) => open.merge(fields)?,
            none => none.insert(Open::new(fields)?),
        };
        for piece in &pieces {
            put(&mut open.arguments, piece)?;
        }
        Ok(if continues { None } else { self.0.take().map(|open| open.close(Value::to_string)) })
    }

    /// Returns `true` while a call is open.
    pub(crate) fn is_open(&self) -> bool {
        self.0.is_some()
    }

    /// Returns the call that is still open at the end of a response. The arguments of this call are incomplete, so they
    /// do not parse.
    pub(crate) fn broken_off(&mut self) -> Option<Value> {
        self.0.take().map(|open| {
            open.close(|arguments| {
                let mut text = arguments.to_string();
                text.pop();
                text
            })
        })
    }
}

impl Open {
    fn new(part: Fields) -> Result<Self, Error> {
        let open = Self { part, arguments: Value::Object(Map::new()) };
        match open.name() {
            Some(_) => Ok(open),
            None => Err(malformed("a functionCall of the response has partialArgs and no name")),
        }
    }

    /// Adds the fields of a later part of the response to the call.
    fn merge(&mut self, mut later: Fields) -> Result<&mut Self, Error> {
        let Some(Value::Object(call)) = later.remove(CALL) else { return Ok(self) };
        let is_other = call.get("name").and_then(Value::as_str).is_some_and(|name| Some(name) != self.name());
        if is_other || call.contains_key("args") {
            return Err(malformed("a functionCall of the response began before the one with partialArgs had ended"));
        }
        if let Some(Value::Object(known)) = self.part.get_mut(CALL) {
            known.extend(call.into_iter().filter(|(_, value)| !value.is_null()));
        }
        self.part.extend(later);
        Ok(self)
    }

    fn name(&self) -> Option<&str> {
        self.part.get(CALL)?.get("name")?.as_str().filter(|name| !name.is_empty())
    }

    fn close(mut self, text: impl FnOnce(&Value) -> String) -> Value {
        if let Some(Value::Object(call)) = self.part.get_mut(CALL) {
            call.entry("args").or_insert_with(|| text(&self.arguments).into());
        }
        Value::Object(self.part)
    }
}

/// Inserts a piece of `partialArgs` into the arguments. Text is appended to the text at the piece's path.
fn put(arguments: &mut Value, piece: &Value) -> Result<(), Error> {
    let path = piece.get("jsonPath").and_then(Value::as_str).unwrap_or_default();
    let bad =
        || malformed(format!("a functionCall of the response has partialArgs at {path:?}, which cannot be followed"));
    let steps = steps(path).ok_or_else(bad)?;
    let mut place = arguments;
    for step in steps {
        place = match (step, place) {
            (Step::Field(name), place) if place.is_null() || place.is_object() => {
                if place.is_null() {
                    *place = Value::Object(Map::new());
                }
                place.as_object_mut().ok_or_else(bad)?.entry(name).or_insert(Value::Null)
            }
            (Step::Item(at), place) if at < MOST && (place.is_null() || place.is_array()) => {
                if place.is_null() {
                    *place = Value::Array(Vec::new());
                }
                let list = place.as_array_mut().ok_or_else(bad)?;
                list.resize(list.len().max(at + 1), Value::Null);
                &mut list[at]
            }
            _ => return Err(bad()),
        };
    }
    let value = ["stringValue", "numberValue", "boolValue"].iter().find_map(|name| piece.get(*name));
    match (place, value) {
        (Value::String(text), Some(Value::String(more))) => text.push_str(more),
        (place, Some(value)) => *place = value.clone(),
        // The piece is `nullValue`, or only announces another one.
        (_, None) => {}
    }
    Ok(())
}

/// Reads a JSON path of names and numbers, such as `$.stops[0]['zip code']`.
fn steps(path: &str) -> Option<Vec<Step<'_>>> {
    let (mut rest, mut steps) = (path.strip_prefix('$')?, Vec::new());
    while !rest.is_empty() {
        let (step, after) = if let Some(name) = rest.strip_prefix('.') {
            let (name, after) = name.split_at(name.find(['.', '[']).unwrap_or(name.len()));
            (Step::Field(name), after)
        } else {
            let inner = rest.strip_prefix('[')?;
            match inner.strip_prefix(['\'', '"']) {
                Some(name) => {
                    let (name, after) = name.split_once([inner.chars().next()?])?;
                    (Step::Field(name), after.strip_prefix(']')?)
                }
                None => {
                    let (number, after) = inner.split_once(']')?;
                    (Step::Item(number.parse().ok()?), after)
                }
            }
        };
        steps.push(step);
        rest = after;
    }
    (!steps.is_empty() && steps.len() <= MOST).then_some(steps)
}
