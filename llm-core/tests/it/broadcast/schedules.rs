//! Tests of every order, up to a depth, in which readers can be polled, dropped, held and added while the source wakes
//! them.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use futures_core::Stream;
use llm_core::layer::{Broadcast, Reader};
use proptest::{collection::vec, prelude::*};

use super::source::{Flag, Knob, Source, Step};

const READERS: usize = 3;

/// Reader under test, in a task that an executor would run.
struct Task {
    reader: Option<Reader<Source>>,
    woken: Arc<Flag>,
    seen: Vec<u32>,
    ended: bool,
    held: bool,
}

#[derive(Clone, Copy, Debug)]
enum Action {
    Poll(usize),
    Drop(usize),
    /// Keeps the task from now on without polling it.
    Hold(usize),
    Join,
    Wake,
    WakeInVain,
}

struct World {
    shared: Arc<Broadcast<Source>>,
    knob: Knob,
    tasks: Vec<Task>,
    drops: usize,
    vain: usize,
}

impl World {
    fn new(script: &[Step]) -> Self {
        let (source, knob) = Source::new(script);
        let shared = Broadcast::new(source);
        let tasks = (0..READERS).map(|_| Task::new(shared.subscribe().expect("nobody has left"))).collect();
        Self { shared, knob, tasks, drops: 0, vain: 0 }
    }

    fn enabled(&self) -> Vec<Action> {
        let mut actions = Vec::new();
        let held = self.tasks.iter().any(|task| task.held);
        for (at, task) in self.tasks.iter().enumerate().filter(|(_, task)| task.reader.is_some()) {
            if task.is_runnable() {
                actions.push(Action::Poll(at));
            }
            if self.drops < 2 {
                actions.push(Action::Drop(at));
            }
            if !held && !task.ended {
                actions.push(Action::Hold(at));
            }
        }
        if self.tasks.len() == READERS {
            actions.push(Action::Join);
        }
        if self.knob.is_waiting() && !self.knob.is_dropped() {
            actions.push(Action::Wake);
            if self.vain == 0 {
                actions.push(Action::WakeInVain);
            }
        }
        actions
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Poll(at) => self.tasks[at].poll(),
            Action::Hold(at) => self.tasks[at].held = true,
            Action::Wake => self.knob.wake(),
            Action::Drop(at) => {
                self.drops += 1;
                self.tasks[at].reader = None;
            }
            Action::WakeInVain => {
                self.vain += 1;
                self.knob.wake_in_vain();
            }
            Action::Join => {
                if let Some(reader) = self.shared.subscribe() {
                    self.tasks.push(Task::new(reader));
                }
            }
        }
    }

    /// Runs all tasks that can run. Afterwards, all remaining readers except the held one must have received every
    /// item.
    fn finish(mut self, items: &[u32]) -> Result<(), String> {
        for _ in 0..200 {
            if let Some(task) = self.tasks.iter_mut().find(|task| task.is_runnable()) {
                task.poll();
            } else if self.knob.is_waiting() && !self.knob.is_dropped() {
                self.knob.wake();
            } else {
                break;
            }
        }
        for (at, task) in self.tasks.iter().enumerate().filter(|(_, task)| task.reader.is_some() && !task.held) {
            if !task.ended {
                return Err(format!("reader {at} hangs after {:?}", task.seen));
            }
            if task.seen != items {
                return Err(format!("reader {at} has seen {:?}", task.seen));
            }
        }
        self.tasks.clear();
        if self.knob.is_dropped() { Ok(()) } else { Err("the source outlives its readers".to_owned()) }
    }
}

impl Task {
    fn new(reader: Reader<Source>) -> Self {
        let task = Self { reader: Some(reader), woken: Arc::default(), seen: Vec::new(), ended: false, held: false };
        Waker::from(Arc::clone(&task.woken)).wake();
        task
    }

    fn is_runnable(&self) -> bool {
        self.reader.is_some() && !self.held && !self.ended && self.woken.is_set()
    }

    fn poll(&mut self) {
        self.woken.take();
        let waker = Waker::from(Arc::clone(&self.woken));
        let reader = self.reader.as_mut().expect("only living readers are polled");
        match Pin::new(reader).poll_next(&mut Context::from_waker(&waker)) {
            Poll::Ready(Some(item)) => {
                self.seen.push(item);
                // A task that received an item continues without another wake-up.
                waker.wake();
            }
            Poll::Ready(None) => self.ended = true,
            Poll::Pending => {}
        }
    }
}

fn items(script: &[Step]) -> Vec<u32> {
    script.iter().filter_map(|step| if let Step::Item(item) = step { Some(*item) } else { None }).collect()
}

/// Runs the schedule that these choices select; where no choice is given, the first option is taken. Returns the number
/// of options at each step.
fn run(script: &[Step], choices: &[usize], depth: usize) -> Vec<usize> {
    let mut world = World::new(script);
    let (mut widths, mut trace) = (Vec::new(), Vec::new());
    for step in 0..depth {
        let enabled = world.enabled();
        if enabled.is_empty() {
            break;
        }
        let action = enabled[choices.get(step).copied().unwrap_or(0) % enabled.len()];
        widths.push(enabled.len());
        trace.push(action);
        world.act(action);
    }
    if let Err(what) = world.finish(&items(script)) {
        panic!("{what}\nscript: {script:?}\nschedule: {trace:?}");
    }
    widths
}

fn all_schedules(script: &[Step], depth: usize) {
    let mut choices = Vec::new();
    loop {
        let widths = run(script, &choices, depth);
        choices.resize(widths.len(), 0);
        while let Some(last) = choices.last_mut() {
            *last += 1;
            if *last < widths[choices.len() - 1] {
                break;
            }
            choices.pop();
        }
        if choices.is_empty() {
            return;
        }
    }
}

#[test]
fn broadcast_waiting_source_never_hangs() {
    all_schedules(&[Step::Wait, Step::Item(1)], 5);
}

#[test]
fn broadcast_self_waking_source_never_hangs() {
    all_schedules(&[Step::WakeSelf, Step::Item(1)], 5);
}

#[test]
fn broadcast_ready_source_never_hangs() {
    all_schedules(&[Step::Item(1), Step::Item(2)], 5);
}

#[test]
fn broadcast_empty_source_never_hangs() {
    all_schedules(&[], 5);
}

fn script() -> impl Strategy<Value = Vec<Step>> {
    vec(
        prop_oneof![(0u32..9).prop_map(Step::Item), Just(Step::Wait), Just(Step::WakeSelf), Just(Step::WakeOften)],
        0..8,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn broadcast_random_schedule_never_hangs(script in script(), choices in vec(0usize..24, 0..40)) {
        run(&script, &choices, choices.len());
    }
}
