//! The log path from outside: requests in, records out of Kafka. `TOLLGATE_TEST_KAFKA=HOST:PORT` names a real one; without it
//! each test has a dev broker.

#[path = "../support/mod.rs"]
mod support;

mod counts;
mod entries;
mod trouble;

use serde_json::{Value, json};

use support::kafka::new_topic;
use support::{Gateway, Kafka, Setup, Upstream};

/// A gateway that logs everything to one topic.
struct Logged {
    gateway: Gateway,
    kafka: Kafka,
    topic: String,
    _upstream: Upstream,
}

impl Logged {
    /// One message per request, and what `plugin` says besides.
    fn with(plugin: &Value) -> Self {
        Self::on(&Setup::default(), Upstream::saying("hello"), plugin)
    }

    /// The same with a setup and an upstream of the test's own.
    fn on(setup: &Setup, upstream: Upstream, plugin: &Value) -> Self {
        let logged = Self {
            gateway: Gateway::start_with(setup),
            kafka: Kafka::start(),
            topic: new_topic(),
            _upstream: upstream,
        };
        logged.put_route(plugin);
        logged
    }

    /// Puts the route anew, with other attributes of the plugin.
    fn put_route(&self, plugin: &Value) {
        let mut attributes = json!({"brokers": self.kafka.brokers(), "kafka_topic": self.topic, "batch_max_size": 1});
        for (key, value) in plugin.as_object().expect("attributes") {
            attributes[key] = value.clone();
        }
        let upstream = json!({"type": "roundrobin", "nodes": {self._upstream.node(): 1}});
        let route = json!({"uri": "/*", "upstream": upstream, "plugins": {"kafka-logger": attributes}});
        self.gateway.admin().put("routes/r1", &route);
    }

    /// Ends the gateway as an operator does and gives what is in Kafka then; everything must be.
    fn finish(mut self) -> Vec<tollgate::control::records::Record> {
        self.gateway.terminate();
        let status = self.gateway.wait_end();
        assert_eq!(status.code(), Some(0), "nothing was lost:\n{}", self.gateway.log());
        self.kafka.records(&self.topic)
    }
}
