//! The log path from outside: requests in, records out of Kafka. `TOLLGATE_TEST_KAFKA=HOST:PORT` names a real one; without it
//! each test has a dev broker.

#[path = "../support/mod.rs"]
mod support;

mod ack_before_response;
mod arrays;
mod bad_input;
mod bodies;
mod changes;
mod choosing;
mod counts;
mod default_entry;
mod draining;
mod entries;
mod formats;
mod held;
mod kept;
mod panics;
mod partitions;
mod security;
mod spooling;
mod stopping;
mod survival;
mod trouble;
mod visible;

use serde_json::{Value, json};
use tollgate::control::records::Record;

use support::kafka::{entries, new_topic};
use support::{Gateway, Kafka, Setup, Upstream};

/// A gateway that logs everything to one topic.
struct Logged {
    gateway: Gateway,
    kafka: Kafka,
    topic: String,
    upstream: Upstream,
}

impl Logged {
    /// One message per request, and what `plugin` says besides.
    fn with(plugin: &Value) -> Self {
        Self::on(&Setup::default(), Upstream::saying("hello"), plugin)
    }

    /// The same with a setup and an upstream of the test's own.
    fn on(setup: &Setup, upstream: Upstream, plugin: &Value) -> Self {
        let logged = Self::without_route(setup, upstream);
        logged.put_route(plugin);
        logged
    }

    /// The same before anything logs: nobody has asked for the topic yet.
    fn without_route(setup: &Setup, upstream: Upstream) -> Self {
        Self { gateway: Gateway::start_with(setup), kafka: Kafka::start(), topic: new_topic(), upstream }
    }

    /// Attributes of the plugin: one message per request to our topic, and what `more` says.
    fn attributes(&self, more: &Value) -> Value {
        let mut attributes = json!({"brokers": self.kafka.brokers(), "kafka_topic": self.topic, "batch_max_size": 1});
        for (key, value) in more.as_object().expect("attributes") {
            attributes[key] = value.clone();
        }
        attributes
    }

    /// `plugins` of an object, with these attributes.
    fn plugins(&self, more: &Value) -> Value {
        json!({"kafka-logger": self.attributes(more)})
    }

    /// A route for everything to our upstream, with what `more` says.
    fn route(&self, more: &Value) -> Value {
        let upstream = json!({"type": "roundrobin", "nodes": {self.upstream.node(): 1}});
        let mut route = json!({"uri": "/*", "upstream": upstream});
        for (key, value) in more.as_object().expect("a route") {
            route[key] = value.clone();
        }
        route
    }

    /// Puts an object; panics if it is refused.
    fn put(&self, path: &str, object: &Value) {
        self.gateway.admin().put(path, object);
    }

    /// Puts the route anew, with other attributes of the plugin.
    fn put_route(&self, plugin: &Value) {
        self.put("routes/r1", &self.route(&json!({"plugins": self.plugins(plugin)})));
    }

    /// Ends the gateway as an operator does; everything it accepted must be in Kafka then.
    fn stop(&mut self) {
        self.gateway.terminate();
        let status = self.gateway.wait_end();
        assert_eq!(status.code(), Some(0), "nothing was lost:\n{}", self.gateway.log());
    }

    /// Ends the gateway and gives the Kafka with the topic.
    fn finish_at(mut self) -> (Kafka, String) {
        self.stop();
        (self.kafka, self.topic)
    }

    /// Ends the gateway and gives what is in Kafka then.
    fn finish(self) -> Vec<Record> {
        let (kafka, topic) = self.finish_at();
        kafka.records(&topic)
    }

    /// Ends the gateway and gives the entries that are in Kafka then, each partition's in order.
    fn finish_entries(self) -> Vec<Value> {
        entries(&self.finish())
    }

    /// Ends the gateway and gives the only entry that is in Kafka then.
    fn only_entry(self) -> Value {
        let mut entries = self.finish_entries();
        assert_eq!(entries.len(), 1, "{entries:?}");
        entries.remove(0)
    }
}
