use llm_core::Error;

/// Number of models on a page of the list, which is the largest that Gemini allows.
const PAGE: u32 = 1_000;

/// Returns the path of a model's method below the base URL: `models/gemini-3-flash:generateContent`.
///
/// A model name with a directory, such as `tunedModels/mine`, is used unchanged; other names are put in `models`.
///
/// # Errors
///
/// [`ErrorKind::InvalidRequest`](llm_core::ErrorKind::InvalidRequest) if the name has a character that no model name
/// has.
pub(crate) fn address(model: &str, verb: &str) -> Result<String, Error> {
    let name = resource(model);
    let good = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.' | b'@');
    let step = |step: &str| !step.is_empty() && !matches!(step, "." | "..") && step.bytes().all(good);
    if !name.split('/').all(step) {
        return Err(Error::invalid(
            "model is not the name of one: letters, digits, '-', '_', '.', '@' and '/' make it up",
        ));
    }
    Ok(format!("{name}:{verb}"))
}

/// Returns the path of a page of the list of models, below the base URL.
pub(crate) fn models_path(page: Option<&str>) -> String {
    let mut path = format!("models?pageSize={PAGE}");
    if let Some(page) = page {
        path.push_str("&pageToken=");
        for byte in page.bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => path.push(byte.into()),
                byte => path.push_str(&format!("%{byte:02X}")),
            }
        }
    }
    path
}

/// Returns a model's full name: `models/gemini-3-flash`.
pub(super) fn resource(model: &str) -> String {
    if model.contains('/') { model.to_owned() } else { format!("models/{model}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn model_path_has_prefix() {
        for (model, path) in [
            ("gemini-3-flash", "models/gemini-3-flash:generateContent"),
            ("models/gemini-2.0-flash-001", "models/gemini-2.0-flash-001:generateContent"),
            ("tunedModels/mine_1", "tunedModels/mine_1:generateContent"),
        ] {
            assert_eq!(address(model, "generateContent").unwrap(), path);
        }
    }

    #[test]
    fn model_path_refuses_other_characters() {
        for model in ["a b", "a?key=1", "a#b", "../files", "models/../x", "a:b", "/a", "a//b", "é", "a%2F"] {
            assert!(address(model, "generateContent").is_err(), "{model}");
        }
    }

    #[test]
    fn page_token_is_escaped() {
        assert_eq!(models_path(None), "models?pageSize=1000");
        assert_eq!(models_path(Some("a/b+c=&é")), "models?pageSize=1000&pageToken=a%2Fb%2Bc%3D%26%C3%A9");
    }
}
