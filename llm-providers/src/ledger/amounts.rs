//! Format of amounts by cause in files: a JSON object whose keys are the causes' names, and whose values are whole
//! nano-dollars.

use std::collections::BTreeMap;

use llm_core::Usd;
use serde::{Deserialize, Deserializer, Serializer, de::Error};

/// Reads amounts by cause. `cause` finds a cause by its name, `add` receives each amount.
fn read<'de, D: Deserializer<'de>, C>(
    from: D,
    cause: impl Fn(&str) -> Option<C>,
    mut add: impl FnMut(C, Usd),
) -> Result<(), D::Error> {
    for (name, amount) in BTreeMap::<String, Usd>::deserialize(from)? {
        add(cause(&name).ok_or_else(|| D::Error::custom(format_args!("the cause {name:?} is unknown")))?, amount);
    }
    Ok(())
}

pub(super) mod saved {
    use llm_core::{Cause, Savings};

    use super::{Deserializer, Serializer, read};

    pub(crate) fn serialize<S: Serializer>(saved: &Savings, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(saved.iter().map(|(cause, amount)| (cause.name(), amount)))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Savings, D::Error> {
        let mut saved = Savings::default();
        let cause = |name: &str| Cause::ALL.into_iter().find(|cause| cause.name() == name);
        read(from, cause, |cause, amount| saved.add(cause, amount))?;
        Ok(saved)
    }
}

pub(super) mod wasted {
    use super::{Deserializer, Serializer, read};
    use crate::ledger::{Waste, WastedSpend};

    pub(crate) fn serialize<S: Serializer>(wasted: &WastedSpend, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(wasted.iter().map(|(cause, amount)| (cause.name(), amount)))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<WastedSpend, D::Error> {
        let mut wasted = WastedSpend::default();
        let cause = |name: &str| Waste::ALL.into_iter().find(|cause| cause.name() == name);
        read(from, cause, |cause, amount| wasted.add(cause, amount))?;
        Ok(wasted)
    }
}
