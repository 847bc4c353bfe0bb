//! Tests of the table that a snapshot prints.

use futures_util::FutureExt;
use llm_core::{Charge, Error, ErrorKind, Usage};

use super::vendor::{Head, Plan, bound, call, ledger, stack};

#[tokio::test]
async fn snapshot_prints_aligned_table_with_notes() {
    let ledger = ledger();
    let usage = Usage::new(1_200, 300);
    let failed = Error::new(ErrorKind::Malformed, "no JSON").with_charge(Charge::Known(usage));
    let provider = stack(
        &ledger,
        [
            Plan { usage: Some(usage), ..Plan::default() },
            Plan { tier: Some("flex"), ..Plan::default() },
            Plan { head: Head::Fails(failed), ..Plan::default() },
            Plan { head: Head::Hangs, ..Plan::default() },
        ],
    );
    for tenant in ["acme", "b\n", "acme", "acme"] {
        let _ = provider.chat(call(tenant).with_label("feature", "x").unwrap().with_units(2)).now_or_never();
    }
    let bound = bound();
    let expected = EXPECTED.replace("{bound:.6}", &format!("{bound:.6}")).replace("{bound}", &bound.to_string());
    assert_eq!(ledger.snapshot().to_string(), expected);
}

const EXPECTED: &str = "\
\x20                calls  vendor  hits  coalesced  failed  dropped  units  input  output         list       useful      saved         paid     wasted  unconfirmed
tenant acme          3       1     0          0       1        1      2   1200     300    $0.001800    $0.001800  $0.000000    $0.003600  $0.001800    {bound:.6}
tenant b\u{fffd}            1       1     0          0       0        0      2     10       5      unknown      unknown    unknown      unknown  $0.000000    $0.000000
model m              4       2     0          0       1        1      4   1210     305  ≥ $0.001800  ≥ $0.001800    unknown  ≥ $0.003600  $0.001800    {bound:.6}
label feature=x      4       2     0          0       1        1      4   1210     305  ≥ $0.001800  ≥ $0.001800    unknown  ≥ $0.003600  $0.001800    {bound:.6}
in all               4       2     0          0       1        1      4   1210     305  ≥ $0.001800  ≥ $0.001800    unknown  ≥ $0.003600  $0.001800    {bound:.6}
prices of 2026-01-02
wasted: failed $0.0018
unconfirmed: attempts 1, at most {bound}
unknown cost: attempts 1, responses 1: the price table lists no price of the model \"m\" for the service class \"flex\": add it
";
