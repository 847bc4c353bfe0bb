use std::{convert::Infallible, fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Service class of a vendor, which decides the price.
///
/// It is read from the vendor's word, in upper or lower case:
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
/// `batch`; Gemini `standard`, `flex` or `priority`. Gemini and OpenAI do not say `batch` in the results of a batch, so
/// the code that reads these must set the class.
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
    /// The standard class, which is the vendor's default.
    #[default]
    Standard,
    /// Responses arrive within a day or so.
    Batch,
    /// Responses arrive when the vendor has capacity.
    Flex,
    /// Responses arrive before the responses of other classes.
    Priority,
    /// Another class, by the vendor's word in lower case.
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
    /// Service class.
    pub tier: ServiceTier,
    /// Options that the vendor charges a factor for, by the vendor's words (`us`, `fast`), each at most once.
    pub surcharges: Vec<Arc<str>>,
    /// Factor on all prices, in thousandths, such as that of a contract; 1,000 by default. If there are two factors,
    /// multiply them.
    pub per_mille: u32,
    /// Provider that serves the request, by the name that receipts state (`openai`, `azure`); `None` if it is not
    /// known.
    pub provider: Option<Arc<str>>,
}

impl ServiceTier {
    /// Returns the service class for a vendor's word, by the [table](Self) above.
    pub fn named(word: &str) -> Self {
        match word.to_ascii_lowercase().as_str() {
            "" | "standard" | "default" | "auto" | "standard_only" | "on_demand" => Self::Standard,
            "batch" => Self::Batch,
            "flex" => Self::Flex,
            "priority" => Self::Priority,
            other => Self::Other(other.into()),
        }
    }

    /// Returns the name of the class in price tables.
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
    /// Creates options for the standard service class at list price.
    pub fn new() -> Self {
        Self { tier: ServiceTier::Standard, surcharges: Vec::new(), per_mille: 1_000, provider: None }
    }

    /// Sets the service class.
    pub fn tier(mut self, tier: ServiceTier) -> Self {
        self.tier = tier;
        self
    }

    /// Adds an option that the vendor charges a factor for, by its name in
    /// [`ModelPrice::surcharges`](super::ModelPrice).
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

    /// Sets the provider that serves the request. Only prices that are listed for this provider or for any provider
    /// then apply.
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
