//! Counted, not timed.

use benches::{filled::Filled, hit::Warm, ratelimit::Gate};
use llm_ratelimit::Demand;

#[test]
fn a_memory_hit_takes_at_most_four_allocations() {
    let mut warm = Warm::new();
    drop(warm.ask(warm.call.clone()));
    let call = warm.call.clone();
    let mut reply = None;
    let counted = allocation_counter::measure(|| reply = Some(warm.ask(call)));
    assert_eq!(reply.expect("it was asked").output, warm.answer);
    println!("{} allocations, {} bytes", counted.count_total, counted.bytes_total);
    assert!(counted.count_total <= 4, "{} allocations", counted.count_total);
}

/// But for the label of each decision that is told to a recorder.
#[test]
fn a_decision_and_its_settlement_allocate_nothing() {
    let gate = Gate::single();
    gate.pass(&gate.demand);
    let counted = allocation_counter::measure(|| (0..100).for_each(|_| gate.pass(&gate.demand)));
    let told = if cfg!(feature = "metrics") { 100 } else { 0 };
    assert_eq!(counted.count_total, told);
}

/// At 100,000 tenants, of 36 bytes each in name.
#[test]
fn a_tenant_takes_no_more_than_the_builder_says() {
    let gate = Gate::single();
    let demands: Vec<Demand> = (0..100_000).map(|n| gate.of(&format!("{n:036}"))).collect();
    let counted = allocation_counter::measure(|| demands.iter().for_each(|demand| gate.pass(demand)));
    let each = counted.bytes_current / 100_000;
    println!("{each} bytes a tenant");
    assert!((100..=300).contains(&each), "{each} bytes a tenant");
}

/// With `LLM_FULL` at a million entries, else at 1,500.
#[test]
fn an_entry_takes_no_more_than_it_counts_for_however_many_there_are() {
    #[expect(clippy::disallowed_methods, reason = "a test's edge")]
    let full = std::env::var_os("LLM_FULL").is_some();
    let sizes = if full { [1_000, 1_000_000] } else { [300, 1_500] };
    let taken = sizes.map(|entries| {
        let mut filled = None;
        let counted = allocation_counter::measure(|| filled = Some(Filled::new(entries)));
        let filled = filled.expect("it was filled");
        let taken = u64::try_from(counted.bytes_current).expect("it holds something") / entries;
        println!("{entries} entries: {taken} bytes each, which count for {}", filled.counted());
        assert!(taken <= filled.counted(), "{taken} bytes an entry, counted as {}", filled.counted());
        taken
    });
    assert!(taken[1] * 2 <= taken[0] * 3, "{taken:?} bytes an entry");
}
