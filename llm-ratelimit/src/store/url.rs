//! Addresses of stores.

use std::path::PathBuf;

use super::StoreError;

/// Which store is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    Memory,
    File(PathBuf),
}

const SCHEMELESS: StoreError = StoreError::Url("the store's URL begins with no scheme: use memory: or file:///path");
const MORE: StoreError =
    StoreError::Url("stores have no parameters and no fragments: leave them out, and write ? as %3f and # as %23");
const RELATIVE: StoreError = StoreError::Url("the path of a file store has to be absolute: write file:///path");
const ESCAPE: StoreError =
    StoreError::Url("the path has a broken escape: after % come two hexadecimal digits, in UTF-8");

impl Address {
    /// Reads an address. What it may hold of secrets is in no error.
    pub(super) fn read(url: &str) -> Result<Self, StoreError> {
        let (scheme, rest) = url.split_once(':').ok_or(SCHEMELESS)?;
        let scheme = scheme.to_ascii_lowercase();
        match scheme.as_str() {
            "memory" | "file" => {}
            "redis" | "rediss" => return Err(StoreError::NotOffered("redis")),
            _ if scheme.len() <= 16 && scheme.bytes().all(|byte| byte.is_ascii_alphabetic()) => {
                return Err(StoreError::Scheme(scheme));
            }
            _ => return Err(SCHEMELESS),
        }
        let place = rest.strip_suffix('?').unwrap_or(rest);
        if place.contains(['?', '#']) {
            return Err(MORE);
        }
        if scheme == "memory" {
            let none = matches!(place, "" | "//" | "///");
            return if none { Ok(Self::Memory) } else { Err(StoreError::Url("memory: has no path, leave it out")) };
        }
        let path = match place.strip_prefix("//") {
            Some(path) => path.strip_prefix("localhost").unwrap_or(path),
            None => place,
        };
        if !path.starts_with('/') || path.len() < 2 {
            return Err(RELATIVE);
        }
        Ok(Self::File(unescaped(path)?.into()))
    }
}

fn unescaped(path: &str) -> Result<String, StoreError> {
    let (mut bytes, mut rest) = (Vec::with_capacity(path.len()), path.as_bytes());
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digits = after.get(..2).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit)).ok_or(ESCAPE)?;
        let digits = std::str::from_utf8(digits).map_err(|_| ESCAPE)?;
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| ESCAPE)?);
        rest = &after[2..];
    }
    let path = String::from_utf8(bytes).map_err(|_| ESCAPE)?;
    if path.contains('\0') { Err(ESCAPE) } else { Ok(path) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn store_url_is_parsed() {
        let file = |path: &str| Address::File(path.into());
        for (url, address) in [
            ("memory:", Address::Memory),
            ("MEMORY://", Address::Memory),
            ("file:///var/lib/books", file("/var/lib/books")),
            ("file:/var/lib/books?", file("/var/lib/books")),
            ("file://localhost/a%20b%c3%a9", file("/a bé")),
        ] {
            assert_eq!(Address::read(url), Ok(address), "{url}");
        }
    }

    #[test]
    fn store_url_errors_hold_no_secret() {
        for (url, part) in [
            ("", "no scheme"),
            ("hunter2", "no scheme"),
            ("ann-hunter2:x", "no scheme"),
            ("postgres://ann:hunter2@host/x", "\"postgres\" is no scheme"),
            ("redis://ann:hunter2@host/x", "not offered yet"),
            ("rediss://ann:hunter2@host/x", "not offered yet"),
            ("file:books", "absolute"),
            ("file:localhost/x", "absolute"),
            ("file://ann:hunter2@books/x", "absolute"),
            ("file:///", "absolute"),
            ("file:///a%2", "escape"),
            ("file:///a%zz", "escape"),
            ("file:///a%+1", "escape"),
            ("file:///a%ff", "escape"),
            ("file:///a%00", "escape"),
            ("file:///a?evry=hunter2", "no parameters"),
            ("file:///a#hunter2", "no fragments"),
            ("memory:/x", "no path"),
        ] {
            let error = Address::read(url).unwrap_err().to_string();
            assert!(error.contains(part) && !error.contains("hunter2"), "{url}: {error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn store_url_never_panics(url in "(file:|memory:)?(//)?[/%?&=a-f0-9\\PC]{0,20}") {
            let _ = Address::read(&url);
        }

        #[test]
        fn store_url_escapes_every_path(path in "/[^\0]{1,20}") {
            let escaped: String = path.bytes().map(|byte| format!("%{byte:02x}")).collect();
            let url = format!("file:///{}", escaped.strip_prefix("%2f").unwrap());
            proptest::prop_assert_eq!(Address::read(&url), Ok(Address::File(path.into())));
        }
    }
}
