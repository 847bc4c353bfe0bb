//! Formats of numbers, by integer arithmetic alone.

use std::time::Duration;

/// Formats a number with commas between thousands.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Formats nano-dollars as dollars with four decimals, rounded to the nearest, halves away from zero.
pub(crate) fn dollars(nano: i64) -> String {
    let rounded = (nano.unsigned_abs() + 50_000) / 100_000;
    let sign = if nano < 0 && rounded > 0 { "-" } else { "" };
    format!("{sign}${}.{:04}", count(rounded / 10_000), rounded % 10_000)
}

/// Formats `part` of `whole` in per cent with two decimals, rounded to the nearest; a dash if `whole` is 0.
pub(crate) fn rate(part: u64, whole: u64) -> String {
    let Some(hundredths) = (u128::from(part) * 10_000 + u128::from(whole) / 2).checked_div(u128::from(whole)) else {
        return "-".to_owned();
    };
    format!("{}.{:02} %", hundredths / 100, hundredths % 100)
}

/// Formats a time in milliseconds with three decimals, rounded down.
pub(crate) fn millis(time: Duration) -> String {
    let whole = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    format!("{}.{:03}", count(whole), time.subsec_micros() % 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_commas_between_thousands() {
        assert_eq!([0, 999, 1_000, 67_789, 1_234_567].map(count), ["0", "999", "1,000", "67,789", "1,234,567"]);
        assert_eq!(count(u64::MAX), "18,446,744,073,709,551,615");
    }

    #[test]
    fn dollars_round_half_away_from_zero() {
        assert_eq!(
            [0, 49_999, 50_000, 149_999, 999_950_000].map(dollars),
            ["$0.0000", "$0.0000", "$0.0001", "$0.0001", "$1.0000"]
        );
        assert_eq!([-49_999, -50_000, -12_345_600_000_000].map(dollars), ["$0.0000", "-$0.0001", "-$12,345.6000"]);
        assert_eq!(dollars(i64::MIN), "-$9,223,372,036.8548");
    }

    #[test]
    fn rates_are_rounded_to_the_nearest() {
        assert_eq!(rate(67_789, 100_630), "67.36 %");
        assert_eq!(rate(81_198, 100_630), "80.69 %");
        assert_eq!(
            (rate(1, 1), rate(0, 5), rate(0, 0), rate(u64::MAX, u64::MAX)),
            ("100.00 %".into(), "0.00 %".into(), "-".into(), "100.00 %".into())
        );
    }

    #[test]
    fn milliseconds_keep_microseconds() {
        assert_eq!(
            [5, 999_999, 2_000_400].map(|us| millis(Duration::from_micros(us))),
            ["0.005", "999.999", "2,000.400"]
        );
    }
}
