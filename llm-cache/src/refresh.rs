//! Stored answers that are asked for again, while nobody waits: those past their time, and a share of the others.

use std::sync::Arc;

use llm_core::{
    Call, Error, Operation, Output, Priority,
    layer::{Complete, LlmService, NestedRetry, Purpose, Shared},
};

use crate::{
    Tag,
    background::{Denied, Place},
    failure::lost,
    flight::{Boarding, Pass},
    inner::{Inner, Stored},
    key::Keys,
    upstream::{Arrival, Errand, ask, storing},
};

/// Replaces an answer that is past its time.
pub(crate) fn refresh<T: Operation, S: LlmService<T>>(errand: &Errand<S>, keys: Keys, call: &Call<T>) {
    let Some(place) = place(errand, &keys, &call.body) else { return };
    let (call, errand) = (unattended(call, Purpose::Revalidation), errand.clone());
    start(&Arc::clone(&errand.cache), place, async move {
        let errand = errand.refreshing();
        let cache = Arc::clone(&errand.cache);
        let source = cache.begin(Tag::of(&call, &errand.directive));
        let joins = cache.joins(&source);
        let pass = Pass { priority: call.priority, source: &source, joins: &joins };
        let Boarding { mut seat, .. } = cache
            .flights
            .board(&keys.flight, &pass, |guard| Box::pin(ask(errand, keys.clone(), guard, source.clone(), call)));
        let arrival = seat.arrival().await.ok_or_else(lost)??;
        whole(arrival).await.map(drop)
    });
}

/// Asks for a fresh answer again, and tells whether the new one says the same. The new one is stored.
pub(crate) fn audit<T: Operation, S: LlmService<T>>(
    errand: &Errand<S>,
    keys: Keys,
    call: &Call<T>,
    stored: &Stored<Complete<T>>,
) {
    let Some(place) = place(errand, &keys, &call.body) else { return };
    let (call, errand, known) = (unattended(call, Purpose::Verification), errand.clone(), Arc::clone(&stored.answer));
    let age = stored.entry.age(errand.cache.now());
    start(&Arc::clone(&errand.cache), place, async move {
        let errand = Errand { made: |counts| &counts.audited, ..errand };
        let cache = Arc::clone(&errand.cache);
        let source = cache.begin(Tag::of(&call, &errand.directive));
        let store = storing::<T>(&cache, keys.answer, &call, &errand.directive, source);
        let (tenant, body) = (call.tenant.clone(), call.body.clone());
        let reply = errand.send(call).await?.on_end(store);
        let answer = match reply.output.share() {
            Shared::Whole(whole) => whole,
            Shared::Live(live) => live.wait().await?,
        };
        cache.audited::<T>(T::equivalent(&known, &answer), &body, tenant, age);
        Ok(())
    });
}

impl<S> Errand<S> {
    /// The context of the call that replaces an answer past its time.
    pub(crate) fn refreshing(self) -> Self {
        Self { directive: self.directive.renewing(), made: |counts| &counts.refreshed, ..self }
    }
}

/// A call like this one that nobody waits for: of the same tenant, in the background, selling nothing.
pub(crate) fn unattended<T: Clone>(call: &Call<T>, purpose: Purpose) -> Call<T> {
    let mut own = Call::new(call.tenant.clone(), call.body.clone()).with_units(0).with_priority(Priority::Background);
    own.labels = call.labels.clone();
    own.extensions = call.extensions.clone();
    // Whoever retries above the cache does not see this call.
    own.extensions.remove::<NestedRetry>();
    own.extensions.insert(purpose);
    own
}

/// A place for a call about one answer, unless it is being asked for already, its question may not be asked again, or
/// whoever asked wants no call made. A shared answer is one answer, whoever asks.
fn place<T: Operation, S>(errand: &Errand<S>, keys: &Keys, question: &T) -> Option<Place> {
    let Errand { cache, directive, .. } = errand;
    let background = cache.background.as_ref()?;
    if directive.only_if_cached || !question.is_repeatable() || cache.flights.is_running(&keys.flight) {
        return None;
    }
    claim(cache, background.place(vec![keys.answer.clone()]))
}

/// The place, if there is one; counts it if there is no room.
pub(crate) fn claim(cache: &Inner, place: Result<Place, Denied>) -> Option<Place> {
    if let Err(Denied::Full) = place {
        cache.counts.skipped.one();
    }
    place.ok()
}

/// Runs a call in its place.
pub(crate) fn start(cache: &Inner, place: Place, call: impl Future<Output = Result<(), Error>> + Send + 'static) {
    if let Some(background) = &cache.background {
        background.run(place, call);
    }
}

/// Waits for the whole answer.
async fn whole<C: 'static>(arrival: Arrival<C>) -> Result<Arc<C>, Error> {
    match arrival {
        Arrival::Stored(stored) => Ok(stored.answer),
        Arrival::Bought { answer: Shared::Whole(whole), .. } => Ok(whole),
        Arrival::Bought { answer: Shared::Live(live), .. } => live.wait().await,
    }
}
