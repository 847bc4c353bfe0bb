//! Commands of the program, and their output.
//!
//! Results are printed to the standard output, progress and warnings to the standard error. A listing whose reader
//! closes the pipe ends without an error.

use std::{
    fmt::{self, Display},
    io::{self, Write},
    num::NonZeroUsize,
    time::{Duration, SystemTime},
};

use llm_cache::{
    Cache, StoredEntry,
    llm_core::{Clock, SystemClock, Usd},
    migrate,
};

use crate::command::{Command, Failure, Purge, USAGE};

/// Largest number of entries that are read or copied at a time.
const PAGE: NonZeroUsize = NonZeroUsize::new(256).expect("not zero");

pub(crate) async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Help => say(&[USAGE.trim_end()])?,
        Command::Migrate { from, to, after } => {
            let (from, to) = (from.open()?, to.create()?);
            let done = migrate(&from, &to, after, PAGE, |done| {
                if let Some(next) = &done.next {
                    note(format_args!("{} copied; to go on from here: --after {next}", done.copied));
                }
            });
            let done = done.await?;
            to.close().await?;
            let (copied, expired) = (done.copied, done.expired);
            let rest = format!("unreadable {}, not taken {}", done.unreadable, done.not_taken);
            say(&[format!("copied {copied}, expired {expired}, {rest}")])?;
        }
        Command::Inspect { store, limit, after } => {
            let listing = store.open()?.list(after, limit).await?;
            let mut lines: Vec<_> = listing.entries.iter().map(|entry| line(entry, SystemClock.now())).collect();
            lines.extend((listing.unreadable > 0).then(|| format!("unreadable: {}", listing.unreadable)));
            lines.extend(listing.next.map(|next| format!("more: --after {next}")));
            say(&lines)?;
        }
        Command::Purge { store, what } => purge(&store.open()?, what).await?,
        Command::Stats { store } => stats(&store.open()?).await?,
    }
    Ok(())
}

/// Prints lines to the standard output, until the reader closes the pipe.
fn say(lines: &[impl Display]) -> Result<(), Failure> {
    let said = lines.iter().try_for_each(|line| writeln!(io::stdout(), "{line}"));
    let said = said.or_else(|error| if error.kind() == io::ErrorKind::BrokenPipe { Ok(()) } else { Err(error) });
    said.map_err(|error| format!("the standard output cannot be written: {error}").into())
}

/// Prints progress or a warning to the standard error. A failure to print it is ignored.
fn note(line: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{line}");
}

async fn purge(cache: &Cache, what: Purge) -> Result<(), Failure> {
    let (before, some) = (count(cache).await?.entries, cache.list(None, PAGE.get()).await?);
    if some.entries.is_empty() && some.unreadable > 0 {
        note(format_args!("llm-cache: no entry can be read: are --secret and --keys the store's?"));
    }
    match what {
        Purge::Tenant(tenant) => cache.forget(&tenant).await?,
        Purge::Tag(tag) => drop(cache.purge(tag).await?),
        Purge::Key(name) if !cache.remove_stored(&name).await? => return Err("no entry has this name".into()),
        Purge::Key(_) => {}
        Purge::All => cache.clear().await?,
    }
    say(&[format!("removed {}", before.saturating_sub(count(cache).await?.entries))])
}

/// Counts of a store's entries.
#[derive(Default)]
struct Count {
    entries: u64,
    bytes: u64,
    live: u64,
    unreadable: u64,
    cost: Usd,
}

/// Counts the entries of a store by visiting all of them, because a store that several processes share has no total.
async fn count(cache: &Cache) -> Result<Count, Failure> {
    let (mut count, mut after) = (Count::default(), None);
    loop {
        let listing = cache.list(after, PAGE.get()).await?;
        for entry in &listing.entries {
            count.bytes += entry.bytes;
            count.live += u64::from(entry.live);
            count.cost += entry.accounting.cost.filter(|_| entry.live).unwrap_or_default();
        }
        count.entries += listing.entries.len() as u64 + listing.unreadable;
        count.unreadable += listing.unreadable;
        after = listing.next;
        if after.is_none() {
            return Ok(count);
        }
    }
}

async fn stats(cache: &Cache) -> Result<(), Failure> {
    let Count { entries, bytes, live, unreadable, cost } = count(cache).await?;
    let expired = entries - live - unreadable;
    let (entries, bytes) = (format!("entries     {entries}"), format!("bytes       {bytes}"));
    let (live, expired) = (format!("live        {live}"), format!("expired     {expired}"));
    say(&[entries, bytes, live, expired, format!("unreadable  {unreadable}"), format!("cost        {cost}")])
}

/// Formats an entry on one line, without its response.
fn line(entry: &StoredEntry, now: SystemTime) -> String {
    let seconds = |time: Result<Duration, _>| time.unwrap_or_default().as_secs();
    let left = match entry.fresh_until {
        _ if !entry.live => "expired".to_owned(),
        Some(until) => format!("{}s left", seconds(until.duration_since(now))),
        None => "no end".to_owned(),
    };
    let age = seconds(now.duration_since(entry.stored_at));
    let model = entry.accounting.model.as_deref().unwrap_or("-");
    let tags: Vec<String> = entry.tags.iter().map(ToString::to_string).collect();
    format!("{} {} {model} {} bytes {age}s old {left} [{}]", entry.name, entry.partition, entry.bytes, tags.join(" "))
}
