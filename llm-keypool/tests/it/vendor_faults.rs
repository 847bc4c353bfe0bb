//! Tests of details in vendors' refusals: permissions by model, 429s without headers, and waiting times of days, each
//! read by a client.

use std::{sync::Arc, time::Duration};

use llm_core::{Call, ChatRequest, Provider, erase, into_provider, layer::ProviderService};
use llm_keypool::{KeyPool, Member, PoolStatus, Reason};
use llm_providers::{Anthropic, OpenAi};
use llm_testkit::{Fault, RefusalKind, RetryForm, Rule, Vendor};
use tokio::time::{Instant, sleep};

const MINUTE: Duration = Duration::from_secs(60);

type Client = ProviderService<dyn Provider>;

/// Returns a pool of three keys, each of a group of its own.
fn pool(client: impl Fn(&str) -> Client) -> KeyPool<Client> {
    let members = ["sk-a", "sk-b", "sk-c"].map(|key| Member::new(key.replace("sk", "member"), client(key)));
    KeyPool::builder().members(members).seed(7).build().unwrap()
}

/// Returns pools over the vendor's formats of OpenAI and Anthropic.
fn pools(vendor: &Vendor) -> [KeyPool<Client>; 2] {
    let openai = |key: &str| erase(OpenAi::with_transport(key, vendor.transport()).unwrap());
    let anthropic = |key: &str| erase(Anthropic::with_transport(key, vendor.transport()).unwrap());
    [pool(openai), pool(anthropic)]
}

/// Makes a call, which must be served in one piece or as a stream.
async fn serve(pool: &KeyPool<Client>, model: &str, streams: bool) {
    let provider: Arc<dyn Provider> = into_provider(pool.clone());
    let call = Call::new("acme", ChatRequest::new(model).user("hello"));
    let response = match streams {
        true => provider.chat_stream(call).await.unwrap().output.complete().await.unwrap(),
        false => provider.chat(call).await.unwrap().output,
    };
    assert!(!response.text().is_empty());
}

/// Returns the reasons and models of all parkings.
fn parked(status: &PoolStatus) -> Vec<(Reason, Option<Arc<str>>)> {
    let of_members = status.members.iter().flat_map(|member| &member.parked);
    let of_groups = status.groups.iter().flat_map(|group| &group.parked);
    of_members.chain(of_groups).map(|parked| (parked.reason, parked.model.clone())).collect()
}

#[tokio::test(start_paused = true)]
async fn fault_of_model_spares_other_models() {
    for (fault, reason) in [
        (Fault::Refused(RefusalKind::Forbidden), Reason::Forbidden),
        (Fault::Refused(RefusalKind::NoAccess), Reason::NotFound),
        (Fault::Throttled, Reason::RateLimited),
        (Fault::rate_limited(Duration::from_secs(30), RetryForm::Seconds), Reason::RateLimited),
        (Fault::day_limited(156 * 60 * MINUTE), Reason::RateLimited),
    ] {
        for streams in [false, true] {
            let vendor = Vendor::new();
            vendor.script(Rule::new(fault.clone()).key("sk-a").model("m"));
            for pool in pools(&vendor) {
                for model in ["m", "n"] {
                    for _ in 0..12 {
                        serve(&pool, model, streams).await;
                    }
                }
                let status = pool.status();
                assert_eq!(parked(&status), [(reason, Some("m".into()))], "{fault:?}");
                // There were twenty-four calls, and one of them was moved.
                let attempts = status.members.iter().map(|member| member.attempts);
                assert!(status.members[0].attempts > 1 && attempts.sum::<u64>() == 25, "{fault:?} {status:?}");
            }
        }
    }
}

/// If a key may not use two models, the pool assumes that it may use none.
#[tokio::test(start_paused = true)]
async fn forbidden_models_park_their_key() {
    for (kind, is_parked) in [(RefusalKind::Forbidden, true), (RefusalKind::NoAccess, false)] {
        let vendor = Vendor::new();
        vendor.script(Rule::new(Fault::Refused(kind)).key("sk-a"));
        for pool in pools(&vendor) {
            for model in ["m", "n", "o"] {
                for _ in 0..12 {
                    serve(&pool, model, false).await;
                }
            }
            let is_whole_key = parked(&pool.status()).iter().any(|(_, model)| model.is_none());
            assert_eq!(is_whole_key, is_parked, "{kind:?}");
            assert_eq!(pool.status().members[0].attempts, if is_parked { 2 } else { 3 });
        }
    }
}

/// The vendor states a waiting time of days in each of its headers, and serves calls again after ten minutes.
#[tokio::test(start_paused = true)]
async fn hint_of_days_is_probed_quarterly() {
    for (index, name) in ["openai", "anthropic"].iter().enumerate() {
        let vendor = Vendor::new();
        vendor.script(Rule::new(Fault::day_limited(156 * 60 * MINUTE)).key("sk-a"));
        let pool = &pools(&vendor)[index];
        let (start, mut attempts) = (Instant::now(), Vec::new());
        while start.elapsed() < 31 * MINUTE {
            if start.elapsed() >= 10 * MINUTE {
                vendor.clear_script();
            }
            let before = pool.status().members[0].attempts;
            serve(pool, "m", false).await;
            if pool.status().members[0].attempts > before {
                attempts.push(start.elapsed());
            }
            sleep(Duration::from_secs(5)).await;
        }
        let quarter = 15 * MINUTE..16 * MINUTE;
        assert!(attempts[0] < MINUTE && quarter.contains(&attempts[1]), "{name}: {attempts:?}");
        assert!(attempts.len() > 20 && parked(&pool.status()).is_empty(), "{name}: {attempts:?}");
    }
}

/// All keys of the vendor are overloaded, and the retry budget bounds the number of attempts.
#[tokio::test(start_paused = true)]
async fn overload_of_all_keys_is_bounded() {
    let vendor = Vendor::new();
    vendor.script(Rule::new(Fault::Refused(RefusalKind::Overloaded)));
    let [_, anthropic] = pools(&vendor);
    let provider: Arc<dyn Provider> = into_provider(anthropic.clone());
    let calls = 100;
    for _ in 0..calls {
        let call = Call::new("acme", ChatRequest::new("m").user("hello"));
        assert!(provider.chat(call).await.is_err());
        sleep(Duration::from_millis(600)).await;
    }
    assert!(vendor.statuses()[&529] <= calls * 11 / 10 + 10, "{:?}", vendor.statuses());
    vendor.clear_script();
    // A breaker opens for at most a minute.
    sleep(MINUTE).await;
    serve(&anthropic, "m", true).await;
}
