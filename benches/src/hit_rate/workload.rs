use std::time::Duration;

/// Series of questions, in the order of their times.
#[derive(Clone, Debug)]
pub struct Workload {
    /// Description of the series and of what makes two of its questions equal.
    pub name: String,
    /// Questions of the series.
    pub asked: Vec<Asked>,
}

/// One question of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Time of the question, since 1970 or since the series began.
    pub at: Duration,
    /// Tenant that asks. Tenants share no answers.
    pub tenant: u8,
    /// Number of the question. Equal numbers are equal questions.
    pub question: u32,
}

impl Workload {
    /// Creates a series, and sorts it by time.
    pub fn new(name: impl Into<String>, mut asked: Vec<Asked>) -> Self {
        asked.sort_by_key(|asked| asked.at);
        Self { name: name.into(), asked }
    }

    /// Returns the time from the first question to the last.
    pub fn span(&self) -> Duration {
        match (self.asked.first(), self.asked.last()) {
            (Some(first), Some(last)) => last.at - first.at,
            _ => Duration::ZERO,
        }
    }

    /// Returns the number of different questions. Questions of different tenants are different.
    pub fn distinct(&self) -> usize {
        let keys: std::collections::HashSet<_> = self.asked.iter().map(Asked::key).collect();
        keys.len()
    }
}

impl Asked {
    /// Returns the key that the answer to the question is stored under.
    pub fn key(&self) -> (u8, u32) {
        (self.tenant, self.question)
    }
}
