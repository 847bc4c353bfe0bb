//! Texts of scenarios, read from files or made up.

use std::collections::HashMap;
use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;

use crate::error::Error;
use crate::lines;

/// Words that fill made-up texts.
const FILLER: [&str; 12] =
    ["the", "shop", "keeps", "every", "order", "until", "a", "customer", "confirms", "payment", "and", "delivery"];

/// Texts that were read from files, by `key_scenario`.
#[derive(Debug, Default)]
pub(super) struct Texts {
    by_key: HashMap<u64, Arc<str>>,
}

#[derive(Deserialize)]
struct Line {
    key_scenario: u64,
    text: String,
}

impl Texts {
    pub(super) fn read(files: &[PathBuf]) -> Result<Self, Error> {
        let mut texts = Self::default();
        for path in files {
            for (line, number) in lines::read(path)?.zip(1..) {
                let line = line.map_err(|e| Error::io(path, e).on_line(number))?;
                let Line { key_scenario, text } =
                    serde_json::from_str(&line).map_err(|e| Error::content(path, e.to_string()).on_line(number))?;
                let text: Arc<str> = text.into();
                let known = texts.by_key.entry(key_scenario).or_insert_with(|| text.clone());
                if *known != text {
                    return Err(Error::content(path, format!("scenario {key_scenario} has two texts")).on_line(number));
                }
            }
        }
        Ok(texts)
    }

    pub(super) fn holds(&self, key: u64) -> bool {
        self.by_key.contains_key(&key)
    }

    /// Returns the text that was read for `key`, or else makes one of `chars` characters.
    pub(super) fn scenario(&self, key: u64, chars: usize) -> Arc<str> {
        self.by_key.get(&key).cloned().unwrap_or_else(|| made(key, chars).into())
    }
}

/// Makes a text of one line for `key`, with `chars` characters: a number sign, the key, then filler. Different keys
/// have different texts. A text is longer than `chars` if the key does not fit. The trace's texts hold no comments, so
/// none of them begins with this sign.
pub(super) fn made(key: u64, chars: usize) -> String {
    let mut text = format!("#{key}");
    let shortest = text.len();
    for word in FILLER.iter().cycle().skip((key % 12) as usize) {
        if text.len() >= chars {
            break;
        }
        write!(text, " {word}").expect("a string takes any text");
    }
    // The filler is ASCII, so each character is a byte.
    text.truncate(chars.max(shortest));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn texts_made_differ_by_key() {
        assert_eq!(made(12, 30).len(), 30);
        assert_eq!(made(12, 30), made(12, 30));
        assert_eq!((made(4_796, 8).as_str(), made(0, 8).as_str()), ("#4796 co", "#0 the s"));
        assert_eq!(made(123_456, 3), "#123456");
        let texts: HashSet<_> = (0..5_000).flat_map(|key| [made(key, 8), made(key, 40)]).collect();
        assert_eq!(texts.len(), 10_000);
        assert!(texts.iter().all(|text| !text.contains('\n')));
    }
}
