//! Tests that stacks report a missing or repeated layer of the ledger, and a client that does not mark calls.

use std::sync::Arc;

use llm_core::{Provider, into_provider, into_service, layer::ProviderService};
use llm_providers::{Ledger, ledger::StackFault};
use tower::ServiceBuilder;

use super::vendor::{Plan, Vendor, call, ledger, stack};

/// Stack, number of calls through it, expected fault, and a part of the fault's text.
struct Case {
    stack: fn(&Ledger) -> Arc<dyn Provider>,
    calls: u32,
    fault: Option<(StackFault, &'static str)>,
}

fn client() -> ProviderService<Vendor> {
    into_service(Arc::new(Vendor::default()))
}

const CASES: [Case; 5] = [
    Case { stack: |ledger| stack(ledger, []), calls: 200, fault: None },
    Case {
        stack: |ledger| into_provider(ServiceBuilder::new().layer(ledger.requests()).service(client())),
        calls: 1,
        fault: Some((StackFault::NoAttemptsLayer, "put `ledger.attempts()` right above the client")),
    },
    Case {
        stack: |ledger| into_provider(ServiceBuilder::new().layer(ledger.attempts()).service(client())),
        calls: 100,
        fault: Some((StackFault::NoRequestsLayer, "put `ledger.requests()` on top of the stack")),
    },
    Case {
        stack: |ledger| {
            let stack = ServiceBuilder::new().layer(ledger.requests()).layer(ledger.attempts());
            into_provider(stack.layer(ledger.attempts()).service(client()))
        },
        calls: 1,
        fault: Some((StackFault::TwoAttemptsLayers, "attempts are booked twice")),
    },
    Case {
        stack: |ledger| stack(ledger, [Plan { sent: false, ..Plan::default() }]),
        calls: 1,
        fault: Some((StackFault::UnmarkedCalls, "call it before sending")),
    },
];

#[tokio::test]
async fn stack_faults_are_named_in_the_snapshot() {
    for Case { stack, calls, fault } in CASES {
        let ledger = ledger();
        let provider = stack(&ledger);
        for _ in 0..calls {
            provider.chat(call("acme")).await.unwrap();
        }
        let snapshot = ledger.snapshot();
        let faults: Vec<_> = snapshot.stack_faults().collect();
        assert_eq!(faults, fault.iter().map(|(fault, _)| *fault).collect::<Vec<_>>());
        let text = snapshot.to_string();
        assert!(fault.is_none_or(|(_, way_out)| text.contains(way_out)), "{text}");
        assert_eq!(text.contains("stack: "), fault.is_some(), "{text}");
    }
}
