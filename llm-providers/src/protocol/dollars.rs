use llm_core::Usd;
use serde_json::Value;

/// Largest plausible cost of a response, in 10⁻¹² dollars: a million dollars.
const MOST: u128 = 1_000_000_000_000_000_000;

/// Reads an amount of dollars that a vendor states as a JSON number, rounded up to the next nano-dollar. Returns `None`
/// if the value is not a number, is negative, or is larger than any response can cost.
///
/// Digits below 10⁻¹² dollars are rounded off first, because they come from the conversion of a binary fraction.
pub(crate) fn dollars(value: &Value) -> Option<Usd> {
    let text = value.as_number()?.to_string();
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((&text, "0"));
    let (whole, decimals) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    // A negative amount fails to parse here, because an unsigned number has no sign.
    let digits: u128 = format!("{whole}{decimals}").parse().ok()?;
    let exponent = exponent.parse::<i32>().ok()?.checked_sub(i32::try_from(decimals.len()).ok()?)?.checked_add(12)?;
    let power = |exponent: u32| 10u128.checked_pow(exponent);
    let amount = match u32::try_from(exponent) {
        Ok(exponent) if digits > 0 => digits.checked_mul(power(exponent)?)?,
        Ok(_) => 0,
        Err(_) => power(exponent.unsigned_abs()).map_or(0, |unit| (digits + unit / 2) / unit),
    };
    let nanos = i64::try_from(Some(amount).filter(|amount| *amount <= MOST)?.div_ceil(1_000)).ok()?;
    Some(Usd::from_nanos(nanos))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn dollars_reads_every_spelling_of_a_number() {
        for (value, nanos) in [
            (json!(0), 0),
            (json!(0.0), 0),
            (json!(2), 2_000_000_000),
            (json!(0.001), 1_000_000),
            (json!(8.6e-05), 86_000),
            (json!(1.4e-07), 140),
            (json!(0.0076509169000000005), 7_650_917),
            (json!(0.1 + 0.2), 300_000_000),
            (json!(1e-10), 1),
            (json!(1e-300), 0),
            (json!(1e6), 1_000_000_000_000_000),
        ] {
            assert_eq!(dollars(&value).map(Usd::nanos), Some(nanos), "{value}");
        }
    }

    #[test]
    fn dollars_refuses_what_no_response_costs() {
        for value in [json!(-0.5), json!(-1), json!(1e7), json!(1e300), json!(u64::MAX), json!("0.5"), json!(null)] {
            assert_eq!(dollars(&value), None, "{value}");
        }
    }
}
