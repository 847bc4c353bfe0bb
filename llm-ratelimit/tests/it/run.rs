//! Tests of `Limiter::run` and `Limiter::set_plan`, for services with a client of their own.

use llm_core::{Charge, Error, ErrorKind, Usage};
use llm_ratelimit::{Demand, Limiter, Plan, Plans, Settlement, Unit};

fn demand(tenant: &str) -> Demand {
    Demand::new(tenant, "gpt-4o-mini").tokens(600, 400)
}

async fn left(limiter: &Limiter, tenant: &str) -> Option<u64> {
    limiter.usage(tenant).await.tightest(&Unit::Tokens).map(|status| status.remaining)
}

#[tokio::test(start_paused = true)]
async fn limiter_run_settles_by_outcome() {
    let limiter = Limiter::builder(Plans::uniform(["10k tokens/day"]).unwrap()).build().unwrap();
    let used = Settlement::Used { usage: Usage::new(100, 50), cost: None };
    let value = limiter.run(&demand("a"), async || Ok::<_, Error>((7, used))).await;
    assert_eq!((value.ok(), left(&limiter, "a").await), (Some(7), Some(9_850)));
    let failed = limiter.run(&demand("a"), async || Err::<((), Settlement), _>(Error::invalid("odd"))).await;
    assert_eq!(failed.map_err(|error| error.kind()), Err(ErrorKind::InvalidRequest));
    assert_eq!(left(&limiter, "a").await, Some(9_850), "a refusal costs nothing");
    let odd = || std::io::Error::other("of another client");
    let failed = limiter.run(&demand("a"), async || Err::<((), Settlement), _>(odd())).await;
    assert_eq!(failed.map_err(|error| (error.kind(), error.charge())), Err((ErrorKind::Other, Charge::Unknown)));
    assert_eq!(left(&limiter, "a").await, Some(8_850), "it may have been sent");
    let demand = demand("a");
    let dropped = limiter.run(&demand, std::future::pending::<Result<((), Settlement), Error>>);
    assert!(tokio::time::timeout(std::time::Duration::from_secs(1), dropped).await.is_err());
    assert_eq!(left(&limiter, "a").await, Some(7_850), "it may have been sent");
    let too_much = Demand::new("a", "gpt-4o-mini").tokens(9_000, 0);
    let refused = limiter.run(&too_much, async || -> Result<((), Settlement), Error> { panic!("it is refused") }).await;
    assert_eq!(refused.map_err(|error| error.kind()), Err(ErrorKind::OverBudget));
}

#[tokio::test(start_paused = true)]
async fn set_plan_keeps_tenants_usage() {
    let plan = |limit: &str| Plan::with_limits([limit]).unwrap();
    let plans = Plans::new("free", plan("1k tokens/day")).unwrap().with("pro", plan("10k tokens/day")).unwrap();
    let limiter = Limiter::builder(plans).build().unwrap();
    limiter.reserve(&demand("a")).await.unwrap().settle(Settlement::Unknown);
    assert_eq!(left(&limiter, "a").await, Some(0));
    limiter.set_plan("a", "pro").unwrap();
    assert_eq!((left(&limiter, "a").await, left(&limiter, "b").await), (Some(9_000), Some(1_000)));
    assert!(limiter.set_plan("a", "gold").is_err());
    assert_eq!(&*limiter.plan_of("a"), "pro");
}
