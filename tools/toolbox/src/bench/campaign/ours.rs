//! Our gateway's configuration for a case. Pure: values in, JSON out.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};

use super::case::{Case, Entry, Who};
use super::contestant::Ground;
use crate::Outcome;

/// Requests on one connection to the upstream, as nginx's own configuration has it.
const REQUESTS_PER_CONNECTION: u32 = 100_000_000;

/// `config.yaml`: what is set is what the peers are given too.
pub fn configuration(dir: &Path, ring: &Path, case: &Case, proxy: SocketAddr, metrics: SocketAddr) -> Value {
    let at = |address: SocketAddr| json!({"ip": address.ip().to_string(), "port": address.port()});
    json!({
        "apisix": {"node_listen": [at(proxy)], "enable_ipv6": false, "enable_control": false},
        "plugin_attr": {"prometheus": {"export_addr": at(metrics)}},
        "deployment": {"role": "data_plane", "role_data_plane": {"config_provider": "json"}},
        "nginx_config": {"worker_processes": case.workers},
        "tollgate": {"data_dir": dir.join("data").to_string_lossy(), "ring": {"path": ring.to_string_lossy()}},
    })
}

/// `apisix.json`: one route for everything, or so many with hosts, half of them exact and half prefixes.
pub fn routes(who: Who, case: &Case, ground: &Ground, topic: &str) -> Outcome<Value> {
    let upstream = json!({
        "id": "u",
        "type": "roundrobin",
        "nodes": {ground.upstream.to_string(): 1},
        "keepalive_pool": {"size": case.connections.max(64), "idle_timeout": 600, "requests": REQUESTS_PER_CONNECTION},
    });
    let plugins = if who.records() { json!({"kafka-logger": plugin(who, case, ground, topic)?}) } else { json!({}) };
    let routes: Vec<Value> = match case.routes {
        1 => vec![json!({"id": "r", "uri": "/*", "plugins": plugins, "upstream_id": "u"})],
        count => (0..count).map(|number| route(number, &plugins)).collect(),
    };
    Ok(json!({"upstreams": [upstream], "routes": routes}))
}

/// `load.lua` asks for these.
fn route(number: u32, plugins: &Value) -> Value {
    let uri = if number.is_multiple_of(2) { format!("/r{number}/*") } else { format!("/r{number}/x") };
    let host = format!("h{}.test", number % 100);
    json!({"id": format!("r{number}"), "uri": uri, "host": host, "plugins": plugins, "upstream_id": "u"})
}

fn plugin(who: Who, case: &Case, ground: &Ground, topic: &str) -> Outcome<Value> {
    let (host, port) = ground.kafka.rsplit_once(':').ok_or_else(|| format!("{} is no HOST:PORT", ground.kafka))?;
    let port: u16 = port.parse().map_err(|_| format!("{port} is no port"))?;
    let mut plugin = json!({
        "brokers": [{"host": host, "port": port}],
        "kafka_topic": topic,
        "producer_type": if who == Who::Sync { "sync" } else { "async" },
        "ack_before_response": who == Who::Held,
        "batch_max_size": 1,
    });
    match case.entry {
        Entry::Default => {}
        Entry::FourFields => {
            plugin["log_format"] =
                json!({"host": "$host", "uri": "$request_uri", "status": "$status", "client_ip": "$remote_addr"});
        }
        Entry::Bodies => {
            plugin["include_req_body"] = json!(true);
            plugin["include_resp_body"] = json!(true);
        }
    }
    Ok(plugin)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::campaign::case::CASES;

    fn ground() -> Ground {
        Ground {
            dir: "d".into(),
            shm: "s".into(),
            upstream: SocketAddr::from(([127, 0, 0, 1], 1)),
            kafka: "127.0.0.1:9".to_owned(),
            cores: "0".to_owned(),
            tollgate: "t".into(),
            relay: "r".into(),
            card: "c".into(),
        }
    }

    #[test]
    fn the_modes_differ_in_what_they_are_named_after() {
        let plugin = |who| routes(who, &CASES[0], &ground(), "t").expect("routes")["routes"][0]["plugins"].clone();
        assert_eq!(plugin(Who::Off), json!({}));
        assert_eq!(plugin(Who::Async)["kafka-logger"]["producer_type"], "async");
        assert_eq!(plugin(Who::Sync)["kafka-logger"]["producer_type"], "sync");
        assert_eq!(plugin(Who::Held)["kafka-logger"]["ack_before_response"], true);
    }

    #[test]
    fn a_case_of_many_routes_has_them_with_hosts_half_of_them_prefixes() {
        let case = CASES.iter().find(|case| case.name == "routes1000").expect("the case");
        let all = routes(Who::Async, case, &ground(), "t").expect("routes");
        let all = all["routes"].as_array().expect("a list").clone();
        let prefixes = all.iter().filter(|route| route["uri"].as_str().is_some_and(|uri| uri.ends_with('*')));
        assert_eq!((all.len(), prefixes.count()), (1000, 500));
        assert_eq!((&all[101]["uri"], &all[101]["host"]), (&json!("/r101/x"), &json!("h1.test")));
    }
}
