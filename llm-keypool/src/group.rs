use std::sync::Arc;

/// Limits of a group, which is an account, organisation or project whose keys share its limits.
///
/// It is not necessary to describe a group if the vendor states the limits in response headers, or if the pool should
/// learn them.
///
/// ```
/// use llm_keypool::{Group, requests_per_minute, tokens_per_minute};
///
/// // The account may make 2,000 requests a minute, and this pool uses four fifths of them.
/// let group = Group::new("acme")
///     .limit("gpt-4o", requests_per_minute(2_000))
///     .limit("gpt-4o", tokens_per_minute(450_000))
///     .share(80);
/// ```
#[derive(Clone, Debug)]
pub struct Group {
    pub(crate) name: Arc<str>,
    pub(crate) limits: Vec<(Arc<str>, GroupLimit)>,
    pub(crate) share: u8,
}

/// Limit of a group for a model, over a sliding minute. [`requests_per_minute`], [`tokens_per_minute`],
/// [`input_tokens_per_minute`] and [`output_tokens_per_minute`] create it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupLimit {
    pub(crate) unit: Unit,
    pub(crate) amount: u64,
}

/// Unit in which a vendor limits a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Requests,
    /// Sum of the input tokens and the largest number of output tokens that the request allows, counted when a request
    /// arrives.
    Tokens,
    InputTokens,
    OutputTokens,
}

/// Amounts that an attempt uses, indexed by [`Unit`].
pub(crate) type Amounts = [u64; 4];

impl Group {
    /// Creates a group without limits, with a share of 100 percent.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self { name: name.into(), limits: Vec::new(), share: 100 }
    }

    /// Adds a limit for a model, which is named as the vendor names it. A call must fit all limits of its model. A
    /// limit of 0 is an error of the build. To exclude a model, use [`Member::serves`](crate::Member::serves).
    #[must_use]
    pub fn limit(mut self, model: impl Into<Arc<str>>, limit: GroupLimit) -> Self {
        self.limits.push((model.into(), limit));
        self
    }

    /// Sets the share of every limit that the pool may use, in percent. The rest is for other processes. More than 100 counts as
    /// 100, and 0 is an error of the build.
    #[must_use]
    pub fn share(self, percent: u8) -> Self {
        Self { share: percent.min(100), ..self }
    }
}

/// Returns a limit of `amount` requests a minute.
///
/// ```
/// use llm_keypool::{Group, KeyPool, LeaseRequest, Member, requests_per_minute};
///
/// let limit = Group::new("acme").limit("gpt-4o", requests_per_minute(1));
/// let pool = KeyPool::builder().member(Member::new("a", "sk-a").group("acme")).group(limit).build()?;
/// let request = LeaseRequest::new("gpt-4o");
/// assert!(pool.try_lease(&request).is_ok() && pool.try_lease(&request).is_err());
/// # Ok::<_, llm_keypool::BuildError>(())
/// ```
pub fn requests_per_minute(amount: u64) -> GroupLimit {
    GroupLimit { unit: Unit::Requests, amount }
}

/// Returns a limit of tokens a minute, as OpenAI counts them: the input tokens plus the largest number of output tokens
/// that the request allows. They count when the request arrives, regardless of the length of the response.
///
/// ```
/// use llm_keypool::{Group, KeyPool, LeaseRequest, Member, tokens_per_minute};
///
/// let limit = Group::new("acme").limit("gpt-4o", tokens_per_minute(10_000));
/// let pool = KeyPool::builder().member(Member::new("a", "sk-a").group("acme")).group(limit).build()?;
/// assert!(pool.try_lease(&LeaseRequest::new("gpt-4o").tokens(4_000, 2_000)).is_ok());
/// assert!(pool.try_lease(&LeaseRequest::new("gpt-4o").tokens(4_000, 2_000)).is_err(), "4,000 of 10,000 are left");
/// # Ok::<_, llm_keypool::BuildError>(())
/// ```
pub fn tokens_per_minute(amount: u64) -> GroupLimit {
    GroupLimit { unit: Unit::Tokens, amount }
}

/// Returns a limit of input tokens a minute, without those that the vendor reads from its prompt cache, as Anthropic
/// counts them. Until the usage of an attempt is known, its whole input counts.
///
/// ```
/// use llm_keypool::{Group, input_tokens_per_minute, output_tokens_per_minute};
///
/// let group = Group::new("acme")
///     .limit("claude-haiku-4-5", input_tokens_per_minute(450_000))
///     .limit("claude-haiku-4-5", output_tokens_per_minute(90_000));
/// ```
pub fn input_tokens_per_minute(amount: u64) -> GroupLimit {
    GroupLimit { unit: Unit::InputTokens, amount }
}

/// Returns a limit of output tokens a minute, counted when a response has ended. Until then, an attempt reserves a
/// share of its largest output. The pool estimates this share from the group's recent responses for the model, and
/// begins with the whole.
pub fn output_tokens_per_minute(amount: u64) -> GroupLimit {
    GroupLimit { unit: Unit::OutputTokens, amount }
}
