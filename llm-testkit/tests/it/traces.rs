//! Test that spans and events are recorded while other threads reach the same callsites.

use std::{sync::Barrier, thread};

use llm_testkit::Traces;

/// Emits events from many callsites. For each, one of several threads is the first to reach it.
macro_rules! callsites {
    ($($number:literal)*) => {
        [$(|| tracing::info!(number = $number, "reached")),*]
    };
}

const CALLSITES: [fn(); 24] = callsites!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23);

#[test]
fn traces_record_callsites_other_threads_reach_first() {
    let start = Barrier::new(4);
    let reach = |records: bool| {
        let traces = records.then(Traces::record);
        start.wait();
        CALLSITES.iter().for_each(|callsite| callsite());
        traces.map(|traces| traces.take().len())
    };
    thread::scope(|scope| {
        let threads = [true, false, true, false].map(|records| (records, scope.spawn(move || reach(records))));
        for (records, thread) in threads {
            assert_eq!(thread.join().unwrap(), records.then_some(CALLSITES.len()));
        }
    });
}

#[test]
fn traces_keep_late_fields_with_their_span() {
    let traces = Traces::record();
    let span = tracing::info_span!("call", model = "m", outcome = tracing::field::Empty);
    let other = tracing::info_span!("other", number = 7);
    span.record("outcome", "granted");
    drop((span, other));
    let recorded = traces.take();
    assert_eq!((recorded[0].name, recorded[1].name, recorded.len()), ("call", "other", 2));
    assert_eq!(recorded[0].fields, [("model", "m".to_owned()), ("outcome", "granted".to_owned())]);
    assert_eq!(recorded[1].fields, [("number", "7".to_owned())]);
}
