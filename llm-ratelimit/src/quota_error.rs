/// A quota that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QuotaError {
    /// The text is no quota.
    #[error(
        "{0:?} is no quota: write it like 10/minute, 100k tokens/minute, 5 proposals/month, $3/day or 20 concurrent"
    )]
    Form(String),
    /// The unit's word states a period, and another one was written.
    #[error(
        "{text:?} has two periods, for its unit means a rate per {period}: leave the other out, or write the unit in full"
    )]
    Rate {
        /// The quota's text.
        text: String,
        /// Period of the quota.
        period: &'static str,
    },
    /// The amount is no number.
    #[error(
        "{0:?} is no amount: write a whole number, with k, m or b for thousands, millions or billions, or dollars like $2.50"
    )]
    Amount(String),
    /// The period is unknown.
    #[error("{0:?} is no period: write second, minute, hour, day, week, month, or a number with ms, s, min or h")]
    Unit(String),
    /// Zero lets nothing through.
    #[error("a limit of zero lets nothing through: set a larger one, or shed what must not pass")]
    Zero,
    /// Less than zero.
    #[error("a limit cannot be negative")]
    Negative,
    /// A period of nothing, or of more than a year.
    #[error("a period must be longer than nothing and at most 366 days")]
    Period,
    /// A burst where the limit has none.
    #[error("only a rate has a burst: calendar months and concurrent calls have none")]
    Burst,
    /// No such time zone.
    #[error("{0:?} is no time zone: use a name of the IANA database, such as Europe/Berlin")]
    Zone(String),
    /// A time zone where the limit has none.
    #[error("only calendar days, weeks and months have a time zone")]
    Zoned,
    /// Calls are not counted apart by that.
    #[error("calls cannot be counted separately by {0:?}: write tenant, plan, model, provider or label and its name")]
    Dimension(String),
    /// A label without its value.
    #[error("a limit for a label needs its value: write for label {0}=value")]
    Label(String),
    /// More was said than a quota has.
    #[error("{0:?} says something twice, or nothing after a word that needs it")]
    Odd(String),
}
