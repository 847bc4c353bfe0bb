use std::{
    any::{Any, TypeId},
    collections::HashMap,
    sync::Arc,
};

use crate::keyed::Value;

/// Predicates of the application, by types of responses.
#[derive(Clone, Default)]
pub(crate) struct CacheIf(HashMap<TypeId, Arc<Predicate>>);

type Predicate = dyn Fn(&dyn Any) -> bool + Send + Sync;

impl CacheIf {
    /// Stores responses of this type only if `predicate` is true for them.
    pub(crate) fn add<C: 'static>(&mut self, predicate: impl Fn(&C) -> bool + Send + Sync + 'static) {
        let predicate = move |answer: &dyn Any| {
            let keyed = || answer.downcast_ref::<Value<C>>().map(|value| &*value.0);
            answer.downcast_ref::<C>().or_else(keyed).is_none_or(&predicate)
        };
        let predicate: Arc<Predicate> = Arc::new(predicate);
        self.0.insert(TypeId::of::<C>(), Arc::clone(&predicate));
        self.0.insert(TypeId::of::<Value<C>>(), predicate);
    }

    pub(crate) fn allows<C: 'static>(&self, answer: &C) -> bool {
        self.0.get(&TypeId::of::<C>()).is_none_or(|predicate| predicate(answer))
    }
}
