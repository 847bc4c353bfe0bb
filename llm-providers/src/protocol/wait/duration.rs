use std::time::Duration;

const NANOS: u128 = 1_000_000_000;

/// Parses a duration in Go's form (`6m0s`, `4ms`, `1h2m3.5s`) or as bare seconds (`60`, `1.5`).
///
/// Returns `None` for another form, a negative value, or more seconds than 64 bits hold. Digits below a nanosecond are
/// cut off. A bare number may also be a timestamp: [`time_until`](super::time_until) distinguishes the two.
///
/// ```
/// use std::time::Duration;
/// use llm_providers::protocol::duration;
///
/// assert_eq!(duration("1m30s"), Some(Duration::from_secs(90)));
/// ```
pub fn duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let mut rest = text;
    let mut total = 0u128;
    loop {
        let (number, after) = number(rest)?;
        let letters = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, next) = after.split_at(letters);
        let unit = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => NANOS,
            "m" => 60 * NANOS,
            "h" => 3_600 * NANOS,
            "" if rest.len() == text.len() && next.is_empty() => NANOS,
            _ => return None,
        };
        total = total.checked_add(number.times(unit)?)?;
        if next.is_empty() {
            break;
        }
        rest = next;
    }
    let seconds = u64::try_from(total / NANOS).ok()?;
    // The remainder is smaller than 10⁹, so it fits into 32 bits.
    Some(Duration::new(seconds, (total % NANOS) as u32))
}

/// Decimal number: an integer part, and a fraction in billionths.
pub(super) struct Decimal {
    whole: u128,
    nanos: u128,
}

impl Decimal {
    pub(super) fn times(&self, unit: u128) -> Option<u128> {
        self.whole.checked_mul(unit)?.checked_add(self.nanos * unit / NANOS)
    }
}

/// Parses the decimal number at the beginning of `text`, and returns the rest of the text too.
pub(super) fn number(text: &str) -> Option<(Decimal, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (whole, rest) = text.split_at(end);
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(rest) => rest.split_at(rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len())),
        None => ("", rest),
    };
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let whole = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let nanos = format!("{:0<9.9}", fraction).parse().ok()?;
    Some((Decimal { whole, nanos }, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn duration_reads_vendor_forms() {
        let cases = [
            ("0s", 0),
            ("4ms", 4_000_000),
            ("26ms", 26_000_000),
            ("1s", NANOS),
            ("8.64s", 8_640_000_000),
            ("6m0s", 360 * NANOS),
            ("1h2m3.5s", 3_723 * NANOS + 500_000_000),
            ("17h4m23.999999999s", 61_463 * NANOS + 999_999_999),
            ("3µs", 3_000),
            ("12ns", 12),
            ("60", 60 * NANOS),
            ("0", 0),
            (" 1.5 ", 1_500_000_000),
            (".5s", 500_000_000),
            ("0.0000000019s", 1),
        ];
        for (text, nanos) in cases {
            assert_eq!(duration(text).map(|d| d.as_nanos()), Some(nanos), "{text}");
        }
    }

    #[test]
    fn duration_refuses_other_text() {
        for text in ["", " ", "s", "ms", "-1s", "1x", "1s2", "1 s", "1..2s", "NaN", "inf", "1e3", "12:00", "1s ms"] {
            assert_eq!(duration(text), None, "{text:?}");
        }
        assert_eq!(duration("99999999999999999999h"), None);
    }

    proptest! {
        #[test]
        fn duration_never_panics(text in "\\PC{0,24}") {
            let _ = duration(&text);
        }

        #[test]
        fn duration_sums_its_parts(h in 0u64..100_000, m in 0u64..60, s in 0u64..60, ms in 0u64..1_000) {
            let text = format!("{h}h{m}m{s}.{ms:03}s");
            prop_assert_eq!(duration(&text), Some(Duration::from_millis(((h * 60 + m) * 60 + s) * 1_000 + ms)));
        }
    }
}
