use bytes::Bytes;
use llm_core::{ChatRequest, Error};
use serde::Serialize;

use super::{
    super::{Dialect, address::resource},
    chat::Body,
    message::Content,
};
use crate::protocol::encode::bytes;

/// Returns the body of `countTokens`: only the conversation, or the complete request if it has other fields.
///
/// # Errors
///
/// The errors of [`encode_chat`](super::encode_chat).
pub(crate) fn encode_count(request: &ChatRequest, dialect: Dialect) -> Result<Bytes, Error> {
    let mut whole = Body::new(request, dialect)?;
    if whole.is_bare() {
        return bytes(&Count::Contents(whole.contents));
    }
    whole.model = Some(resource(&request.model));
    bytes(&Count::GenerateContentRequest(Box::new(whole)))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Count<'a> {
    Contents(Vec<Content<'a>>),
    GenerateContentRequest(Box<Body<'a>>),
}
