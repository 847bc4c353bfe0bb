//! Tests with two vendors, of which the first is down: the other vendor's model answers as a fallback.

use std::sync::Arc;

use llm_cache::{Cache, CacheLayer};
use llm_core::{
    Call, ChatRequest, ChatResponse, Error, ErrorKind, Provider, Reply, Usd, erase, into_provider, layer::NoFallback,
};
use llm_keypool::{KeyPool, Member};
use llm_providers::{Anthropic, Ledger, OpenAi, prices};
use llm_ratelimit::{Limiter, Plans, RateLimitLayer};
use llm_testkit::{Fault, RefusalKind, Rule, Vendor};
use tower::Layer;

const ASKED: &str = "gpt-4o-mini";
const STANDS_IN: &str = "claude-haiku-4-5";

struct Stack {
    openai: Vendor,
    anthropic: Vendor,
    ledger: Ledger,
    limiter: Limiter,
    provider: Arc<dyn Provider>,
}

/// Stack with a cache and a limiter above the pool, and the ledger's layer for attempts below it.
fn stack(refusal: RefusalKind) -> Stack {
    let (openai, anthropic) = (Vendor::new(), Vendor::new());
    openai.script(Rule::new(Fault::Refused(refusal)));
    let ledger = Ledger::new(prices::all());
    let limiter = Limiter::builder(Plans::uniform(["$10/day"]).unwrap()).prices(prices::all()).build().unwrap();
    let attempts = ledger.attempts();
    let first = attempts.layer(erase(OpenAi::with_transport("sk-a", openai.transport()).unwrap()));
    let second = attempts.layer(erase(Anthropic::with_transport("sk-b", anthropic.transport()).unwrap()));
    let second = Member::new("anthropic", second).tier(1).stands_in(ASKED, STANDS_IN);
    let pool = KeyPool::builder().member(Member::new("openai", first)).member(second).build().unwrap();
    let limited = RateLimitLayer::new(limiter.clone()).fallback_models(ASKED, [STANDS_IN]).layer(pool);
    let cached = CacheLayer::new(Cache::builder("test").build().unwrap()).layer(limited);
    let provider = into_provider(ledger.requests().layer(cached));
    Stack { openai, anthropic, ledger, limiter, provider }
}

fn request() -> ChatRequest {
    ChatRequest::new(ASKED).user("Name a test case.").max_output_tokens(50)
}

async fn ask(stack: &Stack, call: Call<ChatRequest>) -> Result<Reply<ChatResponse>, Error> {
    stack.provider.chat(call).await
}

#[tokio::test(start_paused = true)]
async fn stand_in_serves_marked_and_priced_replies() {
    // The refused attempt costs nothing.
    let stack = stack(RefusalKind::Overloaded);
    let mut cost = Usd::ZERO;
    for call in 1..=20 {
        let reply = ask(&stack, Call::new("acme", request())).await.unwrap();
        let accounting = reply.receipt.accounting();
        assert!(accounting.fallback && !reply.output.text().is_empty());
        assert_eq!(accounting.member.as_ref().map(|member| member.as_str()), Some("anthropic"));
        let priced = prices::all().cost(STANDS_IN, &accounting.usage.unwrap()).unwrap();
        assert_eq!(accounting.cost, Some(priced));
        cost += priced;
        assert_eq!(stack.anthropic.bills().len(), call, "nothing is stored");
    }
    // The limiter counts the cost of the model that answered, and the ledger that of each attempt.
    let counted = stack.limiter.usage("acme").await.iter().next().unwrap().used;
    assert_eq!(counted, u64::try_from(cost.nanos()).unwrap());
    let ledger = stack.ledger.snapshot();
    assert_eq!((ledger.total().paid, ledger.balance().is_balanced()), (cost, true));
    assert_eq!(ledger.total().attempts, 20 + stack.openai.calls());
    // Five failures open the breaker. Each call before that is sent to the other vendor at once.
    assert_eq!(stack.openai.calls(), 5);
}

#[tokio::test(start_paused = true)]
async fn no_fallback_fails_with_vendors_error() {
    let stack = stack(RefusalKind::ServerError);
    let mut call = Call::new("acme", request());
    call.extensions.insert(NoFallback);
    let error = ask(&stack, call).await.unwrap_err();
    assert_eq!((error.kind(), stack.anthropic.calls()), (ErrorKind::Server, 0));
}

#[tokio::test(start_paused = true)]
async fn stand_in_unable_returns_first_error() {
    let stack = stack(RefusalKind::ServerError);
    // The temperature is above the other vendor's range.
    let error = ask(&stack, Call::new("acme", request().temperature(1.5))).await.unwrap_err();
    assert_eq!((error.kind(), error.status(), stack.anthropic.calls()), (ErrorKind::Server, Some(500), 0), "{error}");
    assert_eq!(error.attempts().count() as u64, stack.openai.calls(), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn stand_in_ends_when_first_returns() {
    let stack = stack(RefusalKind::ServerError);
    for _ in 0..10 {
        ask(&stack, Call::new("acme", request())).await.unwrap();
    }
    stack.openai.clear_script();
    tokio::time::sleep(std::time::Duration::from_secs(6)).await;
    let reply = ask(&stack, Call::new("acme", request())).await.unwrap();
    assert!(!reply.receipt.accounting().fallback);
}
