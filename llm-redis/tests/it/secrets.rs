//! The secrets of a URL appear in no output, whatever fails.

use llm_redis::{Command, Event, Redis};
use llm_testkit::{Traces, redis::RedisServer};

use crate::{builder, wait_for};

const USER: &str = "us3r-n4me";
const PASSWORD: &str = "p4ssw0rd";

#[tokio::test]
async fn secrets_appear_in_no_output() {
    let traces = Traces::record();
    let mut seen = String::new();

    let mut server = RedisServer::builder().line(&format!("user {USER} on >{PASSWORD} ~* &* +@all -get")).spawn();
    let right = format!("redis://{USER}:{PASSWORD}@127.0.0.1:{}", server.port());
    let wrong = format!("redis://{USER}:{PASSWORD}x@127.0.0.1:{}", server.port());
    let scheme = format!("http://{USER}:{PASSWORD}@127.0.0.1");
    let path = format!("redis://{USER}:{PASSWORD}@127.0.0.1/{PASSWORD}?key={PASSWORD}");
    for url in [scheme, path] {
        let error = Redis::builder(&url).spawn().unwrap_err();
        seen += &format!("{:?} {error} {error:?}", Redis::builder(&url));
    }
    for url in [wrong, right] {
        let redis = builder(&url).spawn().unwrap();
        let mut events = redis.events();
        let key = redis.key_space().tag("p").key("k");
        let error = redis.run(Command::get(&key)).await.unwrap_err();
        seen += &format!("{error} {error:?} {redis:?} {:?} {:?}", redis.health(), redis.stats());
        if redis.health().outage.is_none() {
            // A server that repeats what it received.
            let error = redis.run(Command::new("NOSUCH", &key).arg(PASSWORD)).await.unwrap_err();
            let script = llm_redis::Script::new("return redis.error_reply(ARGV[1])");
            let said = redis.run(script.with_keys(&[&key]).arg(format!("ERR {USER} {PASSWORD}"))).await.unwrap_err();
            seen += &format!("{error} {error:?} {said} {said:?}");
            server.kill();
        }
        let outage = wait_for(&mut events, |event| matches!(event, Event::Unavailable(_))).await;
        seen += &format!("{outage:?} {:?}", redis.run(Command::get(&key)).await);
    }
    seen += &format!("{:?}", traces.take());
    assert!(
        seen.contains("redis is unavailable") && seen.contains("127.0.0.1"),
        "there is something to look through: {seen}"
    );
    for secret in [USER, PASSWORD] {
        assert!(!seen.contains(secret), "{secret} in {seen}");
    }
}
