//! Run that sends real requests for test cases through the fleet's stack, whose layers are added one after another, in
//! virtual time.

use std::{collections::HashMap, sync::Arc, time::Duration};

use llm_core::BoxError;

use crate::{
    fleet::{
        answers::stacks,
        drive::{KEY_LIMIT, MODEL, RESPONSE_TOKENS, drive, test_cases},
    },
    report::Report,
    steps::{self, Figures},
    virtual_time,
    workload::{Request, Source},
};

/// Number of requests that an organisation sends at once, if the workload states no times.
const AT_ONCE: u32 = 100;
/// Time until the organisation sends the next requests.
const INTERVAL: Duration = Duration::from_secs(600);

/// Sends workloads through each step, and returns the table of savings.
///
/// # Errors
///
/// A workload cannot be read, a layer refuses its settings, or the ledger disagrees with the vendor's bills.
pub fn report(sources: Vec<Source>) -> Result<Report, BoxError> {
    let names: Vec<String> = sources.iter().map(|source| source.name().to_owned()).collect();
    let requests = schedule(sources.into_iter().flatten().collect::<Result<_, _>>()?);
    let mut rows = Vec::new();
    for (name, settings) in stacks() {
        let calls = requests.iter().map(|(at, request)| (*at, call(request)));
        let outcome = virtual_time::run(drive(&settings, calls, Duration::ZERO))??;
        let figures = Figures {
            calls: outcome.calls,
            answered: outcome.times.len() as u64,
            sent: outcome.sent,
            limited: outcome.limited,
            tokens: outcome.tokens,
            paid: outcome.paid,
            p95: outcome.percentile(95),
        };
        rows.push((name, figures));
    }
    let mut report = steps::report(format!("{}: what each layer saves", names.join(", then ")), &rows);
    report.note(format!(
        "cache: 7 days to live; limits: 10 a minute of each organisation, which wait at most 15 minutes; packing: ten prompts a \
         request, which counts as one; pool: three keys of three organisations with {KEY_LIMIT} requests a minute each"
    ));
    report.note(format!(
        "assumed: {AT_ONCE} requests at once of each organisation every ten minutes, unless the workload states times; {MODEL} at \
         list price; {} to {} tokens a response, the same in a pack and alone; 0.5 s and 8 ms a token",
        RESPONSE_TOKENS.start(),
        RESPONSE_TOKENS.end()
    ));
    Ok(report)
}

fn call(request: &Request) -> llm_core::Call<llm_core::ChatRequest> {
    test_cases(Arc::clone(&request.organisation), Arc::clone(&request.text))
}

/// Returns the requests in the order of their times, which are counted from the first one.
fn schedule(requests: Vec<Request>) -> Vec<(Duration, Request)> {
    let first = requests.iter().filter_map(|request| request.at).min();
    let mut sent: HashMap<Arc<str>, u32> = HashMap::new();
    let mut timed: Vec<(Duration, Request)> = Vec::new();
    for request in requests {
        let stated = first.zip(request.at).and_then(|(first, at)| at.duration_since(first).ok());
        let at = stated.unwrap_or_else(|| {
            let number = sent.entry(Arc::clone(&request.organisation)).or_default();
            *number += 1;
            INTERVAL * ((*number - 1) / AT_ONCE)
        });
        timed.push((at, request));
    }
    timed.sort_by_key(|(at, _)| *at);
    timed
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::report::Cell;

    #[test]
    fn test_generation_steps_save_and_pace() {
        let source = || {
            let texts = (0..60).map(|n| Request::new(["acme", "globex"][n % 2], format!("fn f{}()", n % 40)));
            Source::of("sixty", texts.collect())
        };
        let report = super::report(vec![source()]).expect("the accounts agree");
        let count = |row, column| match report.cell(row, column) {
            Some(Cell::Count(count)) => *count,
            other => panic!("{column} of {row} is {other:?} in {report}"),
        };
        assert_eq!([0, 1, 2].map(|row| (count(row, "calls"), count(row, "sent"))), [(60, 60), (60, 40), (60, 40)]);
        assert!((4..12).contains(&count(3, "sent")) && count(4, "answered") == 60, "{report}");
        let p95 = |row| report.cell(row, "p95").cloned();
        assert!(
            matches!((p95(1), p95(2)), (Some(Cell::Time(free)), Some(Cell::Time(paced))) if free < paced),
            "{report}"
        );
        assert_eq!(report.to_string(), super::report(vec![source()]).expect("the accounts agree").to_string());
    }

    #[test]
    fn schedule_keeps_stated_times_and_spreads_others() {
        let many = (0..=AT_ONCE).map(|_| Request::new("acme", "a")).collect();
        let times: Vec<u64> = schedule(many).iter().map(|(at, _)| at.as_secs()).collect();
        assert_eq!((times[0], times[AT_ONCE as usize - 1], times[AT_ONCE as usize]), (0, 0, 600));
        let at = |seconds| Request::new("acme", "a").at(UNIX_EPOCH + Duration::from_secs(seconds));
        let times: Vec<u64> = schedule(vec![at(50), at(20)]).iter().map(|(at, _)| at.as_secs()).collect();
        assert_eq!(times, [0, 30]);
    }
}
