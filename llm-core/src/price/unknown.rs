use std::sync::Arc;

use super::{ServiceTier, TokenKind};

/// Reason why a cost is unknown. The message of this error names the cause and, if there is one, the remedy.
///
/// ```
/// use llm_core::{Usage, price::{PriceTable, UnknownCost}};
///
/// let cost = PriceTable::new("2026-12-01").cost("m", &Usage::new(1_000, 100));
/// assert!(matches!(cost, Err(UnknownCost::Model { .. })));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
#[non_exhaustive]
pub enum UnknownCost {
    /// The price table lists no price of the model at this provider.
    #[error(
        "the price table lists no price of the model {model:?}{}: add one, or name the listed model that costs the \
         same, with .alias({model:?}, {})",
        at(provider.as_deref()),
        similar.as_deref().map_or_else(|| "\"…\"".to_owned(), |name| format!("{name:?}"))
    )]
    Model {
        /// Name of the model.
        model: Arc<str>,
        /// Name of the provider, if it is known.
        provider: Option<Arc<str>>,
        /// Listed model, of any provider, whose name is similar and which may be meant.
        similar: Option<Arc<str>>,
    },
    /// Several providers list the model at different prices, and the provider that serves it is not known.
    #[error("several providers list a price of the model {model:?}: say which of them serves it")]
    Provider {
        /// Name of the model.
        model: Arc<str>,
    },
    /// The model has no listed price for the service class.
    #[error("the price table lists no price of the model {model:?} for the service class \"{tier}\": add it")]
    Tier {
        /// Name of the model.
        model: Arc<str>,
        /// Service class that the vendor named or the request asked for.
        tier: ServiceTier,
    },
    /// The model has no listed price for prompts of this length at the service class.
    #[error(
        "the price table lists no price of the model {model:?} for prompts this long at the service class \"{tier}\": \
         add it"
    )]
    PromptLength {
        /// Name of the model.
        model: Arc<str>,
        /// Service class.
        tier: ServiceTier,
    },
    /// The model has no listed factor for an option that the vendor charges for.
    #[error("the price table lists no surcharge {way:?} of the model {model:?}: add it")]
    Surcharge {
        /// Name of the model.
        model: Arc<str>,
        /// Option, by the vendor's word.
        way: Arc<str>,
    },
    /// The usage contains a kind of tokens without a listed price.
    #[error("the price table lists no price of the model {model:?} for {kind}: add it")]
    Kind {
        /// Name of the model.
        model: Arc<str>,
        /// First kind of tokens in the usage that has no price.
        kind: TokenKind,
    },
    /// The vendor stated a usage larger than any response can have.
    #[error("the vendor stated a usage that no response can have taken: {stated}")]
    UnusableUsage {
        /// Count that the vendor stated and that cannot be used.
        stated: Arc<str>,
    },
    /// The vendor did not state a usage.
    #[error("the vendor did not state what the response used")]
    NoUsage,
    /// No layer of the stack prices attempts.
    #[error("no layer prices attempts at the vendor: put the ledger's `attempts` layer right above the client")]
    NoAttemptsLayer,
    /// A stored response has no cost or list price, because it had none when it was stored.
    #[error("the response was stored without its cost or list price")]
    Stored,
}

fn at(provider: Option<&str>) -> String {
    provider.map(|name| format!(" at {name:?}")).unwrap_or_default()
}
