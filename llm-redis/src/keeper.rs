//! The task that keeps the connection: it opens, probes, renews, and tells the server who listens to what.

use std::{
    sync::{Arc, Weak, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::join_all;
use redis::{PushInfo, PushKind};
use tokio::time::{Instant, sleep_until, timeout};

use crate::{
    Command, Error, ErrorKind,
    connection::{Connection, OnPush},
    shared::{Link, SLOTS_PER_LANE, Shared},
    translate,
    wake::Change,
};

/// A connection to a replica that should be a primary is replaced no more often than this.
const RENEW_EVERY: Duration = Duration::from_secs(1);
/// A connection that breaks is replaced at once, unless it is younger than this: it may break each time.
const REOPEN_AFTER: Duration = Duration::from_millis(100);
/// The pause after the server could not be told who listens.
const RETELL_AFTER: Duration = Duration::from_millis(500);

/// Runs until the handle is closed, or the task is aborted.
pub(crate) async fn keep(shared: Arc<Shared>) {
    let _closes = Closes(&shared);
    let (mut opened_at, mut retell_at) = (None, None);
    loop {
        let now = Instant::now();
        let step = next_step(&shared, now, opened_at);
        let until = match step {
            Step::Stop => return,
            Step::Open => {
                open(&shared).await;
                opened_at = Some(Instant::now());
                continue;
            }
            Step::Probe(lanes) => {
                join_all(lanes.into_iter().map(|lane| probe(&shared, lane))).await;
                continue;
            }
            Step::Doubt(lanes) => {
                join_all(lanes.into_iter().map(|lane| doubt(&shared, lane))).await;
                continue;
            }
            Step::Wait(until) => until,
        };
        if retell_at.is_none_or(|at| at <= now) {
            retell_at = (!tell_changes(&shared).await).then(|| Instant::now() + RETELL_AFTER);
        }
        let alarm = [until, retell_at].into_iter().flatten().min();
        tokio::select! {
            () = shared.work.notified() => {}
            () = sleep_until(alarm.unwrap_or(now)), if alarm.is_some() => {}
        }
    }
}

/// Closes the handle with its keeper, also when the runtime ends under it: nothing would connect any more.
struct Closes<'a>(&'a Shared);

impl Drop for Closes<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Step {
    Stop,
    Open,
    Probe(Vec<usize>),
    Doubt(Vec<usize>),
    Wait(Option<Instant>),
}

fn next_step(shared: &Shared, now: Instant, opened_at: Option<Instant>) -> Step {
    let is_up = match shared.link(|link| match link {
        Link::Closed => Err(Step::Stop),
        Link::Idle => Err(Step::Wait(None)),
        Link::Connecting => Ok(false),
        Link::Up { .. } => Ok(true),
    }) {
        Ok(is_up) => is_up,
        Err(step) => return step,
    };
    let due: Vec<_> = (0..shared.lanes()).map(|lane| shared.lane(lane).due()).collect();
    let suspected: Vec<_> = (0..shared.lanes()).filter(|lane| shared.lane(*lane).is_suspected()).collect();
    if is_up && !suspected.is_empty() {
        return Step::Doubt(suspected);
    }
    let is_due = |lane: &usize| due[*lane].is_some_and(|due| due <= now);
    let all_away = due.iter().all(Option::is_some);
    match due.iter().flatten().min() {
        Some(due) if *due > now => Step::Wait(Some(*due)),
        Some(_) if is_up && !all_away => Step::Probe((0..shared.lanes()).filter(is_due).collect()),
        Some(_) => Step::Open,
        None if !is_up => open_after(REOPEN_AFTER, opened_at, now),
        None if shared.stale.load(Ordering::Relaxed) => open_after(RENEW_EVERY, opened_at, now),
        None => Step::Wait(None),
    }
}

fn open_after(pause: Duration, opened_at: Option<Instant>, now: Instant) -> Step {
    match opened_at {
        Some(at) if at + pause > now => Step::Wait(Some(at + pause)),
        _ => Step::Open,
    }
}

/// Opens a connection; where all breakers are open, that is their probe.
async fn open(shared: &Arc<Shared>) {
    let now = Instant::now();
    let probing = (0..shared.lanes()).filter(|lane| shared.lane(*lane).take_probe(now)).count() > 0;
    let epoch = shared.epoch.fetch_add(1, Ordering::AcqRel) + 1;
    let address = &shared.target.address;
    let opening = async {
        let connection = Connection::open(&shared.target, on_push(Arc::downgrade(shared), epoch)).await;
        let mut connection = connection.map_err(|error| translate::of_connecting(&error, address))?;
        match asked(shared, &mut connection, 0).await {
            Err(error) if error.kind() == ErrorKind::NotReady || !address.cluster => Err(error),
            // One node of a Cluster may be away alone.
            _ => Ok(connection),
        }
    };
    let error = match timeout(shared.target.connect_timeout, opening).await {
        Ok(Ok(connection)) => return shared.up(connection, epoch),
        Ok(Err(error)) => error,
        Err(_) => Error::new(ErrorKind::Timeout, format!("{address}: no connection in time")),
    };
    if probing {
        shared.counts.probes_failed.one_more();
    }
    shared.away(&error);
}

/// Asks the node behind a part of a Cluster's slots whether it is back.
async fn probe(shared: &Arc<Shared>, lane: usize) {
    let Some(mut connection) = connection(shared) else { return };
    if !shared.lane(lane).take_probe(Instant::now()) {
        return;
    }
    match asked(shared, &mut connection, slot_of(lane)).await {
        Ok(()) => shared.back([lane].into_iter()),
        Err(error) => {
            shared.counts.probes_failed.one_more();
            shared.lane(lane).trip(Instant::now(), &error);
        }
    }
}

/// Asks the server behind a lane whether it is there, after a call of somebody less patient ran out of time.
async fn doubt(shared: &Arc<Shared>, lane: usize) {
    let Some(mut connection) = connection(shared) else { return };
    match asked(shared, &mut connection, slot_of(lane)).await {
        Err(error) if error.kind() == ErrorKind::Timeout => {
            let opened = shared.lane(lane).silent(Instant::now(), &error);
            shared.opened(usize::from(opened), &error);
        }
        _ => shared.lane(lane).cleared(),
    }
}

fn connection(shared: &Shared) -> Option<Connection> {
    shared.link(|link| match link {
        Link::Up { connection, .. } => Some(connection.clone()),
        _ => None,
    })
}

/// First slot of a lane.
fn slot_of(lane: usize) -> u16 {
    u16::try_from(lane).expect("there are few lanes") * SLOTS_PER_LANE
}

/// Whether a slot is served. A server that refuses the question is there all the same.
async fn asked(shared: &Shared, connection: &mut Connection, slot: u16) -> Result<(), Error> {
    let probe = Command::get(&shared.names.in_slot(slot));
    let error = match timeout(shared.target.silence, connection.send(&probe.wire, Some(slot))).await {
        Ok(Ok(redis::Value::ServerError(error))) => translate::of_answer(&error.into(), "GET", &shared.target.address),
        Ok(Ok(_)) => return Ok(()),
        Ok(Err(error)) => translate::of_answer(&error, "GET", &shared.target.address),
        Err(_) => Error::sent(ErrorKind::Timeout, "GET: no answer in time"),
    };
    if error.is_outage() { Err(error) } else { Ok(()) }
}

/// Tells the server who has come to listen, and who has left; false if it must be told again.
async fn tell_changes(shared: &Shared) -> bool {
    let Some(connection) = connection(shared) else { return true };
    let told = shared.board.changes().into_iter().map(|change| {
        let mut connection = connection.clone();
        async move {
            let telling = async {
                match &change {
                    Change::Subscribe(channel) => connection.subscribe(channel).await,
                    Change::Unsubscribe(channel) => connection.unsubscribe(channel).await,
                }
            };
            let done = matches!(timeout(shared.target.silence, telling).await, Ok(Ok(())));
            if let (false, Change::Subscribe(channel)) = (done, &change) {
                shared.board.untold(channel);
            }
            done
        }
    });
    join_all(told).await.into_iter().all(|done| done)
}

fn on_push(shared: Weak<Shared>, epoch: u64) -> OnPush {
    Arc::new(move |push: PushInfo| {
        let Some(shared) = shared.upgrade() else { return };
        if shared.epoch.load(Ordering::Acquire) != epoch {
            return;
        }
        let mut data = push.data.into_iter();
        match (push.kind, data.next(), data.next()) {
            (PushKind::Disconnection, ..) => shared.lost(epoch),
            (PushKind::Subscribe, Some(redis::Value::BulkString(channel)), _) => shared.board.confirmed(&channel),
            (PushKind::Message, Some(redis::Value::BulkString(channel)), Some(redis::Value::BulkString(message))) => {
                shared.board.message(&channel, Bytes::from(message));
            }
            _ => {}
        }
    })
}
