use bytes::Bytes;
use llm_core::{EmbedInput, EmbedRequest, Error, Extra};
use serde::Serialize;

use super::{super::address::resource, unsupported::unsupported};
use crate::protocol::encode::{bytes, no_shadow};

/// Returns the body of `batchEmbedContents`, with one request for each input. Unknown fields (`taskType`, `title`) are
/// in each of them.
///
/// # Errors
///
/// [`ErrorKind::InvalidRequest`](llm_core::ErrorKind::InvalidRequest) if [`EmbedRequest::validate`] fails or an unknown
/// field has the name of a known one; [`ErrorKind::Unsupported`](llm_core::ErrorKind::Unsupported) for inputs that are
/// tokens.
pub(crate) fn encode_embed(request: &EmbedRequest) -> Result<Bytes, Error> {
    request.validate()?;
    let EmbedRequest { model, inputs, dimensions, extra } = request;
    no_shadow("", extra, &["model", "content", "outputDimensionality", "output_dimensionality", "requests"])?;
    let model = resource(model);
    let one = |(at, input): (usize, &'_ EmbedInput)| match input {
        EmbedInput::Text(text) => Ok(text.clone()),
        EmbedInput::Tokens(_) => Err(unsupported(format!("inputs[{at}], which is tokens, has no place"))),
    };
    let texts = inputs.iter().enumerate().map(one).collect::<Result<Vec<_>, _>>()?;
    let requests = texts.iter().map(|text| One {
        model: &model,
        content: Content { parts: [Text { text }] },
        output_dimensionality: *dimensions,
        extra,
    });
    bytes(&Batch { requests: requests.collect() })
}

#[derive(Serialize)]
struct Batch<'a> {
    requests: Vec<One<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct One<'a> {
    model: &'a str,
    content: Content<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_dimensionality: Option<u32>,
    #[serde(flatten)]
    extra: &'a Extra,
}

#[derive(Serialize)]
struct Content<'a> {
    parts: [Text<'a>; 1],
}

#[derive(Serialize)]
struct Text<'a> {
    text: &'a str,
}
