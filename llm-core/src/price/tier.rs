use std::{convert::Infallible, fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A vendor's service class, which decides the price.
///
/// Read from a vendor's own word for it, in any case:
///
/// | word | tier |
/// |---|---|
/// | `standard`, `default`, `auto`, `standard_only`, `on_demand`, none | [`Standard`](Self::Standard) |
/// | `batch` | [`Batch`](Self::Batch) |
/// | `flex` | [`Flex`](Self::Flex) |
/// | `priority` | [`Priority`](Self::Priority) |
/// | any other (`scale`, `ultrafast`, …) | [`Other`](Self::Other) |
///
/// OpenAI says `default`, `flex` or `priority`; Groq `on_demand` or `flex`; Anthropic `standard`, `priority` or
/// `batch`; Gemini `standard`, `flex` or `priority`. Gemini and OpenAI do not say `batch` in a batch's results, so that
/// the reader of those must.
///
/// ```
/// use llm_core::price::ServiceTier;
///
/// assert_eq!(ServiceTier::named("FLEX"), ServiceTier::Flex);
/// assert_eq!(ServiceTier::named("scale").name(), "scale");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ServiceTier {
    /// The vendor's default.
    #[default]
    Standard,
    /// Responses within a day or so.
    Batch,
    /// Responses when the vendor has room.
    Flex,
    /// Responses before those of other classes.
    Priority,
    /// A vendor's own class, by its name in lower case.
    Other(Arc<str>),
}

/// Circumstances of a request that change its price.
///
/// ```
/// use llm_core::price::{PriceOptions, ServiceTier};
///
/// let batch_in_one_region = PriceOptions::new().tier(ServiceTier::Batch).surcharge("us");
/// # assert_eq!(batch_in_one_region.surcharges.len(), 1);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PriceOptions {
    /// The service class.
    pub tier: ServiceTier,
    /// Ways of processing that the vendor charges a factor for, by its own words (`us`, `fast`); each once.
    pub surcharges: Vec<Arc<str>>,
    /// A factor on all prices, in thousandths, such as a contract's: 1,000 unless set. Of two factors, their product.
    pub per_mille: u32,
    /// The provider that serves the request, by the name on receipts (`openai`, `azure`); `None` if it is not known.
    pub provider: Option<Arc<str>>,
}

impl ServiceTier {
    /// Returns the tier that a vendor means by this word: see the [table](Self).
    pub fn named(word: &str) -> Self {
        match word.to_ascii_lowercase().as_str() {
            "" | "standard" | "default" | "auto" | "standard_only" | "on_demand" => Self::Standard,
            "batch" => Self::Batch,
            "flex" => Self::Flex,
            "priority" => Self::Priority,
            other => Self::Other(other.into()),
        }
    }

    /// Returns the tier's name, as price tables have it.
    pub fn name(&self) -> &str {
        match self {
            Self::Standard => "standard",
            Self::Batch => "batch",
            Self::Flex => "flex",
            Self::Priority => "priority",
            Self::Other(name) => name,
        }
    }
}

impl PriceOptions {
    /// Creates options of standard service at list price.
    pub fn new() -> Self {
        Self { tier: ServiceTier::Standard, surcharges: Vec::new(), per_mille: 1_000, provider: None }
    }

    /// Sets the service class.
    pub fn tier(mut self, tier: ServiceTier) -> Self {
        self.tier = tier;
        self
    }

    /// Adds a way of processing that the vendor charges a factor for, as [`ModelPrice::surcharges`](super::ModelPrice)
    /// names it.
    pub fn surcharge(mut self, way: impl Into<Arc<str>>) -> Self {
        let way = way.into();
        if !self.surcharges.contains(&way) {
            self.surcharges.push(way);
        }
        self
    }

    /// Sets the factor on all prices, in thousandths.
    pub fn per_mille(mut self, factor: u32) -> Self {
        self.per_mille = factor;
        self
    }

    /// Sets the provider that serves the request: only its own prices, and those listed for any provider, apply.
    pub fn provider(mut self, name: impl Into<Arc<str>>) -> Self {
        self.provider = Some(name.into());
        self
    }
}

impl Default for PriceOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl From<ServiceTier> for PriceOptions {
    fn from(tier: ServiceTier) -> Self {
        Self::new().tier(tier)
    }
}

impl From<&str> for ServiceTier {
    fn from(word: &str) -> Self {
        Self::named(word)
    }
}

impl FromStr for ServiceTier {
    type Err = Infallible;

    fn from_str(word: &str) -> Result<Self, Infallible> {
        Ok(Self::named(word))
    }
}

impl fmt::Display for ServiceTier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Serialize for ServiceTier {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for ServiceTier {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|word| Self::named(&word))
    }
}
