//! APISIX's sentences, as literals.

use serde_json::json;

use super::*;
use crate::config::documents::Documents;

fn route(change: Value) -> Result<(), String> {
    let mut route = json!({"uri": "/*", "upstream": {"type": "roundrobin", "nodes": {"127.0.0.1:1980": 1}}});
    crate::config::patch::merge(&mut route, change);
    check(Kind::Route, "r1", &route)
}

fn logger(change: Value) -> Result<(), String> {
    let mut logger = json!({"broker_list": {"127.0.0.1": 9092}, "kafka_topic": "test"});
    crate::config::patch::merge(&mut logger, change);
    let text = route(json!({"plugins": {"kafka-logger": logger}})).err();
    text.map_or(Ok(()), |text| {
        let tail = text.strip_prefix("failed to check the configuration of plugin kafka-logger err: ");
        Err(tail.unwrap_or_else(|| panic!("no prefix: {text}")).to_owned())
    })
}

fn err(text: &str) -> Result<(), String> {
    Err(text.into())
}

#[test]
fn the_tutorials_objects_pass() {
    let route = json!({"uri": "/*", "plugins": {"kafka-logger": {"batch_max_size": 1, "broker_list": {"127.0.0.1": 9092},
        "disable": false, "kafka_topic": "test", "producer_type": "sync"}},
        "upstream": {"nodes": {"httpbin.org:80": 1}, "type": "roundrobin"}});
    assert_eq!(check(Kind::Route, "r1", &route), Ok(()));
    let route = json!({"methods": ["GET"], "uri": "/hello", "plugins": {},
        "upstream": {"type": "roundrobin", "nodes": {"127.0.0.1:1980": 1}}});
    assert_eq!(check(Kind::Route, "1", &route), Ok(()));
    let metadata = json!({"log_format": {"host": "$host", "@timestamp": "$time_iso8601"}});
    assert_eq!(check(Kind::PluginMetadata, "kafka-logger", &metadata), Ok(()));
}

#[test]
fn plugin_attributes_are_refused_in_apisix_words() {
    assert_eq!(
        logger(json!({"broker_list": {"127.0.0.1": 0}})),
        err(
            "property \"broker_list\" validation failed: failed to validate 127.0.0.1 (matching \".*\"): expected 0 to be at least 1"
        )
    );
    assert_eq!(
        logger(json!({"brokers": [{"host": "a", "port": 1}]})),
        err("value should match only one schema, but matches both schemas 1 and 2")
    );
    assert_eq!(logger(json!({"broker_list": null})), err("value should match only one schema, but matches none"));
    assert_eq!(
        logger(json!({"broker_list": null, "brokers": [{"host": "a", "port": 1, "sasl_config": {"user": "u"}}]})),
        err("property \"brokers\" validation failed: failed to validate item 1: \
             property \"sasl_config\" validation failed: property \"password\" is required")
    );
    assert_eq!(
        logger(json!({"tls": {"verify": "yes"}})),
        err("property \"tls\" validation failed: property \"verify\" validation failed: \
             wrong type: expected boolean, got string")
    );
    assert_eq!(
        logger(json!({"required_acks": 0})),
        err("property \"required_acks\" validation failed: matches none of the enum values")
    );
    assert_eq!(
        logger(json!({"_meta": {"x": 1}})),
        err("property \"_meta\" validation failed: additional properties forbidden, found x")
    );
    assert_eq!(
        logger(json!({"include_req_body_expr": [["arg_name", "<>", "a"]]})),
        err("failed to validate the 'include_req_body_expr' expression: invalid operator '<>'")
    );
    assert_eq!(logger(json!({"required_acks": -1, "compression": "zstd", "partitioner": "crc32"})), Ok(()));
}

#[test]
fn attributes_of_held_responses_have_bounds() {
    let refused = |name: &str, value: Value| logger(json!({"ack_before_response": true, name: value})).unwrap_err();
    let bounds = |name: &str| format!("property \"{name}\" validation failed: ");
    assert_eq!(refused("hold_bytes", json!(0)), format!("{}expected 0 to be at least 1", bounds("hold_bytes")));
    for (name, value) in [("hold_bytes", json!(1_048_577)), ("ack_timeout", json!(0)), ("ack_timeout", json!(3_601))] {
        assert!(refused(name, value.clone()).starts_with(&bounds(name)), "{name} {value}");
    }
    assert_eq!(refused("on_log_failure", json!("drop")), bounds("on_log_failure") + "matches none of the enum values");
    let most = json!({"ack_before_response": true, "hold_bytes": 1, "ack_timeout": 0.2, "on_log_failure": "reject"});
    assert_eq!(logger(most), Ok(()));
}

#[test]
fn credentials_and_certificates_are_taken_if_they_can_be_used() {
    let brokers = |user: &str, password: &str| {
        let sasl = json!({"mechanism": "SCRAM-SHA-256", "user": user, "password": password});
        json!({"broker_list": null, "brokers": [{"host": "a", "port": 1}, {"host": "b", "port": 1, "sasl_config": sasl}]})
    };
    assert_eq!(logger(brokers("u", "p")), Ok(()));
    assert_eq!(
        logger(brokers("u", "")),
        err(
            "property \"brokers\" validation failed: failed to validate item 2: property \"sasl_config\" validation failed: \
             user and password must not be empty"
        )
    );
    let own = rcgen::generate_simple_self_signed(["kafka".to_owned()]).unwrap();
    let (certificate, key) = (own.cert.pem(), own.signing_key.serialize_pem());
    for tls in [json!({}), json!({"verify": true}), json!({"ca": certificate})] {
        assert_eq!(logger(json!({"tls": tls})), Ok(()), "{tls}");
    }
    assert_eq!(logger(json!({"tls": {"client_cert": certificate, "client_key": key}})), Ok(()));
    let other = rcgen::KeyPair::generate().unwrap().serialize_pem();
    for (tls, why) in [
        (json!({"ca": "no PEM"}), "property \"ca\" validation failed: no certificate in it"),
        (json!({"client_cert": certificate}), "property \"client_key\" is required"),
        (json!({"client_key": key}), "property \"client_cert\" is required"),
        (json!({"client_cert": certificate, "client_key": "secret words"}), "no PEM key in it"),
        (json!({"client_cert": certificate, "client_key": other}), "cannot be used"),
    ] {
        let said = logger(json!({"tls": tls})).unwrap_err();
        assert!(said.starts_with("property \"tls\" validation failed: ") && said.contains(why), "{said}");
        assert!(!said.contains("secret words") && !said.contains("BEGIN PRIVATE"), "{said}");
    }
}

#[test]
fn what_is_not_done_yet_is_refused_aloud() {
    let text = "is not supported by this version of Tollgate yet";
    let lua = logger(json!({"_meta": {"pre_function": "return function() end"}}));
    assert_eq!(lua, Err(format!("property \"_meta.pre_function\" {text}")));
    let reference = logger(json!({"kafka_topic": "$ENV://TOPIC"})).unwrap_err();
    assert!(reference.contains("kafka_topic") && reference.contains("does not resolve"), "{reference}");
    let tls = route(json!({"upstream": {"tls": {"client_cert_id": "1"}}})).unwrap_err();
    assert!(tls.contains("\"upstream.tls.client_cert_id\"") && tls.contains("supported"), "{tls}");
    assert!(route(json!({"filter_func": "function() end"})).unwrap_err().contains("Lua is not supported"));
}

#[test]
fn a_plugin_that_is_switched_off_may_be_wrong() {
    assert_eq!(logger(json!({"kafka_topic": 1, "_meta": {"disable": true}})), Ok(()));
    assert!(logger(json!({"kafka_topic": 1, "_meta": {"disable": false}})).is_err());
}

#[test]
fn unknown_plugins_and_plugins_that_are_no_objects_are_refused() {
    assert_eq!(route(json!({"plugins": {"kafka-loger": {}}})), err("unknown plugin [kafka-loger]"));
    assert_eq!(
        route(json!({"plugins": {"kafka-logger": "x"}})),
        err("invalid plugin conf \"x\" for plugin [kafka-logger]")
    );
}

#[test]
fn routes_are_refused_in_apisix_words() {
    assert_eq!(route(json!({"host": "a", "hosts": ["b"]})), err("only one of host or hosts is allowed"));
    assert_eq!(
        route(json!({"remote_addr": "1.1.1.1", "remote_addrs": ["1.1.1.1"]})),
        err("only one of remote_addr or remote_addrs is allowed")
    );
    assert_eq!(
        route(json!({"uri": null})),
        err("invalid configuration: allOf 1 failed: value should match only one schema, but matches none")
    );
    assert_eq!(
        route(json!({"service_protocol": "http"})),
        err("invalid configuration: additional properties forbidden, found service_protocol")
    );
    assert_eq!(
        route(json!({"vars": [["arg_name", "=", "json"]]})),
        err("failed to validate the 'vars' expression: invalid operator '='")
    );
    assert_eq!(
        check(Kind::Route, "a b", &json!({"uri": "/", "plugins": {}})),
        err("invalid configuration: property \"id\" validation failed: object matches none of the required")
    );
    assert_eq!(
        check(Kind::Route, "1", &json!([1])),
        err("invalid configuration: wrong type: expected object, got table")
    );
    for good in ["127.0.0.1", "10.0.0.0/8", "::1", "fe80::/10"] {
        assert_eq!(route(json!({"remote_addr": good})), Ok(()), "{good}");
    }
    assert!(route(json!({"remote_addr": "localhost"})).is_err());
}

#[test]
fn upstreams_are_refused_in_apisix_words() {
    let upstream = |change: Value| {
        let mut upstream = json!({"type": "roundrobin", "nodes": {"127.0.0.1:1980": 1}});
        crate::config::patch::merge(&mut upstream, change);
        check(Kind::Upstream, "1", &upstream)
    };
    let nodes = |nodes: Value| check(Kind::Upstream, "1", &json!({"nodes": nodes}));
    let unbracketed = "invalid configuration: IPv6 address must be enclosed with '[' and ']'";
    assert_eq!(nodes(json!({"::1": 1})), err(unbracketed));
    assert_eq!(nodes(json!([{"host": "::1", "port": 80, "weight": 1}])), err(unbracketed));
    assert_eq!(nodes(json!({"[::1]:80": 1, "[::1]": 1, "a": 1, "a:80": 0})), Ok(()));
    assert_eq!(nodes(json!({"a:65536": 1})), err("invalid port 65536"));
    assert_eq!(nodes(json!([])), Ok(()));
    assert_eq!(
        nodes(json!({"a:80": -1})),
        err("invalid configuration: property \"nodes\" validation failed: object matches none of the required")
    );
    assert_eq!(upstream(json!({"type": "chash"})), err("missing key"));
    let chash = |hash_on: &str, key: &str| upstream(json!({"type": "chash", "hash_on": hash_on, "key": key}));
    for (hash_on, key) in
        [("vars", "arg_a"), ("header", "X-User"), ("cookie", "sid"), ("vars_combinations", "$host$uri")]
    {
        assert_eq!(chash(hash_on, key), Ok(()), "{hash_on}");
    }
    assert_eq!(upstream(json!({"type": "chash", "hash_on": "consumer"})), Ok(()));
    assert_eq!(
        chash("header", "X User"),
        err("invalid configuration: failed to match pattern \"^[a-zA-Z0-9-_]+$\" with \"X User\"")
    );
    assert!(chash("vars", "request_id").unwrap_err().contains("failed to match pattern"), "not every variable");
    assert!(upstream(json!({"type": "fastest"})).unwrap_err().contains("`fastest` is not supported"));
    assert_eq!(upstream(json!({"checks": {"active": {"type": "tcp"}, "passive": {}}})), Ok(()));
    assert_eq!(
        upstream(json!({"pass_host": "rewrite"})),
        err("`upstream_host` can't be empty when `pass_host` is `rewrite`")
    );
    assert!(route(json!({"upstream": {"pass_host": "rewrite"}})).unwrap_err().starts_with("`upstream_host`"));
}

#[test]
fn times_are_the_servers() {
    assert_eq!(forbid_times(&json!({"uri": "/"})), Ok(()));
    assert_eq!(forbid_times(&json!({"create_time": 1})), err("the property is forbidden:  create_time"));
    assert_eq!(
        forbid_times(&json!({"upstream": {"create_time": 1}})),
        err("the property is forbidden:  upstream.create_time")
    );
    assert_eq!(route(json!({"create_time": 1, "update_time": 2})), Ok(()));
}

#[test]
fn schema_validation_alone_has_no_prefix_and_lets_broken_plugins_pass() {
    let broken = json!({"uri": "/", "plugins": {"kafka-logger": {"timeout": "x"}}});
    assert_eq!(check_schema_only(Kind::Route, &broken), Ok(()));
    assert_eq!(
        check_schema_only(Kind::Route, &json!({"plugins": {}})),
        err("allOf 1 failed: value should match only one schema, but matches none")
    );
}

#[test]
fn metadata_is_refused_with_the_resources_prefix() {
    assert_eq!(
        check(Kind::PluginMetadata, "kafka-logger", &json!({"log_format": "x"})),
        err(
            "invalid configuration: property \"log_format\" validation failed: wrong type: expected object, got string"
        )
    );
}

#[test]
fn names_that_lead_nowhere_are_refused() {
    let mut documents = Documents::default();
    let route = json!({"uri": "/", "upstream_id": 7});
    assert_eq!(
        check_references(&documents, Kind::Route, "1", &route),
        err("failed to fetch upstream info by upstream id [7], response code: 404")
    );
    documents.put(Kind::Upstream, "7", json!({"nodes": {}}));
    assert_eq!(check_references(&documents, Kind::Route, "1", &route), Ok(()));
    assert_eq!(
        check_references(&documents, Kind::Route, "1", &json!({"service_id": "s", "plugin_config_id": "p"})),
        err("failed to fetch service info by service id [s], response code: 404")
    );
    documents.put(Kind::Service, "s", json!({}));
    assert_eq!(
        check_references(&documents, Kind::Route, "1", &json!({"service_id": "s", "plugin_config_id": "p"})),
        err("failed to fetch plugin config info by plugin config id [p], response code: 404")
    );
}

#[test]
fn a_plugin_is_in_one_global_rule_only() {
    let mut documents = Documents::default();
    let rule = json!({"plugins": {"kafka-logger": {}}});
    documents.put(Kind::GlobalRule, "1", rule.clone());
    assert_eq!(check_references(&documents, Kind::GlobalRule, "1", &rule), Ok(()));
    assert_eq!(
        check_references(&documents, Kind::GlobalRule, "2", &rule),
        err("plugin 'kafka-logger' already exists in global rule with id '1'")
    );
}

#[test]
fn what_is_in_use_is_not_deleted() {
    let mut documents = Documents::default();
    documents.put(Kind::Route, "1", json!({"upstream_id": 7, "service_id": "s", "plugin_config_id": "p"}));
    documents.put(Kind::Service, "2", json!({"upstream_id": "8"}));
    let says = |kind, id| check_delete(&documents, kind, id);
    assert_eq!(says(Kind::Upstream, "7"), err("can not delete this upstream, route [1] is still using it now"));
    assert_eq!(says(Kind::Upstream, "8"), err("can not delete this upstream, service [2] is still using it now"));
    assert_eq!(says(Kind::Service, "s"), err("can not delete this service directly, route [1] is still using it now"));
    assert_eq!(
        says(Kind::PluginConfig, "p"),
        err("can not delete this plugin config, route [1] is still using it now")
    );
    assert_eq!(says(Kind::Upstream, "9"), Ok(()));
    assert_eq!(says(Kind::Route, "1"), Ok(()));
}
