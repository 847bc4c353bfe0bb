use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};

use futures_core::Stream;
use futures_util::{FutureExt, StreamExt};
use llm_core::layer::{Broadcast, Reader};
use tokio_test::{assert_pending, assert_ready_eq, task};

use super::source::{Flag, Source, Step};

#[test]
fn broadcast_late_reader_gets_all_items() {
    let (source, _) = Source::new(&[Step::Item(1), Step::Item(2)]);
    let shared = Broadcast::new(source);
    let first: Vec<u32> = shared.subscribe().unwrap().collect().now_or_never().unwrap();
    assert_eq!(first, [1, 2]);
    assert!(shared.subscribe().is_none(), "all readers have left");

    let (source, _) = Source::new(&[Step::Item(1), Step::Item(2)]);
    let shared = Broadcast::new(source);
    let mut first = shared.subscribe().unwrap();
    while first.next().now_or_never().unwrap().is_some() {}
    let late: Vec<u32> = shared.subscribe().unwrap().collect().now_or_never().unwrap();
    assert_eq!(late, [1, 2]);
}

#[test]
fn broadcast_without_reader_is_not_polled() {
    let (source, knob) = Source::new(&[Step::Item(1)]);
    let shared = Broadcast::new(source);
    let reader = shared.subscribe().unwrap();
    assert_eq!(knob.polls(), 0);
    drop((reader, shared));
    assert_eq!(knob.polls(), 0);
}

#[test]
fn broadcast_source_is_dropped_with_last_reader() {
    let (source, knob) = Source::new(&[Step::Wait]);
    let shared = Broadcast::new(source);
    let (first, second) = (shared.subscribe().unwrap(), shared.subscribe().unwrap());
    drop(first);
    assert!(!knob.is_dropped());
    drop(second);
    assert!(knob.is_dropped());
}

#[test]
fn broadcast_last_reader_may_stay() {
    let (source, knob) = Source::new(&[Step::Item(1), Step::Wait]);
    let shared = Broadcast::new(source);
    let (first, second) = (shared.subscribe().unwrap(), shared.subscribe().unwrap());
    assert!(first.leave_unless_last().is_none());
    let mut last = second.leave_unless_last().expect("no other reader is left");
    assert_eq!(last.next().now_or_never(), Some(Some(1)));
    assert!(!knob.is_dropped());
    drop(last);
    assert!(knob.is_dropped());
}

#[test]
fn broadcast_end_is_repeated() {
    let (source, knob) = Source::new(&[]);
    let shared = Broadcast::new(source);
    let mut reader = task::spawn(shared.subscribe().unwrap());
    for _ in 0..3 {
        assert_ready_eq!(reader.poll_next(), None);
    }
    assert_eq!(knob.polls(), 1);
}

#[test]
fn broadcast_wakes_waker_of_last_poll() {
    let (source, knob) = Source::new(&[Step::Wait, Step::Item(1)]);
    let shared = Broadcast::new(source);
    let mut reader = shared.subscribe().unwrap();
    let flags: [Arc<Flag>; 3] = Default::default();
    for flag in &flags {
        let waker = Waker::from(Arc::clone(flag));
        assert_pending!(Pin::new(&mut reader).poll_next(&mut Context::from_waker(&waker)));
    }
    knob.wake();
    assert_eq!(flags.map(|flag| flag.take()), [false, false, true]);
}

#[test]
fn broadcast_polls_source_once_per_wake() {
    let (source, knob) = Source::new(&[Step::Wait, Step::Item(1)]);
    let shared = Broadcast::new(source);
    let mut readers: Vec<_> = (0..5).map(|_| task::spawn(shared.subscribe().unwrap())).collect();
    let poll_all = |readers: &mut [task::Spawn<Reader<Source>>]| {
        readers.iter_mut().for_each(|reader| assert_pending!(reader.poll_next()));
    };
    poll_all(&mut readers);
    for vain in 1..=4 {
        knob.wake_in_vain();
        poll_all(&mut readers);
        assert_eq!(knob.polls(), 1 + vain);
    }
    knob.wake();
    for reader in &mut readers {
        assert_ready_eq!(reader.poll_next(), Some(1));
    }
    assert_eq!(knob.polls(), 1 + 4 + 1);
}

#[test]
fn broadcast_self_waking_source_yields() {
    let (source, knob) = Source::new(&[Step::WakeSelf, Step::WakeSelf, Step::Item(1)]);
    let shared = Broadcast::new(source);
    let mut reader = task::spawn(shared.subscribe().unwrap());
    for polls in 1..=2 {
        assert_pending!(reader.poll_next());
        assert!(reader.is_woken());
        assert_eq!(knob.polls(), polls);
    }
    assert_ready_eq!(reader.poll_next(), Some(1));
}

#[test]
fn broadcast_panic_ends_all_readers() {
    let (source, knob) = Source::new(&[Step::Item(1), Step::Wait, Step::Panic]);
    let shared = Broadcast::new(source);
    let mut readers: Vec<_> = (0..4).map(|_| task::spawn(shared.subscribe().unwrap())).collect();
    for reader in &mut readers {
        assert_ready_eq!(reader.poll_next(), Some(1));
        assert_pending!(reader.poll_next());
    }
    knob.wake();
    assert_ready_eq!(readers[0].poll_next(), None, "the panic is not that of the reader that polls");
    for reader in &mut readers[1..] {
        assert!(reader.is_woken(), "a reader of a stream that panicked is left to sleep");
        assert_ready_eq!(reader.poll_next(), None);
    }
    assert!(knob.is_dropped());
    let mut late = task::spawn(shared.subscribe().unwrap());
    assert_ready_eq!(late.poll_next(), Some(1));
    assert_ready_eq!(late.poll_next(), None);
}

#[test]
fn broadcast_woken_reader_dropped_wakes_another() {
    let (source, knob) = Source::new(&[Step::Wait, Step::Item(1)]);
    let shared = Broadcast::new(source);
    let mut readers: Vec<_> = (0..5).map(|_| task::spawn(shared.subscribe().unwrap())).collect();
    readers.iter_mut().for_each(|reader| assert_pending!(reader.poll_next()));
    knob.wake();
    while readers.len() > 1 {
        let woken = readers.iter().position(|reader| reader.is_woken()).expect("somebody is always woken to go on");
        drop(readers.remove(woken));
    }
    assert!(readers[0].is_woken());
    assert_ready_eq!(readers[0].poll_next(), Some(1));
}

/// Waker that owns a reader, so that dropping the waker drops the reader. A task can do this if its waker holds its
/// last handle.
struct Holds(#[expect(dead_code, reason = "it is only held")] Reader<Source>);

impl std::task::Wake for Holds {
    fn wake(self: Arc<Self>) {}
}

#[test]
fn broadcast_waker_dropping_reader_does_not_deadlock() {
    let (source, _) = Source::new(&[Step::Wait]);
    let shared = Broadcast::new(source);
    let mut reader = shared.subscribe().unwrap();
    for _ in 0..2 {
        let waker = Waker::from(Arc::new(Holds(shared.subscribe().unwrap())));
        assert_pending!(Pin::new(&mut reader).poll_next(&mut Context::from_waker(&waker)));
    }
    drop(reader);
}

/// Stream that uses the broadcast it belongs to when it is dropped.
struct LooksBack(Arc<std::sync::OnceLock<std::sync::Weak<Broadcast<Self>>>>, Arc<AtomicBool>);

impl Stream for LooksBack {
    type Item = ();
    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<()>> {
        Poll::Ready(None)
    }
}

impl Drop for LooksBack {
    fn drop(&mut self) {
        let shared = self.0.get().and_then(std::sync::Weak::upgrade);
        self.1.store(shared.is_some_and(|shared| format!("{shared:?}").contains("items: 0")), Ordering::SeqCst);
    }
}

#[test]
fn broadcast_source_reading_itself_does_not_deadlock() {
    for polled in [true, false] {
        let (back, looked) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let shared = Broadcast::new(LooksBack(Arc::clone(&back), Arc::clone(&looked)));
        back.set(Arc::downgrade(&shared)).expect("set once");
        let mut reader = shared.subscribe().unwrap();
        if polled {
            assert_eq!(reader.next().now_or_never(), Some(None));
        }
        drop(reader);
        assert!(looked.load(Ordering::SeqCst));
    }
}

/// A stream that asks at each poll if its own broadcast is polled here, or on another thread, and if another broadcast is.
struct Asks(Arc<std::sync::OnceLock<[std::sync::Weak<Broadcast<Self>>; 2]>>);

impl Stream for Asks {
    type Item = [bool; 3];
    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<[bool; 3]>> {
        let [own, other] =
            self.0.get().expect("set before the first poll").each_ref().map(|it| it.upgrade().expect("both are held"));
        let here = [own.is_polled_here(), other.is_polled_here()];
        let elsewhere = std::thread::scope(|scope| scope.spawn(|| own.is_polled_here()).join().expect("it only asks"));
        Poll::Ready(Some([here[0], elsewhere, here[1]]))
    }
}

#[test]
fn broadcast_is_polled_here_within_own_poll() {
    let known = Arc::default();
    let (own, other) = (Broadcast::new(Asks(Arc::clone(&known))), Broadcast::new(Asks(Arc::default())));
    known.set([Arc::downgrade(&own), Arc::downgrade(&other)]).expect("set once");
    assert_eq!(own.subscribe().unwrap().next().now_or_never(), Some(Some([true, false, false])));
    assert!(!own.is_polled_here());
}

#[test]
fn broadcast_closed_refuses_readers_and_bounds_items() {
    let (source, _) = Source::new(&(0..100).map(Step::Item).collect::<Vec<_>>());
    let shared = Broadcast::new(source);
    let (mut quick, mut slow, mut late) =
        (shared.subscribe().unwrap(), shared.subscribe().unwrap(), shared.subscribe().unwrap());
    let next = |reader: &mut Reader<Source>| reader.next().now_or_never().flatten();
    for n in 0..10 {
        assert_eq!(next(&mut quick), Some(n));
    }
    assert_eq!(next(&mut slow), Some(0));
    shared.close();
    assert!(shared.subscribe().is_none() && quick.resubscribe().is_none());
    for n in 10..100 {
        assert_eq!(next(&mut quick), Some(n));
        assert_eq!(shared.buffered(), 10);
        if n == 10 {
            assert_eq!(next(&mut slow), Some(1), "not further behind than that");
        }
    }
    assert_eq!(next(&mut quick), None);
    assert!(next(&mut slow).is_none() && slow.has_missed() && late.has_missed() && !quick.has_missed());
    assert_eq!(next(&mut late), None, "and not from somewhere in the middle");
    assert_eq!(late.last().now_or_never(), Some(Some(99)), "who wants the last item alone misses nothing");
}
