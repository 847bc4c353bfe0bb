//! Prices of simulated vendors.

use llm_core::BoxError;
use llm_providers::prices;
use llm_testkit::VendorBuilder;

/// Bills these models at the list prices of their first tier, by the vendor's own arithmetic.
///
/// # Errors
///
/// A model has no price.
pub fn priced(mut vendor: VendorBuilder, models: &[&str]) -> Result<VendorBuilder, BoxError> {
    let prices = prices::all();
    for model in models {
        let price = prices.model(model).and_then(|model| model.at(1));
        let price = price.ok_or_else(|| format!("no price of {model} is known"))?;
        let cached = price.cache_read.unwrap_or(price.input);
        vendor = vendor.price(*model, price.input.nanos(), cached.nanos(), price.output.nanos());
    }
    Ok(vendor)
}
