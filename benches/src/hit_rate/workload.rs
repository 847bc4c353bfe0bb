use std::time::Duration;

/// A series of questions, in the order of their times.
#[derive(Clone, Debug)]
pub struct Workload {
    /// What it is, and what makes two of its questions equal.
    pub name: String,
    /// The questions.
    pub asked: Vec<Asked>,
}

/// One question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// When: since 1970, or since the series began.
    pub at: Duration,
    /// Tenant that asks. Its answers are its own.
    pub tenant: u8,
    /// What is asked: equal numbers are equal questions.
    pub question: u32,
}

impl Workload {
    /// A series, which is brought into the order of its times.
    pub fn new(name: impl Into<String>, mut asked: Vec<Asked>) -> Self {
        asked.sort_by_key(|asked| asked.at);
        Self { name: name.into(), asked }
    }

    /// How long it lasts.
    pub fn span(&self) -> Duration {
        match (self.asked.first(), self.asked.last()) {
            (Some(first), Some(last)) => last.at - first.at,
            _ => Duration::ZERO,
        }
    }

    /// How many different questions there are, tenants apart.
    pub fn distinct(&self) -> usize {
        let keys: std::collections::HashSet<_> = self.asked.iter().map(Asked::key).collect();
        keys.len()
    }
}

impl Asked {
    /// What an answer to it is stored under.
    pub fn key(&self) -> (u8, u32) {
        (self.tenant, self.question)
    }
}
