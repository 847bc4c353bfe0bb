use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use super::{
    StoreError,
    backend::{Backend, Changes, Name},
};
use crate::Balance;

/// Balances in memory. Their number is not bounded.
#[derive(Debug, Default)]
pub(super) struct Memory(Mutex<BTreeMap<Name, Balance>>);

impl Backend for Memory {
    fn read(&self, tenant: Option<&str>, each: &mut dyn FnMut(Balance)) -> Result<(), StoreError> {
        let of_tenant = |name: &Name| tenant.is_none_or(|tenant| name.tenant == tenant);
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found: Vec<Balance> =
            known.iter().filter(|(name, _)| of_tenant(name)).map(|(_, balance)| balance.clone()).collect();
        drop(known);
        found.into_iter().for_each(each);
        Ok(())
    }

    fn write(&self, changes: &Changes) -> Result<(), StoreError> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, balance) in changes.iter() {
            match balance {
                Some(balance) => drop(known.insert(name.clone(), balance.clone())),
                None => drop(known.remove(name)),
            }
        }
        Ok(())
    }
}
