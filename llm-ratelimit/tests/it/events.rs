//! Tests of alerts about used limits, and of the webhook that posts them.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use llm_ratelimit::{Event, Form, Webhook};

use crate::support::{DAY, ask, limits, noon, used};

#[test]
fn alert_shares_by_default_are_three() {
    let clock = noon();
    let told = Arc::new(Mutex::new(Vec::new()));
    let sink = {
        let told = Arc::clone(&told);
        move |event: &Event| told.lock().unwrap().push((event.percent, event.subject.join(","), event.spent))
    };
    let limiter = limits(["100 tokens/day"]).clock(clock.clone()).sink(sink).build().unwrap();
    let take =
        |tenant: &str, tokens| limiter.try_reserve(&ask(tenant).tokens(tokens, 0)).unwrap().settle(used(tokens, 0));
    drop(limiter.try_reserve(&ask("a").tokens(100, 0)).unwrap());
    assert!(told.lock().unwrap().is_empty(), "what is only reserved is not spent");
    for _ in 0..10 {
        take("a", 10);
    }
    take("b", 85);
    let a = |percent, spent| (percent, "a".to_owned(), spent);
    let b = |percent, spent| (percent, "b".to_owned(), spent);
    assert_eq!(std::mem::take(&mut *told.lock().unwrap()), [a(50, 50), a(80, 80), a(100, 100), b(50, 85), b(80, 85)]);
    clock.advance(DAY);
    take("a", 60);
    take("a", 10);
    assert_eq!(*told.lock().unwrap(), [a(50, 60)]);
}

#[test]
fn event_names_the_catch_all_account() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let sink = {
        let told = Arc::clone(&told);
        move |event: &Event| told.lock().unwrap().push(event.text())
    };
    let limiter = limits(["10/day"]).clock(noon()).max_accounts(1).sink(sink).build().unwrap();
    for n in 0..1_000 {
        let _ = limiter.try_reserve(&ask(&n.to_string())).map(|call| call.settle(used(0, 0)));
    }
    let told = told.lock().unwrap();
    assert!(told.contains(&"100% of 10 requests/day per tenant is used by (all others)".to_owned()), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn webhook_posts_json_and_bounds_queue() {
    for (form, field) in [(Form::Slack, "text"), (Form::Telegram { chat: "42".into() }, "chat_id")] {
        let posted = Arc::new(Mutex::new(Vec::<serde_json::Value>::new()));
        let webhook = Webhook::spawn(form, {
            let posted = Arc::clone(&posted);
            move |json| {
                posted.lock().unwrap().push(serde_json::from_str(&json).unwrap());
                async { true }
            }
        })
        .unwrap();
        let limiter = limits(["100 tokens/day"]).clock(noon()).sink(Arc::clone(&webhook)).build().unwrap();
        limiter.try_reserve(&ask("acme").tokens(80, 0)).unwrap().settle(used(80, 0));
        webhook.close().await;
        let posted = posted.lock().unwrap();
        assert_eq!(posted.len(), 2);
        assert!(posted[1][field].is_string() && posted[1]["text"].as_str().unwrap().contains("80% of 100 tokens/day"));
    }
    let posted = Arc::new(Mutex::new(String::new()));
    let webhook = Webhook::spawn(Form::Slack, {
        let posted = Arc::clone(&posted);
        move |json| {
            *posted.lock().unwrap() = json;
            async { true }
        }
    })
    .unwrap();
    let limiter = limits(["100 tokens/day"]).clock(noon()).sink(Arc::clone(&webhook)).build().unwrap();
    limiter.try_reserve(&ask("<!channel> & co").tokens(50, 0)).unwrap().settle(used(50, 0));
    webhook.close().await;
    assert!(posted.lock().unwrap().contains("&lt;!channel&gt; &amp; co"), "a tenant's name calls nobody");
    let stuck = Webhook::spawn(Form::Slack, |_| std::future::pending()).unwrap();
    let limiter = limits(["1/day"]).clock(noon()).sink(Arc::clone(&stuck)).build().unwrap();
    for n in 0..200 {
        limiter.try_reserve(&ask(&n.to_string())).unwrap().settle(used(0, 0));
    }
    assert!(stuck.lost() >= 600 - Webhook::QUEUE as u64 - 1, "{}", stuck.lost());
    tokio::time::timeout((Webhook::TIMEOUT + Duration::from_secs(1)) * 300 + Duration::from_secs(1), stuck.close())
        .await
        .unwrap();
    assert_eq!(stuck.lost(), 600);
}

#[tokio::test(start_paused = true)]
async fn webhook_posts_at_the_chats_pace() {
    for (form, seconds) in [(Form::Slack, 1), (Form::Telegram { chat: "42".into() }, 3)] {
        let began = tokio::time::Instant::now();
        let posted = Arc::new(Mutex::new(Vec::new()));
        let webhook = Webhook::spawn(form, {
            let posted = Arc::clone(&posted);
            move |_| {
                posted.lock().unwrap().push(began.elapsed());
                async { true }
            }
        })
        .unwrap();
        let limiter = limits(["1/day"]).clock(noon()).sink(Arc::clone(&webhook)).build().unwrap();
        for tenant in ["a", "b"] {
            limiter.try_reserve(&ask(tenant)).unwrap().settle(used(0, 0));
        }
        webhook.close().await;
        let posted = posted.lock().unwrap();
        assert_eq!(posted.len(), 6, "three alert shares each");
        let apart = Duration::from_secs(seconds);
        assert!(posted.windows(2).all(|pair| pair[1] - pair[0] >= apart), "{posted:?}");
    }
}
