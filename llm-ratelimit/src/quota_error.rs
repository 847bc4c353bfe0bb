/// Error of parsing or creating a quota.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QuotaError {
    /// The text is not a quota.
    #[error(
        "{0:?} is no quota: write it like 10/minute, 100k tokens/minute, 5 proposals/month, $3/day or 20 concurrent"
    )]
    Form(String),
    /// The word for the unit implies a period, and another period was written.
    #[error(
        "{text:?} has two periods, for its unit means a rate per {period}: leave the other out, or write the unit in full"
    )]
    Rate {
        /// The quota's text.
        text: String,
        /// Period that the unit implies.
        period: &'static str,
    },
    /// The amount is not a number.
    #[error(
        "{0:?} is no amount: write a whole number, with k, m or b for thousands, millions or billions, or dollars like $2.50"
    )]
    Amount(String),
    /// The period is unknown.
    #[error("{0:?} is no period: write second, minute, hour, day, week, month, or a number with ms, s, min or h")]
    Unit(String),
    /// The amount is zero, which would refuse every call.
    #[error("a limit of zero refuses every call: set a larger one, or shed the calls that must not be sent")]
    Zero,
    /// The amount is negative.
    #[error("a limit cannot be negative")]
    Negative,
    /// The period is zero or longer than a year.
    #[error("a period must be longer than zero and at most 366 days")]
    Period,
    /// A burst is written for a quota that is not a bucket.
    #[error("only a rate has a burst: calendar months and concurrent calls have none")]
    Burst,
    /// The time zone does not exist.
    #[error("{0:?} is no time zone: use a name of the IANA database, such as Europe/Berlin")]
    Zone(String),
    /// A time zone is written for a quota that is not a calendar window.
    #[error("only calendar days, weeks and months have a time zone")]
    Zoned,
    /// The word is not a dimension.
    #[error("calls cannot be counted separately by {0:?}: write tenant, plan, model, provider or label and its name")]
    Dimension(String),
    /// A label has no value.
    #[error("a limit for a label needs its value: write for label {0}=value")]
    Label(String),
    /// Text follows after the end of the quota.
    #[error("{0:?} says something twice, or has nothing after a word that needs a value")]
    Odd(String),
}
