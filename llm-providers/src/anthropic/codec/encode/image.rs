use base64::{display::Base64Display, engine::general_purpose::STANDARD};
use llm_core::{
    Error,
    chat::{Image, ImageSource},
};
use serde::{Serialize, Serializer, ser::SerializeMap};

use super::{super::Options, fields::check_fields, unsupported::unsupported};

/// Source of an image that is serialized in Anthropic's form. A `data:` URL is sent as the bytes that it contains.
pub(super) struct Source<'a>(pub(super) &'a ImageSource);

pub(super) fn check(image: &Image, here: &str, options: Options) -> Result<(), Error> {
    let Image { source, detail, extra } = image;
    check_fields(extra, here, &["type", "source"], options)?;
    if detail.as_deref().is_some_and(|detail| detail != "auto") && !options.approximate {
        return Err(unsupported(format!("{here}.detail has no place")));
    }
    match source {
        ImageSource::Url { url } if url.starts_with("data:") && data(url).is_none() => {
            Err(unsupported(format!("{here}, a data address that is not in base64, has no place")))
        }
        _ => Ok(()),
    }
}

impl Serialize for Source<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match self.0 {
            ImageSource::Bytes { media_type, data } => {
                map.serialize_entry("type", "base64")?;
                map.serialize_entry("media_type", media_type)?;
                map.serialize_entry("data", &Shown(Base64Display::new(data, &STANDARD)))?;
            }
            ImageSource::Url { url } => match data(url) {
                Some((media_type, data)) => {
                    map.serialize_entry("type", "base64")?;
                    map.serialize_entry("media_type", media_type)?;
                    map.serialize_entry("data", data)?;
                }
                None => {
                    map.serialize_entry("type", "url")?;
                    map.serialize_entry("url", url)?;
                }
            },
        }
        map.end()
    }
}

struct Shown<'a>(Base64Display<'a, 'a, base64::engine::GeneralPurpose>);

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// Returns the media type and the base64 text of a `data:` URL.
fn data(url: &str) -> Option<(&str, &str)> {
    let (head, data) = url.strip_prefix("data:")?.split_once(',')?;
    let media_type = head.strip_suffix(";base64")?;
    Some((media_type.split(';').next()?, data))
}
