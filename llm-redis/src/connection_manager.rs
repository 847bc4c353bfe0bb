//! Connection manager, which is the task that opens, probes and replaces the connection, and sends changes of
//! subscriptions to the server.

use std::{
    future::Future,
    sync::{Arc, Weak, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{
    future::{join_all, select_ok},
    stream::{self, StreamExt},
};
use redis::{PushInfo, PushKind};
use tokio::time::{Instant, sleep_until, timeout};

use crate::{
    Command, Error, ErrorKind,
    connection::{Connection, OnPush},
    error_mapping,
    inner::{Inner, Link},
    shards::BreakerShards,
    subscription::Change,
};

/// Shortest pause between two replacements of a connection whose server is a read-only replica.
const REPLACE_EVERY: Duration = Duration::from_secs(1);
/// Shortest pause between opening two connections, so that a connection that always breaks is not reopened in a busy
/// loop.
const REOPEN_AFTER: Duration = Duration::from_millis(100);
/// Largest number of probes of a Cluster that run at the same time.
const TOGETHER: usize = 4;
/// Pause before failed subscribe commands are sent again.
const RESUBSCRIBE_AFTER: Duration = Duration::from_millis(500);

/// Runs the connection manager until the client is closed or the task is aborted.
pub(crate) async fn run(inner: Arc<Inner>) {
    let _close = CloseOnDrop(&inner);
    let (mut opened_at, mut resubscribe_at) = (None, None);
    loop {
        let now = Instant::now();
        let step = next_step(&inner, now, opened_at);
        let until = match step {
            Step::Stop => return,
            Step::Open => {
                open(&inner).await;
                opened_at = Some(Instant::now());
                continue;
            }
            Step::Probe(shards) => {
                if few_at_a_time(shards.into_iter().map(|shard| probe(&inner, shard))).await.contains(&true) {
                    replace_if_silent(&inner).await;
                }
                continue;
            }
            Step::CheckSuspicion(shards) => {
                if few_at_a_time(shards.into_iter().map(|shard| check_suspicion(&inner, shard))).await.contains(&true) {
                    replace_if_silent(&inner).await;
                }
                continue;
            }
            Step::Wait(until) => until,
        };
        if resubscribe_at.is_none_or(|at| at <= now) {
            resubscribe_at = (!sync_subscriptions(&inner).await).then(|| Instant::now() + RESUBSCRIBE_AFTER);
        }
        let alarm = [until, resubscribe_at].into_iter().flatten().min();
        tokio::select! {
            () = inner.work.notified() => {}
            () = sleep_until(alarm.unwrap_or(now)), if alarm.is_some() => {}
        }
    }
}

/// Guard that closes the client when the connection manager ends for any reason, such as a shutdown of the runtime.
/// Without a connection manager, the client could not reconnect.
struct CloseOnDrop<'a>(&'a Inner);

impl Drop for CloseOnDrop<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Next action of the connection manager.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Stop,
    /// Opens a connection. For a single server, this is also the probe of an open breaker.
    Open,
    /// Probes the open breakers of these shards.
    Probe(Vec<usize>),
    /// Probes the servers of these shards, because calls to them timed out.
    CheckSuspicion(Vec<usize>),
    /// Waits for work, at most until this time; without a limit if it is `None`.
    Wait(Option<Instant>),
}

fn next_step(inner: &Inner, now: Instant, opened_at: Option<Instant>) -> Step {
    let is_connected = match inner.link(|link| match link {
        Link::Closed => Err(Step::Stop),
        Link::Idle => Err(Step::Wait(None)),
        Link::Connecting => Ok(false),
        Link::Connected { .. } => Ok(true),
    }) {
        Ok(is_connected) => is_connected,
        Err(step) => return step,
    };
    let breakers = &inner.breakers;
    let due: Vec<_> = breakers.all().map(|shard| breakers.lock(shard).due()).collect();
    let suspected: Vec<_> = breakers.all().filter(|shard| breakers.lock(*shard).is_suspected()).collect();
    if is_connected && !suspected.is_empty() {
        return Step::CheckSuspicion(suspected);
    }
    let is_due = |shard: &usize| due[*shard].is_some_and(|due| due <= now);
    let all_open = due.iter().all(Option::is_some);
    match due.iter().flatten().min() {
        Some(due) if *due > now => Step::Wait(Some(*due)),
        Some(_) if is_connected && !all_open => Step::Probe(breakers.all().filter(is_due).collect()),
        Some(_) => Step::Open,
        None if !is_connected => open_after(REOPEN_AFTER, opened_at, now),
        None if inner.is_stale.load(Ordering::Relaxed) => open_after(REPLACE_EVERY, opened_at, now),
        None => Step::Wait(None),
    }
}

fn open_after(pause: Duration, opened_at: Option<Instant>, now: Instant) -> Step {
    match opened_at {
        Some(at) if at + pause > now => Step::Wait(Some(at + pause)),
        _ => Step::Open,
    }
}

/// Opens a connection. This is also the probe of each breaker whose probe is due.
async fn open(inner: &Arc<Inner>) {
    let is_probe = inner.breakers.take_probes(Instant::now());
    let epoch = inner.epoch.fetch_add(1, Ordering::AcqRel) + 1;
    let address = &inner.target.address;
    let opening = async {
        let connection = Connection::open(&inner.target, on_push(Arc::downgrade(inner), epoch)).await;
        let mut connection = connection.map_err(|error| error_mapping::connect_error(&error, address))?;
        match send_probe(inner, &mut connection, 0).await {
            Err(error) if error.kind() == ErrorKind::NotReady || !address.cluster => Err(error),
            // A Cluster counts as connected even if the probed node does not reply, because other nodes may reply.
            _ => Ok(connection),
        }
    };
    let error = match timeout(inner.target.connect_timeout, opening).await {
        Ok(Ok(connection)) => {
            let unavailable = if is_probe { unavailable_shards(inner, &connection).await } else { Vec::new() };
            return inner.connection_opened(connection, epoch, &unavailable);
        }
        Ok(Err(error)) => error,
        Err(_) => Error::new(ErrorKind::Timeout, format!("{address}: no connection in time")),
    };
    if is_probe {
        inner.counts.probes_failed.increment();
    }
    inner.connection_failed(&error);
}

/// Probes the nodes of a Cluster on a new connection. Returns the shards whose nodes are unavailable, with the error of
/// each probe. Their breakers stay open, because calls to an unavailable node would delay calls to other nodes.
async fn unavailable_shards(inner: &Inner, connection: &Connection) -> Vec<(usize, Error)> {
    if !inner.target.address.cluster {
        return Vec::new();
    }
    let probes = inner.breakers.all().map(|shard| async move {
        let mut connection = connection.clone();
        Some((shard, send_probe(inner, &mut connection, BreakerShards::first_slot(shard)).await.err()?))
    });
    few_at_a_time(probes).await.into_iter().flatten().collect()
}

/// Opens all breakers if no node of a Cluster replies, so that a new connection is opened. The `redis` crate reconnects
/// to single nodes by itself, but it can deadlock if many calls to a node fail at once.
async fn replace_if_silent(inner: &Inner) {
    let Some(connection) = inner.current_connection().filter(|_| inner.target.address.cluster) else { return };
    // The probed slots are far apart, so that different nodes serve them if there are several nodes.
    let probes = inner.breakers.all().step_by(TOGETHER).map(|shard| {
        let mut connection = connection.clone();
        Box::pin(async move {
            match send_probe(inner, &mut connection, BreakerShards::first_slot(shard)).await {
                Err(error) if error.kind() == ErrorKind::Timeout => Err(error),
                _ => Ok(()),
            }
        })
    });
    // A reply from any node shows that the connection works.
    if let Err(error) = select_ok(probes).await {
        let opened = inner.breakers.trip_all(&error);
        inner.report_opened(opened, &error);
    }
}

/// Awaits probes, of which at most [`TOGETHER`] run at the same time, and returns their results.
async fn few_at_a_time<F: Future>(probes: impl Iterator<Item = F>) -> Vec<F::Output> {
    stream::iter(probes).buffer_unordered(TOGETHER).collect().await
}

/// Probes the node of a shard if a probe of the shard's breaker is due. Returns `true` if the node did not reply in
/// time.
async fn probe(inner: &Inner, shard: usize) -> bool {
    let Some(mut connection) = inner.current_connection() else { return false };
    if !inner.breakers.lock(shard).take_probe(Instant::now()) {
        return false;
    }
    match send_probe(inner, &mut connection, BreakerShards::first_slot(shard)).await {
        Ok(()) => {
            inner.close_breakers([shard].into_iter());
            false
        }
        Err(error) => {
            inner.counts.probes_failed.increment();
            inner.breakers.lock(shard).trip(Instant::now(), &error);
            error.kind() == ErrorKind::Timeout
        }
    }
}

/// Probes the server of a shard after a call with a shorter timeout timed out. Returns `true` if the server did not
/// reply in time.
async fn check_suspicion(inner: &Inner, shard: usize) -> bool {
    let Some(mut connection) = inner.current_connection() else { return false };
    match send_probe(inner, &mut connection, BreakerShards::first_slot(shard)).await {
        Err(error) if error.kind() == ErrorKind::Timeout => {
            let opened = inner.breakers.lock(shard).confirm_suspicion(Instant::now(), &error);
            inner.report_opened(usize::from(opened), &error);
            true
        }
        _ => {
            inner.breakers.lock(shard).clear_suspicion();
            false
        }
    }
}

/// Reads a key in a slot to test if the slot's node replies. A node that refuses the command counts as available.
async fn send_probe(inner: &Inner, connection: &mut Connection, slot: u16) -> Result<(), Error> {
    let probe = Command::get(&inner.key_space.probe_key(slot));
    let address = &inner.target.address;
    let error = match timeout(inner.target.probe_timeout, connection.send(&probe.encoded, Some(slot))).await {
        Ok(Ok(redis::Value::ServerError(error))) => error_mapping::call_error(&error.into(), "GET", address),
        Ok(Ok(_)) => return Ok(()),
        Ok(Err(error)) => error_mapping::call_error(&error, "GET", address),
        Err(_) => Error::sent(ErrorKind::Timeout, "GET: no response in time"),
    };
    if error.is_outage() { Err(error) } else { Ok(()) }
}

/// Sends changes of subscriptions to the server. Returns `false` if a change failed. A failed subscribe command is sent
/// again with the next changes.
async fn sync_subscriptions(inner: &Inner) -> bool {
    let Some(connection) = inner.current_connection() else { return true };
    let sent = inner.subscriptions.take_changes().into_iter().map(|change| {
        let mut connection = connection.clone();
        async move {
            let sending = async {
                match &change {
                    Change::Subscribe(channel) => connection.subscribe(channel).await,
                    Change::Unsubscribe(channel) => connection.unsubscribe(channel).await,
                }
            };
            let done = matches!(timeout(inner.target.probe_timeout, sending).await, Ok(Ok(())));
            if let (false, Change::Subscribe(channel)) = (done, &change) {
                inner.subscriptions.subscribe_failed(channel);
            }
            done
        }
    });
    join_all(sent).await.into_iter().all(|done| done)
}

/// Creates the callback for pushes of connection number `epoch`, which are messages of channels, confirmations of
/// subscriptions, and the end of the connection.
fn on_push(inner: Weak<Inner>, epoch: u64) -> OnPush {
    Arc::new(move |push: PushInfo| {
        let Some(inner) = inner.upgrade() else { return };
        if inner.epoch.load(Ordering::Acquire) != epoch {
            return;
        }
        let mut data = push.data.into_iter();
        match (push.kind, data.next(), data.next()) {
            (PushKind::Disconnection, ..) => inner.connection_lost(epoch),
            (PushKind::Subscribe, Some(redis::Value::BulkString(channel)), _) => {
                inner.subscriptions.subscribed(&channel);
            }
            (PushKind::Message, Some(redis::Value::BulkString(channel)), Some(redis::Value::BulkString(message))) => {
                inner.subscriptions.deliver(&channel, Bytes::from(message));
            }
            _ => {}
        }
    })
}
