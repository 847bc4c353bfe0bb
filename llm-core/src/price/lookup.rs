//! Look-up of a model's prices in a table.

use std::sync::Arc;

use super::{ModelPrice, PriceTable, ServiceTier, UnknownCost, table::Listed};

/// Name of a model, and of its provider if it is known.
#[derive(Clone, Copy)]
pub(super) struct Name<'n> {
    pub(super) provider: Option<&'n str>,
    pub(super) model: &'n str,
}

type Found<'t> = Result<&'t ModelPrice, UnknownCost>;

impl PriceTable {
    /// Returns a model's prices, whichever provider lists it; `None` if no provider lists it, or several do at
    /// different prices.
    pub fn model(&self, name: &str) -> Option<&ModelPrice> {
        self.listed(Name { provider: None, model: name }).ok()
    }

    /// Returns the prices of a model at a provider, which are the prices listed for the model, or those of its
    /// [alias](Self::alias).
    ///
    /// # Errors
    ///
    /// [`UnknownCost::Model`] if the table lists no such prices; [`UnknownCost::Provider`] if several providers list
    /// different prices and `provider` is `None`.
    pub fn price(&self, provider: Option<&str>, model: &str) -> Result<&ModelPrice, UnknownCost> {
        self.resolve(Name { provider, model })
    }

    /// Returns the prices that the table lists for the model at this provider, or for the model at any provider.
    pub(super) fn listed(&self, name: Name<'_>) -> Found<'_> {
        let found = [Some(name.model), without_date(name.model)].into_iter().flatten();
        let mut found = found.filter_map(|model| Some((model, self.rows(model)?)));
        match found.find_map(|(model, listed)| choose(listed, name.provider, model).transpose()) {
            // A model that is listed without prices has an unknown price, so no other rule may price it.
            Some(Ok(price)) if price.rows.is_empty() => {
                Err(UnknownCost::Tier { model: name.model.into(), tier: ServiceTier::Standard })
            }
            Some(found) => found,
            None => Err(self.missing(name)),
        }
    }

    /// Returns the listed prices of a model, or the prices of the provider or model that an alias names.
    pub(super) fn resolve(&self, name: Name<'_>) -> Found<'_> {
        self.listed(name).or_else(|cause| {
            let same = name.provider.and_then(|provider| self.provider_alias_of(provider));
            let at_same = |model| self.listed(Name { provider: Some(same?), model }).ok();
            if let Some(price) = at_same(name.model) {
                return Ok(price);
            }
            let alias = self.alias_of(name.model).or_else(|| self.alias_of(without_date(name.model)?));
            let Some(model) = alias else { return Err(cause) };
            let own = self.listed(Name { model, ..name }).ok().or_else(|| at_same(model));
            own.map_or_else(|| self.listed(Name { provider: None, model }), Ok)
        })
    }

    fn missing(&self, name: Name<'_>) -> UnknownCost {
        let short = name.model.rsplit('/').next().unwrap_or(name.model);
        let similar = [short, without_date(short).unwrap_or(short)];
        let priced = |model: &&str| self.rows(model).is_some_and(|listed| listed.iter().any(Listed::is_priced));
        UnknownCost::Model {
            model: name.model.into(),
            provider: name.provider.map(Arc::from),
            similar: similar.into_iter().find(priced).map(Arc::from),
        }
    }
}

/// Returns those of the prices listed under one name that apply at the provider.
fn choose<'t>(
    listed: &'t [Listed],
    provider: Option<&str>,
    model: &str,
) -> Result<Option<&'t ModelPrice>, UnknownCost> {
    if let Some(provider) = provider {
        let of = |name: Option<&str>| listed.iter().find(|each| each.provider.as_deref() == name);
        return Ok(of(Some(provider)).or_else(|| of(None)).map(|each| &each.price));
    }
    match listed.split_first() {
        Some((first, others)) if others.iter().any(|other| other.price != first.price) => {
            Err(UnknownCost::Provider { model: model.into() })
        }
        first => Ok(first.map(|(first, _)| &first.price)),
    }
}

/// Removes a trailing date: `gpt-4o-2024-08-06` → `gpt-4o`, `claude-opus-5-20260301` → `claude-opus-5`.
fn without_date(name: &str) -> Option<&str> {
    ["-dddd-dd-dd", "-dddddddd"].into_iter().find_map(|form| {
        let (base, date) = name.split_at_checked(name.len().checked_sub(form.len())?)?;
        let is_date = date.bytes().zip(form.bytes()).all(|(b, form)| match form {
            b'd' => b.is_ascii_digit(),
            dash => b == dash,
        });
        (is_date && !base.is_empty()).then_some(base)
    })
}
