//! Subscriptions: messages may be lost, but each loss that the client can detect is reported.

use std::time::Duration;

use llm_redis::{Command, ErrorKind, Notification, Redis, Script, Subscription};
use llm_testkit::redis::RedisServer;
use tokio::time::timeout;

use crate::{answered, builder, open};

async fn next(subscription: &mut Subscription) -> Notification {
    let wake = timeout(Duration::from_secs(20), subscription.next()).await.expect("a wake-up comes");
    wake.expect("the handle is open")
}

fn message(text: &'static str) -> Notification {
    Notification::Message(text.into())
}

async fn publish(redis: &Redis, text: &str) -> i64 {
    let channel = redis.key_space().tag("p").key("channel");
    redis.run(Command::publish(&channel, text)).await.unwrap().into_int().unwrap()
}

#[tokio::test]
async fn subscription_receives_messages_of_every_process() {
    let server = RedisServer::spawn();
    let (here, there) = (open(&server.url()), open(&server.url()));
    let channel = here.key_space().tag("p").key("channel");
    let mut subscriptions = vec![here.subscribe(&channel).unwrap(), there.subscribe(&channel).unwrap()];
    for subscription in &mut subscriptions {
        assert_eq!(next(subscription).await, Notification::Recheck, "the first notification");
    }
    subscriptions.push(here.subscribe(&channel).unwrap());
    assert_eq!(next(&mut subscriptions[2]).await, Notification::Recheck, "also where the channel is live already");
    assert_eq!(publish(&there, "one").await, 2, "one subscription for each process");
    let script = Script::new("return redis.call('PUBLISH', KEYS[1], 'two')");
    here.run(script.with_keys(&[&channel])).await.unwrap();
    for subscription in &mut subscriptions {
        assert_eq!(next(subscription).await, message("one"));
        assert_eq!(next(subscription).await, message("two"));
    }
    assert_eq!((here.stats().messages, here.stats().notifications_dropped), (2, 0));
}

#[tokio::test]
async fn subscription_rechecks_after_reconnect_and_restart() {
    let mut server = RedisServer::spawn();
    let redis = open(&server.url());
    let channel = redis.key_space().tag("p").key("channel");
    let mut subscription = redis.subscribe(&channel).unwrap();
    assert_eq!(next(&mut subscription).await, Notification::Recheck);
    server.command(&["CLIENT", "KILL", "TYPE", "pubsub"]).unwrap();
    assert_eq!(next(&mut subscription).await, Notification::Recheck);
    publish(&redis, "after the break").await;
    assert_eq!(next(&mut subscription).await, message("after the break"));
    server.restart();
    assert_eq!(next(&mut subscription).await, Notification::Recheck);
    answered(&redis, &channel).await;
    publish(&redis, "after the restart").await;
    assert_eq!(next(&mut subscription).await, message("after the restart"));
}

#[tokio::test]
async fn channel_capacity_overflow_yields_recheck() {
    let server = RedisServer::spawn();
    let redis = builder(&server.url()).channel_capacity(2).spawn().unwrap();
    let channel = redis.key_space().tag("p").key("channel");
    let mut subscription = redis.subscribe(&channel).unwrap();
    assert_eq!(next(&mut subscription).await, Notification::Recheck);
    for text in ["one", "two", "three", "four"] {
        publish(&redis, text).await;
    }
    while redis.stats().messages < 4 {
        tokio::task::yield_now().await;
    }
    assert_eq!(next(&mut subscription).await, Notification::Recheck);
    assert_eq!(next(&mut subscription).await, message("one"));
    assert_eq!(next(&mut subscription).await, message("two"));
    assert_eq!(redis.stats().notifications_dropped, 2);
    publish(&redis, "five").await;
    assert_eq!(next(&mut subscription).await, message("five"));
}

#[tokio::test]
async fn subscription_drop_unsubscribes() {
    let server = RedisServer::spawn();
    let redis = open(&server.url());
    let channel = redis.key_space().tag("p").key("channel");
    for _ in 0..3 {
        let mut subscription = redis.subscribe(&channel).unwrap();
        assert_eq!(next(&mut subscription).await, Notification::Recheck);
        drop(subscription);
        while publish(&redis, "to no subscriber").await > 0 {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(redis.health().channels, 0);
}

#[tokio::test]
async fn max_channels_exceeded_is_refused() {
    let server = RedisServer::spawn();
    let redis = builder(&server.url()).max_channels(1).spawn().unwrap();
    let tag = redis.key_space().tag("p");
    let first = redis.subscribe(&tag.key("a")).unwrap();
    assert_eq!(redis.subscribe(&tag.key("b")).unwrap_err().kind(), ErrorKind::Busy);
    let _again = redis.subscribe(&tag.key("a")).unwrap();
    drop(first);
    assert_eq!(redis.subscribe(&tag.key("b")).unwrap_err().kind(), ErrorKind::Busy);
}
