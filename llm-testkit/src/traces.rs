//! Recording of the `tracing` spans and events of code under test.

use std::{
    cell::RefCell,
    fmt,
    marker::PhantomData,
    sync::{
        Once,
        atomic::{AtomicU64, Ordering},
    },
};

use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span,
    subscriber::Interest,
};

/// Recording of the spans and events that the current thread emits, until it is dropped.
///
/// Tests of one program run in parallel, and `tracing` caches for the whole process if a callsite is of interest. A
/// subscriber that is set for one thread would therefore miss callsites that another thread reaches first. All
/// recordings share one subscriber, which is set for the process. A program that sets its own global subscriber cannot
/// use recordings.
///
/// A runtime of the flavor `current_thread` keeps all tasks on the recording thread.
///
/// ```
/// use llm_testkit::Traces;
///
/// let traces = Traces::record();
/// tracing::info!(attempt = 2, reason = "slow", "sent again");
/// assert_eq!(traces.take_fields(), ["message=sent again", "attempt=2", "reason=slow"]);
/// assert!(traces.take().is_empty());
/// ```
#[derive(Debug)]
pub struct Traces(PhantomData<*const ()>);

/// Span or event that was recorded.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Trace {
    /// Name of the span, or for an event the name that `tracing` generates. It is empty for values that were recorded
    /// on a span after [`take`](Traces::take) had returned the span.
    pub name: &'static str,
    /// Fields with their values as text, strings without quotes. Values that are recorded on a span later come last.
    pub fields: Vec<(&'static str, String)>,
    /// Id of the span; `None` for an event.
    span: Option<u64>,
}

thread_local! {
    static RECORDED: RefCell<Option<Vec<Trace>>> = const { RefCell::new(None) };
}

impl Traces {
    /// Starts recording on this thread.
    ///
    /// # Panics
    ///
    /// If this thread records already, or the process has another global subscriber.
    pub fn record() -> Self {
        static INSTALLED: Once = Once::new();
        INSTALLED.call_once(|| {
            tracing::subscriber::set_global_default(Recorder).expect("the process has no other global subscriber");
        });
        // A callsite that was first reached while the subscriber was being set may have cached that it is of no
        // interest.
        tracing::callsite::rebuild_interest_cache();
        let before = RECORDED.replace(Some(Vec::new()));
        assert!(before.is_none(), "this thread records already");
        Self(PhantomData)
    }

    /// Returns the spans and events that were recorded since this method was last called, in the order in which they
    /// began.
    pub fn take(&self) -> Vec<Trace> {
        RECORDED.with_borrow_mut(|recorded| recorded.replace(Vec::new())).unwrap_or_default()
    }

    /// Returns the fields of [`take`](Self::take), each as `name=value`.
    pub fn take_fields(&self) -> Vec<String> {
        let fields = self.take().into_iter().flat_map(|trace| trace.fields);
        fields.map(|(name, value)| format!("{name}={value}")).collect()
    }
}

impl Drop for Traces {
    fn drop(&mut self) {
        RECORDED.set(None);
    }
}

/// Subscriber of the process. It is interested in the spans and events of recording threads.
struct Recorder;

impl Recorder {
    fn add(name: &'static str, span: Option<u64>, record: impl FnOnce(&mut Fields)) {
        // Formatting a value may emit spans or events itself, so nothing is borrowed meanwhile.
        let mut fields = Fields(Vec::new());
        record(&mut fields);
        RECORDED.with_borrow_mut(|recorded| {
            if let Some(recorded) = recorded {
                recorded.push(Trace { name, fields: fields.0, span });
            }
        });
    }
}

impl Subscriber for Recorder {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::sometimes()
    }

    fn enabled(&self, _: &Metadata<'_>) -> bool {
        RECORDED.with_borrow(Option::is_some)
    }

    fn new_span(&self, span: &span::Attributes<'_>) -> span::Id {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let id = LAST.fetch_add(1, Ordering::Relaxed) + 1;
        Self::add(span.metadata().name(), Some(id), |fields| span.record(fields));
        span::Id::from_u64(id)
    }

    fn record(&self, span: &span::Id, values: &span::Record<'_>) {
        let mut fields = Fields(Vec::new());
        values.record(&mut fields);
        RECORDED.with_borrow_mut(|recorded| {
            let spans = recorded.iter_mut().flatten();
            if let Some(trace) = spans.rev().find(|trace| trace.span == Some(span.into_u64())) {
                trace.fields.append(&mut fields.0);
            } else if let Some(recorded) = recorded {
                // The span itself was returned by an earlier `take`.
                recorded.push(Trace { name: "", fields: fields.0, span: Some(span.into_u64()) });
            }
        });
    }

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        Self::add(event.metadata().name(), None, |fields| event.record(fields));
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

struct Fields(Vec<(&'static str, String)>);

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.push((field.name(), value.to_owned()));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.push((field.name(), format!("{value:?}")));
    }
}
