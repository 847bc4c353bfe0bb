use base64::{display::Base64Display, engine::general_purpose::STANDARD};
use bytes::Bytes;
use llm_core::{
    Error, Extra,
    chat::{Image, ImageSource},
};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, value::RawValue};

use super::unsupported::unsupported;
use crate::protocol::cross_vendor;

/// Names of unknown fields that this vendor's own responses contain.
pub(super) const OWN: [&str; 3] = ["functionCall", "thought", "thoughtSignature"];

/// Part of a message in Gemini's form.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum EncodedPart<'a> {
    Known(Box<Known<'a>>),
    Raw(&'a Value),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Known<'a> {
    #[serde(flatten)]
    pub(super) data: Payload<'a>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) thought: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) thought_signature: Option<&'a str>,
    #[serde(flatten)]
    pub(super) extra: Map<String, Value>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Payload<'a> {
    Text(&'a str),
    InlineData(Blob<'a>),
    FileData(File<'a>),
    FunctionCall(Called<'a>),
    FunctionResponse(ToolOutput<'a>),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Blob<'a> {
    mime_type: &'a str,
    data: Base64<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct File<'a> {
    file_uri: &'a str,
}

#[derive(Serialize)]
pub(super) struct Called<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<&'a str>,
    pub(super) name: &'a str,
    pub(super) args: &'a RawValue,
    #[serde(flatten)]
    pub(super) extra: Map<String, Value>,
}

#[derive(Serialize)]
pub(super) struct ToolOutput<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<&'a str>,
    pub(super) name: &'a str,
    pub(super) response: Response,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) parts: Vec<EncodedPart<'a>>,
    #[serde(flatten)]
    pub(super) extra: Map<String, Value>,
}

/// Result of a tool, which Gemini requires to be an object: another value is put into one, under a name.
pub(super) struct Response {
    pub(super) under: Option<&'static str>,
    pub(super) said: Said,
}

#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Said {
    Json(Box<RawValue>),
    Text(String),
}

enum Base64<'a> {
    Bytes(&'a Bytes),
    Text(&'a str),
}

impl<'a> EncodedPart<'a> {
    /// Creates a part with its unknown fields.
    pub(super) fn with(data: Payload<'a>, extra: &Extra) -> Self {
        Self::Known(Box::new(Known { data, thought: false, thought_signature: None, extra: object(extra) }))
    }

    /// Creates an image part from bytes, or from the URL of a file that was uploaded to Gemini.
    pub(super) fn image(image: &'a Image, here: &str) -> Result<Self, Error> {
        let Image { source, detail, extra } = image;
        if let Some(detail) = detail.as_deref().filter(|detail| *detail != "auto") {
            return Err(unsupported(format!("{here}.detail ({detail}) has no place (see mediaResolution)")));
        }
        let data = match source {
            ImageSource::Bytes { media_type, data } => {
                Payload::InlineData(Blob { mime_type: media_type, data: Base64::Bytes(data) })
            }
            ImageSource::Url { url } => match inline(url) {
                Some((mime_type, data)) => Payload::InlineData(Blob { mime_type, data: Base64::Text(data) }),
                None if is_uploaded(url) => Payload::FileData(File { file_uri: url }),
                None => {
                    return Err(unsupported(format!(
                        "{here}.source.url, which is no uploaded file, has no place (send its bytes: nothing here downloads)"
                    )));
                }
            },
        };
        Ok(Self::with(data, extra))
    }
}

impl Serialize for Response {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.under {
            Some(name) => serializer.collect_map([(name, &self.said)]),
            None => self.said.serialize(serializer),
        }
    }
}

impl Serialize for Base64<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Bytes(bytes) => serializer.collect_str(&Base64Display::new(bytes, &STANDARD)),
            Self::Text(text) => serializer.serialize_str(text),
        }
    }
}

/// Returns a copy of the fields as a JSON object.
pub(super) fn object(extra: &Extra) -> Map<String, Value> {
    cross_vendor::own_fields(extra, &OWN).map(|(name, value)| (name.to_owned(), value.clone())).collect()
}

/// Returns the media type and the base64 text of a `data:` URL.
fn inline(url: &str) -> Option<(&str, &str)> {
    let (kind, data) = url.strip_prefix("data:")?.split_once(',')?;
    let kind = kind.strip_suffix(";base64")?;
    Some((kind.split(';').next().filter(|kind| !kind.is_empty())?, data))
}

/// Returns `true` for the URL of a file that was uploaded to Gemini.
fn is_uploaded(url: &str) -> bool {
    let path = url.strip_prefix("https://generativelanguage.googleapis.com/");
    path.is_some_and(|path| path.split_once('/').is_some_and(|(_, file)| file.starts_with("files/")))
}
