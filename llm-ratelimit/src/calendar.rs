//! Calendar windows and their ends.

use std::{fmt, sync::Arc};

use jiff::{
    Timestamp, ToSpan,
    civil::{Date, Weekday},
    tz::TimeZone,
};

use crate::QuotaError;

/// Kind of calendar window: a day, week or month that begins and ends at midnight in a time zone.
///
/// ```
/// use llm_core::Usd;
/// use llm_ratelimit::{Calendar, CalendarUnit, Quota};
///
/// let month = Calendar::utc(CalendarUnit::Month).in_zone("Europe/Berlin")?;
/// let budget = Quota::budget(Usd::from_nanos(3_000_000_000), month)?;
/// assert_eq!(budget.to_string(), "$3.00/month in Europe/Berlin");
/// # Ok::<_, llm_ratelimit::QuotaError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Calendar {
    unit: CalendarUnit,
    zone: Zone,
}

/// Length of a calendar window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum CalendarUnit {
    /// A day, from midnight to midnight.
    Day,
    /// A week, from Monday to Sunday.
    Week,
    /// A month, from its first day to its last.
    Month,
}

/// Start and end of a calendar window, in nanoseconds since 1970, and the window's number.
#[cfg(feature = "redis")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// Ordinal number of the window. The numbers of consecutive windows are consecutive.
    pub(crate) ordinal: u64,
}

/// First Monday of 1970, from which days and weeks are numbered.
#[cfg(feature = "redis")]
const MONDAY: Date = Date::constant(1970, 1, 5);

#[derive(Clone)]
struct Zone {
    name: Arc<str>,
    zone: TimeZone,
}

impl Calendar {
    /// Creates windows in UTC.
    pub fn utc(unit: CalendarUnit) -> Self {
        Self { unit, zone: Zone { name: "UTC".into(), zone: TimeZone::UTC } }
    }

    /// Sets the time zone by its name in the IANA database, such as `Europe/Berlin`.
    ///
    /// # Errors
    ///
    /// [`QuotaError::Zone`] for a name that is not in the database.
    pub fn in_zone(self, name: &str) -> Result<Self, QuotaError> {
        let zone = match name {
            "UTC" => TimeZone::UTC,
            _ => TimeZone::get(name).map_err(|_| QuotaError::Zone(name.chars().take(64).collect()))?,
        };
        // The database accepts names in upper and lower case, but two spellings must not make two counters.
        let name = zone.iana_name().unwrap_or(name).into();
        Ok(Self { zone: Zone { name, zone }, ..self })
    }

    /// Returns the length of a window.
    pub fn unit(&self) -> CalendarUnit {
        self.unit
    }

    /// Returns the time zone's name.
    pub fn zone(&self) -> &str {
        &self.zone.name
    }

    /// Returns the end of the window that contains `now`, both in nanoseconds since 1970. It is later than `now`,
    /// except in the last window that a `u64` can represent.
    pub(crate) fn end(&self, now: u64) -> u64 {
        self.try_end(now).unwrap_or(u64::MAX)
    }

    /// Parses the text that `Display` writes for a calendar.
    #[cfg(feature = "redis")]
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (unit, zone) = text.split_once(" in ").unwrap_or((text, "UTC"));
        let units = [CalendarUnit::Day, CalendarUnit::Week, CalendarUnit::Month];
        let unit = units.into_iter().find(|known| known.name() == unit)?;
        Self::utc(unit).in_zone(zone).ok()
    }

    /// Returns the window that contains `now`, in nanoseconds since 1970.
    #[cfg(feature = "redis")]
    pub(crate) fn bounds(&self, now: u64) -> Bounds {
        let first = self.first(now);
        let start = first.and_then(|first| first.to_zoned(self.zone.zone.clone()).ok());
        let start = start.and_then(|start| u64::try_from(start.timestamp().as_nanosecond()).ok()).unwrap_or(0);
        let ordinal = first.map_or(0, |first| match self.unit {
            CalendarUnit::Month => i64::from(first.year()) * 12 + i64::from(first.month()),
            CalendarUnit::Week => first.duration_since(MONDAY).as_secs() / (7 * 86_400),
            CalendarUnit::Day => first.duration_since(MONDAY).as_secs() / 86_400,
        });
        Bounds { start: start.min(now), end: self.end(now), ordinal: u64::try_from(ordinal).unwrap_or(0) }
    }

    fn first(&self, now: u64) -> Option<Date> {
        let date = Timestamp::from_nanosecond(now.into()).ok()?.to_zoned(self.zone.zone.clone()).date();
        match self.unit {
            CalendarUnit::Day => Some(date),
            CalendarUnit::Week => date.tomorrow().ok()?.nth_weekday(-1, Weekday::Monday).ok(),
            CalendarUnit::Month => Some(date.first_of_month()),
        }
    }

    fn try_end(&self, now: u64) -> Option<u64> {
        let first = self.first(now)?;
        // A time zone may skip a whole day, whose computed window then ends no later than `now`. In that case, the end
        // of the following window is the first that is later than `now`.
        (1..=3).find_map(|n| {
            let next = match self.unit {
                CalendarUnit::Day => first.checked_add(n.days()),
                CalendarUnit::Week => first.checked_add(n.weeks()),
                CalendarUnit::Month => first.checked_add(n.months()),
            };
            let end = next.ok()?.to_zoned(self.zone.zone.clone()).ok()?.timestamp().as_nanosecond();
            u64::try_from(end).ok().filter(|end| *end > now)
        })
    }
}

impl CalendarUnit {
    /// Returns the length of the window in one word, such as `day`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
        }
    }

    /// Returns an upper bound of the length of a window in nanoseconds, for all time zones.
    pub(crate) fn longest(self) -> u64 {
        let days = match self {
            Self::Day => 2,
            Self::Week => 8,
            Self::Month => 32,
        };
        days * 86_400_000_000_000
    }
}

impl Zone {
    fn key(&self) -> &str {
        &self.name
    }
}

impl PartialEq for Zone {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Zone {}

impl std::hash::Hash for Zone {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

impl PartialOrd for Zone {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Zone {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(other.key())
    }
}

impl fmt::Display for Calendar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.unit.name())?;
        if self.zone() != "UTC" {
            write!(f, " in {}", self.zone())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Calendar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Calendar({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> u64 {
        u64::try_from(text.parse::<Timestamp>().unwrap().as_nanosecond()).unwrap()
    }

    #[test]
    fn calendar_ends_at_midnight_of_its_zone() {
        let ends = |unit, zone: &str, now| Calendar::utc(unit).in_zone(zone).unwrap().end(at(now));
        for (unit, zone, now, end) in [
            (CalendarUnit::Day, "UTC", "2026-11-21T23:59:59.999999999Z", "2026-11-22T00:00:00Z"),
            (CalendarUnit::Day, "UTC", "2026-11-22T00:00:00Z", "2026-11-23T00:00:00Z"),
            (CalendarUnit::Day, "Europe/Berlin", "2026-11-21T23:30:00Z", "2026-11-22T23:00:00Z"),
            // A day on which clocks are set back has 25 hours.
            (CalendarUnit::Day, "Europe/Berlin", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"),
            (CalendarUnit::Week, "UTC", "2026-11-22T12:00:00Z", "2026-11-23T00:00:00Z"),
            (CalendarUnit::Week, "UTC", "2026-11-23T00:00:00Z", "2026-11-30T00:00:00Z"),
            (CalendarUnit::Month, "UTC", "2026-12-31T23:00:00Z", "2027-01-01T00:00:00Z"),
            (CalendarUnit::Month, "america/new_york", "2026-03-01T04:59:59Z", "2026-03-01T05:00:00Z"),
            // In Samoa there was no 30 December 2011.
            (CalendarUnit::Day, "Pacific/Apia", "2011-12-30T09:00:00Z", "2011-12-30T10:00:00Z"),
            (CalendarUnit::Day, "Pacific/Apia", "2011-12-30T10:00:00Z", "2011-12-31T10:00:00Z"),
        ] {
            assert_eq!(ends(unit, zone, now), at(end), "{unit:?} in {zone} at {now}");
        }
    }

    #[test]
    #[cfg(feature = "redis")]
    fn calendar_bounds_meet_and_are_numbered() {
        for (unit, zone) in [
            (CalendarUnit::Day, "UTC"),
            (CalendarUnit::Day, "Europe/Berlin"),
            (CalendarUnit::Week, "America/New_York"),
            (CalendarUnit::Month, "Asia/Tokyo"),
        ] {
            let calendar = Calendar::utc(unit).in_zone(zone).unwrap();
            let mut bounds = calendar.bounds(at("2026-09-30T12:00:00Z"));
            for _ in 0..40 {
                let next = calendar.bounds(bounds.end);
                assert_eq!((next.start, next.ordinal), (bounds.end, bounds.ordinal + 1), "{calendar}");
                assert_eq!(calendar.bounds(bounds.end - 1), bounds, "{calendar}");
                bounds = next;
            }
        }
    }

    #[test]
    fn calendar_refuses_unknown_zones() {
        let day = Calendar::utc(CalendarUnit::Day);
        assert!(day.clone().in_zone("Mars/Olympus").unwrap_err().to_string().contains("Mars/Olympus"));
        assert_eq!(day.clone().in_zone("europe/berlin").unwrap(), day.in_zone("Europe/Berlin").unwrap());
    }

    #[test]
    fn calendar_end_of_time_does_not_panic() {
        assert!(Calendar::utc(CalendarUnit::Month).end(u64::MAX - 1) >= u64::MAX - 1);
    }
}
