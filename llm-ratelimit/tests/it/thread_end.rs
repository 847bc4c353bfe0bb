//! Decisions while a thread ends, such as those of a runtime that a thread-local variable holds.

use std::{cell::RefCell, sync::mpsc::Sender, thread};

use llm_ratelimit::{Demand, Limiter, Plans};

/// Decides when it is dropped.
struct DecidesOnDrop(Limiter, Sender<bool>);

impl Drop for DecidesOnDrop {
    fn drop(&mut self) {
        let is_granted = self.0.try_reserve(&Demand::new("a", "m")).is_ok();
        self.1.send(is_granted).expect("the test receives it");
    }
}

thread_local! {
    static LAST: RefCell<Option<DecidesOnDrop>> = const { RefCell::new(None) };
}

#[test]
fn thread_end_leaves_decisions_working() {
    let limiter = Limiter::builder(Plans::uniform(["10/minute"]).unwrap()).build().unwrap();
    let (decided, decisions) = std::sync::mpsc::channel();
    let of_thread = limiter.clone();
    let ended = thread::spawn(move || {
        LAST.set(Some(DecidesOnDrop(of_thread.clone(), decided)));
        // What a decision keeps for the thread is dropped before the variable above.
        assert!(of_thread.try_reserve(&Demand::new("a", "m")).is_ok());
    });
    ended.join().unwrap();
    assert_eq!(decisions.iter().collect::<Vec<_>>(), [true]);
    assert_eq!(limiter.stats().granted, 2);
}
