use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Parses a time after 1970 in the form of RFC 3339: `2026-08-19T14:34:15Z`, optionally with a fraction or an offset.
pub(super) fn instant(text: &str) -> Option<SystemTime> {
    let (date, time) = text.split_once(['T', 't', ' '])?;
    let at = time.find(['Z', 'z', '+', '-'])?;
    let (clock, zone) = time.split_at(at);
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let [year, month, day] = numbers(date, '-')?;
    let [hour, minute, second] = numbers(clock, ':')?;
    // Second 60 is a leap second.
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let nanos = match fraction.bytes().all(|digit| digit.is_ascii_digit()) {
        true => format!("{fraction:0<9.9}").parse().ok()?,
        false => return None,
    };
    let seconds = days(year, month, day) * 86_400 + (hour * 60 + minute) * 60 + second - offset(zone)?;
    UNIX_EPOCH.checked_add(Duration::new(u64::try_from(seconds).ok()?, nanos))
}

/// Parses three numbers of at most four digits.
fn numbers(text: &str, separator: char) -> Option<[i64; 3]> {
    let mut parts = text.split(separator).map(|part| {
        let plain = (1..=4).contains(&part.len()) && part.bytes().all(|digit| digit.is_ascii_digit());
        plain.then(|| part.parse().ok()).flatten()
    });
    let three = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(three)
}

/// Returns the offset of a time zone from UTC in seconds.
fn offset(zone: &str) -> Option<i64> {
    if zone.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let sign = if zone.starts_with('-') { -1 } else { 1 };
    let [hours, minutes, _] = numbers(&format!("{}:0", zone.get(1..)?), ':')?;
    (hours < 24 && minutes < 60).then_some(sign * (hours * 60 + minutes) * 60)
}

/// Returns the number of days from 1970-01-01 to a date. Years begin in March in the computation, so that the leap day
/// comes last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn instant_reads_vendor_forms() {
        let cases = [
            ("1970-01-01T00:00:00Z", 0.0),
            ("1994-11-06T08:49:37Z", 784_111_777.0),
            ("2000-02-29T23:59:60Z", 951_868_800.0),
            ("2026-08-19T14:34:15Z", 1_787_150_055.0),
            ("2026-08-19t16:34:15.25+02:00", 1_787_150_055.25),
            ("2026-08-19T14:04:15-00:30", 1_787_150_055.0),
        ];
        for (text, seconds) in cases {
            let read = instant(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(read.duration_since(UNIX_EPOCH).unwrap(), Duration::from_secs_f64(seconds), "{text}");
        }
    }

    #[test]
    fn instant_refuses_other_text() {
        for text in [
            "",
            "soon",
            "2026-08-19",
            "2026-08-19T14:34:15",
            "2026-13-01T00:00:00Z",
            "2026-08-19T24:00:00Z",
            "1969-12-31T23:59:59Z",
            "2026-08-19T1:2Z",
            "2026-08-19T14:34:15.xZ",
            "2026-08-19T14:34:15+2",
            "6s",
        ] {
            assert_eq!(instant(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn instant_never_panics(text in "\\PC{0,32}", odd in "[0-9]{0,4}-[0-9]{0,2}-[0-9]{0,2}T[0-9:.Z+-]{0,16}") {
            let _ = (instant(&text), instant(&odd));
        }

        #[test]
        fn instant_day_later_is_one_day(days in 0u64..60_000) {
            let at = UNIX_EPOCH + Duration::from_secs(days * 86_400 + 3);
            let text = httpdate::fmt_http_date(at);
            let mut words = text.split([' ', ',']).filter(|word| !word.is_empty()).skip(1);
            let (day, month, year) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
            let names = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
            let month = names.iter().position(|name| *name == month).unwrap() + 1;
            prop_assert_eq!(instant(&format!("{year}-{month:02}-{day}T00:00:03Z")), Some(at));
        }
    }
}
