//! Parsers of times and sizes on a command line.

use std::time::Duration;

/// Parses a time such as `90s`, `15m`, `24h` or `7d`; `none` is `None`.
pub(super) fn ttl(text: &str) -> Result<Option<Duration>, String> {
    let wrong = || format!("--ttl is a time such as 15m, 24h or 7d, or none, not {text}");
    if text == "none" {
        return Ok(None);
    }
    let unit = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3_600,
        Some('d') => 86_400,
        _ => return Err(wrong()),
    };
    let seconds = text[..text.len() - 1].parse::<u64>().ok().and_then(|count| count.checked_mul(unit));
    seconds.filter(|seconds| *seconds > 0).map(|seconds| Some(Duration::from_secs(seconds))).ok_or_else(wrong)
}

/// Parses a size such as `512kb`, `64mb` or `2gb`, with units of 1,024; a number without a unit is in bytes.
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    let lower = text.to_ascii_lowercase();
    let units = [("kb", 1 << 10), ("mb", 1 << 20), ("gb", 1 << 30)];
    let found = units.iter().find_map(|(name, unit)| Some((lower.strip_suffix(name)?, *unit)));
    let (count, unit) = found.unwrap_or((&lower, 1_u64));
    let bytes = count.parse::<u64>().ok().and_then(|count| count.checked_mul(unit));
    bytes.filter(|bytes| *bytes > 0).ok_or_else(|| format!("--capacity is a size such as 64mb or 2gb, not {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit_or_are_none() {
        assert_eq!(ttl("none"), Ok(None));
        for (text, seconds) in [("90s", 90), ("15m", 900), ("24h", 86_400), ("7d", 604_800)] {
            assert_eq!(ttl(text), Ok(Some(Duration::from_secs(seconds))));
        }
        for text in ["", "7", "d", "0s", "-1h", "1w", "1.5h", "7 d", "99999999999999999999s", "5é"] {
            assert!(ttl(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_bytes_or_have_a_unit() {
        for (text, size) in [("64mb", 64 << 20), ("2GB", 2 << 30), ("1kb", 1_024), ("100", 100)] {
            assert_eq!(bytes(text), Ok(size));
        }
        for text in ["", "mb", "0", "1tb", "64 mb", "99999999999gb"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }
}
