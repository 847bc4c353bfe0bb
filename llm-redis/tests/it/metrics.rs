//! Metrics, as a recorder receives them.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use llm_redis::{Command, Event};
use llm_testkit::redis::RedisServer;
use metrics::{Counter, CounterFn, Gauge, GaugeFn, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

use crate::{builder, wait_for};

/// Recorded values by name and labels.
#[derive(Clone, Default)]
struct Values(Arc<Mutex<BTreeMap<String, f64>>>);

struct Entry(Values, String);

impl Entry {
    fn write(&self, change: impl FnOnce(&mut f64)) {
        change(self.0.0.lock().expect("no writer panics").entry(self.1.clone()).or_default());
    }
}

impl CounterFn for Entry {
    fn increment(&self, by: u64) {
        self.write(|value| *value += by as f64);
    }
    fn absolute(&self, to: u64) {
        self.write(|value| *value = to as f64);
    }
}

impl GaugeFn for Entry {
    fn increment(&self, by: f64) {
        self.write(|value| *value += by);
    }
    fn decrement(&self, by: f64) {
        self.write(|value| *value -= by);
    }
    fn set(&self, to: f64) {
        self.write(|value| *value = to);
    }
}

impl Values {
    fn entry(&self, key: &Key) -> Arc<Entry> {
        let labels: Vec<_> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        Arc::new(Entry(self.clone(), format!("{}[{}]", key.name(), labels.join(","))))
    }
}

impl Recorder for Values {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.entry(key))
    }
    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.entry(key))
    }
    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[tokio::test]
async fn metrics_count_calls_and_outages() {
    let values = Values::default();
    let _guard = metrics::set_default_local_recorder(&values);
    let mut server = RedisServer::spawn();
    let redis = builder(&server.url()).instance("shop").spawn().unwrap();
    let mut events = redis.events();
    let key = redis.key_space().tag("p").key("k");
    redis.run(Command::get(&key)).await.unwrap();
    let read = |name: &str| values.0.lock().unwrap().get(name).copied();
    assert_eq!(read("llm_redis_up[instance=shop]"), Some(1.0));
    server.kill();
    wait_for(&mut events, |event| matches!(event, Event::Unavailable(_))).await;
    redis.run(Command::get(&key)).await.unwrap_err();
    assert_eq!(read("llm_redis_up[instance=shop]"), Some(0.0));
    assert_eq!(read("llm_redis_unavailable_total[instance=shop]"), Some(1.0));
    assert_eq!(read("llm_redis_calls_total[instance=shop,outcome=ok]"), Some(1.0));
    assert_eq!(read("llm_redis_calls_total[instance=shop,outcome=unavailable]"), Some(1.0));
}
