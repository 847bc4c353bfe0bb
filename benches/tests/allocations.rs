//! Counted, not timed.

use benches::hit::Warm;

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
