use std::sync::Arc;

use bytes::Bytes;
use serde::{
    Deserialize, Serialize,
    de::{DeserializeOwned, IgnoredAny},
};
use serde_json::Value;

use crate::{Error, ErrorKind, Extra, fingerprint::Fingerprinter};

/// A piece of a message or a response.
///
/// ```
/// use llm_core::Part;
///
/// let photo = Part::image("image/png", &b"..."[..]);
/// let cached = Part::text("Score photos from 1 to 10.").with_extra("cache_control", "ephemeral");
/// assert!(matches!(photo, Part::Image(_)) && matches!(cached, Part::Text { .. }));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Part {
    /// Text.
    Text {
        /// The text.
        text: Arc<str>,
        /// Fields that this library does not know, such as `citations` or `cache_control`.
        #[serde(default, skip_serializing_if = "Extra::is_empty")]
        extra: Extra,
    },
    /// An image.
    Image(Image),
    /// A tool call that the model asks the application to make.
    ToolCall(ToolCall),
    /// The result of a tool call.
    ToolResult(ToolResult),
    /// Reasoning of the model, as far as the vendor shows it.
    Reasoning(Reasoning),
    /// The model's refusal.
    Refusal {
        /// Text of the refusal.
        text: Arc<str>,
    },
    /// A kind of part that this library does not know, as the vendor wrote it.
    Other {
        /// JSON of the part.
        value: Arc<Value>,
    },
}

/// An image in a message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Image {
    /// Bytes or URL of the image.
    pub source: ImageSource,
    /// Resolution at which the model should look at the image (`low`, `high`, `auto`), for vendors that support it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<Arc<str>>,
    /// Fields that this library does not know, such as `cache_control`.
    #[serde(default, skip_serializing_if = "Extra::is_empty")]
    pub extra: Extra,
}

/// Content or URL of an image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImageSource {
    /// Content of the image, sent inside the request.
    Bytes {
        /// Media type, such as `image/png`.
        media_type: Arc<str>,
        /// Content of the image file.
        data: Bytes,
    },
    /// URL that the vendor fetches. This library never fetches it.
    Url {
        /// The URL.
        url: Arc<str>,
    },
}

/// A call of a tool that the model asks the application to make.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ToolCall {
    /// Vendor's id of this call, which the result must repeat.
    pub id: Arc<str>,
    /// Name of the tool.
    pub name: Arc<str>,
    /// Arguments, as the JSON text that the model wrote. It may be invalid.
    pub arguments: Arc<str>,
    /// Unknown fields.
    #[serde(default, skip_serializing_if = "Extra::is_empty")]
    pub extra: Extra,
}

/// The result of a tool call.
///
/// ```
/// use llm_core::{Extra, Part, ToolResult};
///
/// let result = ToolResult {
///     call_id: "call_1".into(),
///     content: vec![Part::text("21 °C")],
///     is_error: false,
///     extra: Extra::default(),
/// };
/// assert_eq!(result.content.len(), 1);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ToolResult {
    /// Id of the tool call that gave this result.
    pub call_id: Arc<str>,
    /// Content of the result.
    pub content: Vec<Part>,
    /// True if the tool reports that it failed.
    #[serde(default)]
    pub is_error: bool,
    /// Fields that this library does not know, such as `cache_control`.
    #[serde(default, skip_serializing_if = "Extra::is_empty")]
    pub extra: Extra,
}

/// A model's reasoning.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Reasoning {
    /// Text of the reasoning; empty where the vendor hides it.
    pub text: Arc<str>,
    /// Vendor's signature of the reasoning, to be sent back unchanged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Arc<str>>,
    /// Unknown fields.
    #[serde(default, skip_serializing_if = "Extra::is_empty")]
    pub extra: Extra,
}

impl ToolCall {
    /// Parses the arguments as a `T`.
    ///
    /// ```
    /// use llm_core::ToolCall;
    /// use serde::Deserialize;
    ///
    /// #[derive(Deserialize)]
    /// struct Weather { city: String }
    ///
    /// let call = ToolCall { name: "weather".into(), arguments: r#"{"city": "Paris"}"#.into(), ..ToolCall::default() };
    /// assert_eq!(call.parse::<Weather>()?.city, "Paris");
    /// # Ok::<_, llm_core::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Malformed`] if the arguments are not JSON, or do not fit the type. The error does not quote them.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_str(&self.arguments).map_err(|error| {
            // The message of serde's error may quote the model's text.
            let what = if error.is_data() { "are not of the type wanted" } else { "are no JSON" };
            let (name, line, column) = (&self.name, error.line(), error.column());
            let message = format!("the arguments of tool call {name:?} {what} (line {line}, column {column})");
            Error::new(ErrorKind::Malformed, message)
        })
    }

    /// Returns `true` if the call names a tool and its arguments are a JSON object or absent. The input of a custom
    /// tool is free text, so it is not checked.
    pub(super) fn is_readable(&self) -> bool {
        let arguments = self.arguments.trim();
        let is_object = || arguments.starts_with('{') && serde_json::from_str::<IgnoredAny>(arguments).is_ok();
        let is_custom = || self.extra.get("type").is_some_and(|kind| kind == "custom");
        !self.name.is_empty() && (arguments.is_empty() || is_object() || is_custom())
    }
}

impl Part {
    /// Creates a part of text without unknown fields.
    pub fn text(text: impl Into<Arc<str>>) -> Self {
        Self::Text { text: text.into(), extra: Extra::default() }
    }

    /// Creates an image from the bytes of its file. `media_type` is its type, such as `image/png`.
    pub fn image(media_type: impl Into<Arc<str>>, data: impl Into<Bytes>) -> Self {
        let source = ImageSource::Bytes { media_type: media_type.into(), data: data.into() };
        Self::Image(Image { source, detail: None, extra: Extra::default() })
    }

    /// Creates an image from a URL that the vendor fetches.
    pub fn image_url(url: impl Into<Arc<str>>) -> Self {
        let source = ImageSource::Url { url: url.into() };
        Self::Image(Image { source, detail: None, extra: Extra::default() })
    }

    /// Returns `true` if the part is content of a response: every kind but reasoning and empty text.
    pub(super) fn is_content(&self) -> bool {
        match self {
            Self::Text { text, .. } => !text.is_empty(),
            Self::Reasoning(_) => false,
            _ => true,
        }
    }

    /// Returns `true` if all content of the part is inside the request, because it has no URL to fetch and this library
    /// knows its kind.
    pub(super) fn is_self_contained(&self) -> bool {
        match self {
            Self::Image(Image { source: ImageSource::Url { url }, .. }) => url.starts_with("data:"),
            Self::Other { .. } => false,
            Self::ToolResult(result) => result.content.iter().all(Self::is_self_contained),
            _ => true,
        }
    }

    /// Adds an unknown field, such as `cache_control`. A refusal and [`Other`](Self::Other) cannot hold unknown fields
    /// and are returned unchanged. Put a field of an [`Other`](Self::Other) into its value.
    pub fn with_extra(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        match &mut self {
            Self::Text { extra, .. }
            | Self::Image(Image { extra, .. })
            | Self::ToolCall(ToolCall { extra, .. })
            | Self::ToolResult(ToolResult { extra, .. })
            | Self::Reasoning(Reasoning { extra, .. }) => extra.insert(name, value),
            Self::Refusal { .. } | Self::Other { .. } => {}
        }
        self
    }

    /// Returns the number of bytes of the part's text, for token estimates; `None` if the part is not text.
    pub(super) fn text_bytes(&self) -> Option<u64> {
        Some(match self {
            Self::Text { text, extra } => text.len() as u64 + extra.json_bytes(),
            Self::Refusal { text } => text.len() as u64,
            Self::Reasoning(reasoning) => {
                let signature = reasoning.signature.as_deref().map_or(0, str::len);
                (reasoning.text.len() + signature) as u64 + reasoning.extra.json_bytes()
            }
            Self::ToolCall(ToolCall { id, name, arguments, extra }) => {
                (id.len() + name.len() + arguments.len()) as u64 + extra.json_bytes()
            }
            Self::ToolResult(result) => {
                let content = result.content.iter().map(Self::text_bytes).sum::<Option<u64>>()?;
                content + result.call_id.len() as u64 + result.extra.json_bytes()
            }
            Self::Image(_) | Self::Other { .. } => return None,
        })
    }

    pub(super) fn fingerprint<'h>(&self, h: &'h mut Fingerprinter) -> &'h mut Fingerprinter {
        match self {
            Self::Text { text, extra } => extra.fingerprint_marked(h.variant("text").text(text)),
            Self::Refusal { text } => h.variant("refusal").text(text),
            Self::Other { value } => h.variant("other").json(value),
            Self::Image(Image { source, detail, extra }) => {
                match source {
                    ImageSource::Bytes { media_type, data } => h.variant("image").text(media_type).bytes(data),
                    ImageSource::Url { url } => h.variant("image_url").text(url),
                };
                extra.fingerprint_marked(h.option(detail.as_deref(), |h, detail| h.text(detail)))
            }
            Self::ToolCall(ToolCall { id, name, arguments, extra }) => {
                h.variant("tool_call").text(id).text(name).text(arguments);
                extra.fingerprint(h, |_| true)
            }
            Self::ToolResult(ToolResult { call_id, content, is_error, extra }) => {
                h.variant("tool_result").text(call_id).boolean(*is_error).list(content, |h, part| part.fingerprint(h));
                extra.fingerprint_marked(h)
            }
            Self::Reasoning(Reasoning { text, signature, extra }) => {
                h.variant("reasoning").text(text).option(signature.as_deref(), |h, signature| h.text(signature));
                extra.fingerprint(h, |_| true)
            }
        }
    }
}
