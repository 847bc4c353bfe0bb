use std::{
    any::{Any, TypeId},
    collections::HashMap,
    sync::Arc,
};

use crate::keyed::Value;

/// What the application says of answers, by their types.
#[derive(Clone, Default)]
pub(crate) struct Keep(HashMap<TypeId, Arc<Predicate>>);

type Predicate = dyn Fn(&dyn Any) -> bool + Send + Sync;

impl Keep {
    /// Keeps answers of this type only if `keep` says so.
    pub(crate) fn only_if<C: 'static>(&mut self, keep: impl Fn(&C) -> bool + Send + Sync + 'static) {
        let keep = move |answer: &dyn Any| {
            let keyed = || answer.downcast_ref::<Value<C>>().map(|value| &*value.0);
            answer.downcast_ref::<C>().or_else(keyed).is_none_or(&keep)
        };
        let keep: Arc<Predicate> = Arc::new(keep);
        self.0.insert(TypeId::of::<C>(), Arc::clone(&keep));
        self.0.insert(TypeId::of::<Value<C>>(), keep);
    }

    pub(crate) fn allows<C: 'static>(&self, answer: &C) -> bool {
        self.0.get(&TypeId::of::<C>()).is_none_or(|keep| keep(answer))
    }
}
