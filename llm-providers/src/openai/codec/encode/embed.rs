use bytes::Bytes;
use llm_core::{EmbedInput, EmbedRequest, Error, ErrorKind};
use serde::{Serialize, Serializer, ser::SerializeMap};

use super::super::{Dialect, MissingFeature};
use crate::protocol::encode::{bytes, entries, entry, no_shadow};

/// Returns the body of an embeddings request.
///
/// The body requests vectors as numbers, or as base64 if [`Dialect::base64_embeddings`] is set. An `encoding_format`
/// among the request's unknown fields takes precedence.
///
/// # Errors
///
/// [`ErrorKind::Unsupported`] if the server has no embeddings; [`ErrorKind::InvalidRequest`] if
/// [`EmbedRequest::validate`] fails, an unknown field has the name of a known one, or some inputs are texts and others
/// tokens, because the format allows only one kind in a request.
pub(crate) fn encode_embed(request: &EmbedRequest, dialect: Dialect) -> Result<Bytes, Error> {
    request.validate()?;
    if dialect.is_missing(MissingFeature::Embeddings) {
        return Err(Error::new(ErrorKind::Unsupported, format!("{} has no embeddings", dialect.name)));
    }
    no_shadow("", &request.extra, &["model", "input", dialect.dimensions])?;
    let texts = request.inputs.iter().filter(|input| matches!(input, EmbedInput::Text(_))).count();
    if texts != 0 && texts != request.inputs.len() {
        return Err(Error::invalid("inputs holds texts and tokens: ask for them apart"));
    }
    bytes(&Body { request, dialect })
}

struct Body<'a> {
    request: &'a EmbedRequest,
    dialect: Dialect,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Input<'a> {
    Text(&'a str),
    Tokens(&'a [u32]),
}

impl Serialize for Body<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let EmbedRequest { model, inputs, dimensions, extra } = self.request;
        let inputs = inputs.iter().map(|input| match input {
            EmbedInput::Text(text) => Input::Text(text),
            EmbedInput::Tokens(tokens) => Input::Tokens(tokens),
        });
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("model", model)?;
        map.serialize_entry("input", &inputs.collect::<Vec<_>>())?;
        entry(&mut map, self.dialect.dimensions, dimensions)?;
        if extra.get("encoding_format").is_none() {
            let format = if self.dialect.base64_embeddings { "base64" } else { "float" };
            map.serialize_entry("encoding_format", format)?;
        }
        entries(&mut map, extra)?;
        map.end()
    }
}
