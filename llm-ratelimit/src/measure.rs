use std::{fmt, sync::Arc};

/// What a quota counts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Measure {
    /// Calls.
    Requests,
    /// Input tokens, cached ones included.
    Input,
    /// Output tokens, reasoning included.
    Output,
    /// Input and output tokens.
    Tokens,
    /// Money, in nano-dollars.
    Money,
    /// What the application sells: proposals, photos, test cases. In lower case, without a plural's `s`.
    Units(Arc<str>),
}

impl Measure {
    /// The unit of this name; `"Proposals"` and `"proposal"` are one.
    pub fn units(name: &str) -> Self {
        Self::Units(singular(name).into())
    }

    /// The measure in one word, for tables, metrics and headers.
    pub fn name(&self) -> &str {
        match self {
            Self::Requests => "requests",
            Self::Input => "input tokens",
            Self::Output => "output tokens",
            Self::Tokens => "tokens",
            Self::Money => "money",
            Self::Units(unit) => unit,
        }
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

fn singular(name: &str) -> String {
    let name = name.trim().to_lowercase();
    match name.strip_suffix('s') {
        Some(one) if !one.is_empty() && !one.ends_with('s') => one.to_owned(),
        _ => name,
    }
}
