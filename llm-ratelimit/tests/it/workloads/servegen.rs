//! Tests with tenants whose rates are as different as those of a real service's clients (ServeGen).

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
    time::Duration,
};

use llm_ratelimit::{Limiter, Plan, Plans, Waiting};
use tokio::time::{Instant, sleep_until};

use super::{Random, percentile, rows};
use crate::support::{HOUR, Paused, ask, used};

/// Number of calls admitted in a minute.
const CAPACITY: u64 = 6_000;
const WEIGHTS: [u32; 3] = [1, 2, 4];

/// Each tenant makes calls in proportion to a client's rate. Together they make twice as many as are admitted.
#[tokio::test(start_paused = true)]
async fn weights_give_max_min_shares() {
    let Some(rates) = rates() else { return };
    let all: f64 = rates.iter().sum();
    let demands: Vec<u64> = rates.iter().map(|rate| (rate / all * 2.0 * CAPACITY as f64).ceil() as u64).collect();
    let limiter = limiter(demands.len());
    let until = Instant::now() + Duration::from_secs(60);
    let served = Arc::new(Mutex::new(HashMap::<usize, u64>::new()));
    let calls: Vec<_> = demands
        .iter()
        .enumerate()
        .flat_map(|(tenant, calls)| (0..*calls).map(move |_| tenant))
        .map(|tenant| {
            let (limiter, served) = (limiter.clone(), Arc::clone(&served));
            tokio::spawn(async move {
                let Ok(reservation) = limiter.reserve(&ask(&name(tenant))).await else { return };
                if Instant::now() < until {
                    *served.lock().expect("no caller panicked").entry(tenant).or_default() += 1;
                }
                reservation.settle(used(0, 0));
            })
        })
        .collect();
    sleep_until(until).await;
    calls.iter().for_each(tokio::task::JoinHandle::abort);
    let served = served.lock().expect("no caller panicked");
    let shares = max_min(&demands, served.values().sum());
    let mut worst = 0.0_f64;
    for (tenant, share) in shares.iter().enumerate() {
        let got = served.get(&tenant).copied().unwrap_or(0);
        let off = (got as f64 - share).abs();
        assert!(off <= (share * 0.05).max(1.0), "tenant {tenant} got {got} of {share:.1}");
        worst = worst.max(off / share);
    }
    let (least, most) = (demands.iter().min(), demands.iter().max());
    println!("{} tenants asking for {least:?} to {most:?} calls: at most {:.1}% off", demands.len(), worst * 100.0);
    let held_back = demands.iter().zip(&shares).filter(|(demand, share)| **demand as f64 > *share + 1.0).count();
    assert!((3..demands.len() - 3).contains(&held_back), "some have enough and some do not: {held_back}");
}

#[tokio::test(start_paused = true)]
async fn queue_heavy_tenant_hardly_delays_light_one() {
    let Some(rates) = rates() else { return };
    // The tenant with the median rate, at a tenth of the admitted rate.
    let (light, rate) = (rates.len() / 2, CAPACITY as f64 / 60.0 / 10.0);
    let mut waits = BTreeMap::new();
    for with_neighbour in [false, true] {
        let limiter = limiter(rates.len());
        let heavy: Vec<_> = (0..if with_neighbour { 15_000 } else { 0 })
            .map(|_| {
                let limiter = limiter.clone();
                tokio::spawn(async move {
                    // The outcome of this call does not matter.
                    let _ = limiter.reserve(&ask(&name(0))).await.map(|reservation| reservation.settle(used(0, 0)));
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_secs(1)).await;
        let (mut random, mut at, mut calls) = (Random(11), Instant::now(), Vec::new());
        for _ in 0..500 {
            at += Duration::from_secs_f64(random.gap(rate));
            let limiter = limiter.clone();
            calls.push(tokio::spawn(async move {
                sleep_until(at).await;
                let came = Instant::now();
                limiter.reserve(&ask(&name(light))).await.expect("there is time").settle(used(0, 0));
                came.elapsed()
            }));
        }
        let mut waited = Vec::new();
        for call in calls {
            waited.push(call.await.expect("no caller panicked"));
        }
        assert_eq!(limiter.stats().waiting > 5_000, with_neighbour, "the neighbour still has a backlog");
        heavy.iter().for_each(tokio::task::JoinHandle::abort);
        waits.insert(with_neighbour, percentile(&waited, 95));
    }
    println!("p95 wait of a light tenant: {:?} alone, {:?} beside a heavy one", waits[&false], waits[&true]);
    // Behind waiting calls, each call waits for the next free place, which is 10 ms away, and there may be several
    // light calls.
    assert!(waits[&true] <= waits[&false] + Duration::from_millis(100), "{waits:?}");
}

/// Returns the rates of the busiest clients of one model, in calls a second over all windows, the busiest first.
fn rates() -> Option<Vec<f64>> {
    let mut clients = HashMap::<String, f64>::new();
    for row in rows("servegen_clients.csv.gz")?.into_iter().filter(|row| row[0] == "language_m-small") {
        *clients.entry(row[1].clone()).or_default() += row[3].parse::<f64>().expect("a number");
    }
    let mut rates: Vec<f64> = clients.into_values().filter(|rate| *rate > 0.0).collect();
    rates.sort_unstable_by(|a, b| b.total_cmp(a));
    rates.truncate(24);
    Some(rates)
}

fn limiter(tenants: usize) -> Limiter {
    let mut plans = Plans::new("0", Plan::new()).expect("a plan");
    for (number, weight) in WEIGHTS.into_iter().enumerate() {
        plans = plans.with(number.to_string(), Plan::new().weight(weight)).expect("a plan");
    }
    for tenant in 0..tenants {
        plans = plans.tenant(name(tenant), (tenant % WEIGHTS.len()).to_string()).expect("a plan of that name");
    }
    let limit = format!("{CAPACITY}/minute burst 10").parse::<llm_ratelimit::Limit>().expect("a limit");
    let waiting = Waiting::at_most(10 * HOUR).max_calls(20_000);
    Limiter::builder(plans.limit(limit).expect("a limit"))
        .clock(Paused::new())
        .waiting(waiting)
        .build()
        .expect("the limits are right")
}

fn name(tenant: usize) -> String {
    format!("tenant {tenant}")
}

/// Returns the shares of `all` in proportion to weights. No tenant gets more than it demands.
fn max_min(demands: &[u64], all: u64) -> Vec<f64> {
    let weight = |tenant: usize| f64::from(WEIGHTS[tenant % WEIGHTS.len()]);
    let mut shares: Vec<Option<f64>> = vec![None; demands.len()];
    loop {
        let left = all as f64 - shares.iter().flatten().sum::<f64>();
        let open: Vec<usize> = (0..demands.len()).filter(|tenant| shares[*tenant].is_none()).collect();
        let level = left / open.iter().map(|tenant| weight(*tenant)).sum::<f64>();
        let content: Vec<usize> =
            open.iter().copied().filter(|tenant| demands[*tenant] as f64 <= level * weight(*tenant)).collect();
        if content.is_empty() {
            let fair = |(tenant, share): (usize, Option<f64>)| share.unwrap_or(level * weight(tenant));
            return shares.into_iter().enumerate().map(fair).collect();
        }
        for tenant in content {
            shares[tenant] = Some(demands[tenant] as f64);
        }
    }
}
