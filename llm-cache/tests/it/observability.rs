//! Tests of the cache's spans and events.

use std::time::Duration;

use llm_cache::{Background, Cache, Directive, Key, Verification};
use llm_core::{Call, ChatRequest, EmbedRequest, ErrorKind, ManualClock};
use llm_testkit::Traces;

use crate::upstream::{HEAD, Upstream, provider, read};

const HOUR: Duration = Duration::from_secs(3600);

fn question() -> ChatRequest {
    ChatRequest::new("m").user("a secret question")
}

fn ask() -> Call<ChatRequest> {
    Call::new("a-secret-tenant", question()).with_label("prompt", "secret-7").expect("a short label")
}

#[test]
fn spans_record_status_without_content() {
    let traces = Traces::record();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let mut all = Vec::new();
    let mut expect_span = |operation: &str, status: &str, detail: &str| {
        let lines = traces.take_fields();
        let status = format!("llm.cache.status={status}");
        for wanted in [format!("llm.operation={operation}"), status, format!("llm.cache.detail=llm-cache; {detail}")] {
            assert!(lines.contains(&wanted), "{wanted} is not among {lines:?}");
        }
        all.extend(lines);
    };
    runtime.block_on(async {
        let (upstream, clock) = (Upstream::default(), ManualClock::default());
        let builder = Cache::builder("t").ttl(HOUR).stale_if_error(9 * HOUR);
        let builder = builder
            .background(Background::new(2).revalidate(HOUR).verify(Verification::percent(100)))
            .negative_ttl(HOUR);
        let cache = builder.clock(clock.clone()).build().unwrap();
        let provider = provider(&upstream, &cache);
        let wish = |directive: Directive| {
            let mut call = ask();
            call.extensions.insert(directive);
            call
        };

        provider.chat(ask()).await.unwrap();
        expect_span("chat", "miss", "fwd=uri-miss");
        provider.chat(ask()).await.unwrap();
        expect_span("chat", "hit", "hit; detail=\"memory, 0 s old\"");
        read(provider.chat_stream(ask()).await.unwrap().output).await.unwrap();
        expect_span("chat", "hit", "hit; detail=\"memory, 0 s old\"");
        provider.chat(wish(Directive::new().no_store())).await.unwrap();
        expect_span("chat", "bypass", "fwd=bypass; detail=no-store");
        cache.clear().await.unwrap();
        let (led, joined) = tokio::join!(provider.chat_stream(ask()), async {
            tokio::time::sleep(HEAD / 2).await;
            provider.chat_stream(ask()).await
        });
        tokio::try_join!(read(led.unwrap().output), read(joined.unwrap().output)).unwrap();
        expect_span("chat", "coalesced", "fwd=miss; collapsed");
        clock.advance(HOUR);
        provider.chat(ask()).await.unwrap();
        expect_span("chat", "stale", "hit; detail=\"memory, 3600 s old, stale: revalidating\"");
        cache.close().await.unwrap();
        clock.advance(2 * HOUR);
        *upstream.fail.lock().unwrap() = Some(ErrorKind::Server);
        provider.chat(ask()).await.unwrap();
        expect_span("chat", "stale", "fwd=stale; detail=\"memory, 7200 s old, stale: the call failed\"");

        let texts = ["a secret text", "another secret text"];
        let embed = || provider.embed(Call::new("a-secret-tenant", EmbedRequest::new("e", texts)));
        *upstream.fail.lock().unwrap() = Some(ErrorKind::InvalidRequest);
        embed().await.unwrap_err();
        expect_span("embed", "unseen", "fwd=bypass; detail=unseen");
        cache.clear().await.unwrap();
        for (status, detail) in
            [("unseen", "fwd=bypass; detail=unseen"), ("negative", "hit; detail=\"negative, 0 s ago\"")]
        {
            provider.chat(ask()).await.unwrap_err();
            expect_span("chat", status, detail);
        }
    });
    let key = format!("{:?}", Key::of_operation("t", "a-secret-tenant", &question()));
    let digest = key.trim_start_matches("Key(").trim_end_matches(')');
    for line in all.iter().chain(&traces.take_fields()) {
        assert!(!line.contains("secret") && !line.contains(digest), "{line}");
    }
}
