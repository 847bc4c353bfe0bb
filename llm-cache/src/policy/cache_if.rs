//! Predicates of the application on responses: [`CacheBuilder::cache_if`](crate::CacheBuilder::cache_if).
//!
//! A predicate applies to all responses of its type, also to those of
//! [`Cache::get_or_call`](crate::Cache::get_or_call).

use std::{
    any::{Any, TypeId},
    collections::HashMap,
    sync::Arc,
};

use llm_core::layer::Accounting;

/// Predicates of the application, by types of responses.
#[derive(Clone, Default)]
pub(crate) struct CacheIf(HashMap<TypeId, Arc<Predicate>>);

type Predicate = dyn Fn(&dyn Any, &Accounting) -> bool + Send + Sync;

impl CacheIf {
    /// Adds the predicate for responses of type `C`.
    pub(crate) fn add<C: 'static>(&mut self, predicate: impl Fn(&C, &Accounting) -> bool + Send + Sync + 'static) {
        let predicate = move |response: &dyn Any, accounting: &Accounting| {
            let keyed = || response.downcast_ref::<Arc<C>>().map(Arc::as_ref);
            response.downcast_ref::<C>().or_else(keyed).is_none_or(|response| predicate(response, accounting))
        };
        let predicate: Arc<Predicate> = Arc::new(predicate);
        self.0.insert(TypeId::of::<C>(), Arc::clone(&predicate));
        self.0.insert(TypeId::of::<Arc<C>>(), predicate);
    }

    /// Returns `true` if the response may be stored and served.
    pub(crate) fn allows<C: 'static>(&self, response: &C, accounting: &Accounting) -> bool {
        self.0.get(&TypeId::of::<C>()).is_none_or(|predicate| predicate(response, accounting))
    }
}
