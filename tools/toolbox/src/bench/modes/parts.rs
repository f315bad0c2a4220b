//! What `modes` consists of: Kafka, an upstream, the gateway. Started here, ended here, by their pids.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::{Mode, Modes};
use crate::bench::campaign::{self, machine};
use crate::bench::{PARTITIONS, settled};
use crate::call::Caller;
use crate::kafka::OwnCluster;
use crate::process::{cpu_seconds, pinned_to, take_short_turns};
use crate::started::{self, Process};
use crate::{Outcome, wire};

/// Where configurations and logs go.
const PLACE: &str = "target/bench/modes";
/// What the gateway is called with.
const CALLER: Caller = Caller { key: "bench-only", limit: Duration::from_secs(10) };
/// Copies of a topic in a Kafka that is not ours: as many as it makes by itself.
const ITS_OWN_COPIES: i16 = -1;

/// Makes or changes a mode's route.
fn put(admin: SocketAddr, mode: Mode, route: &Value) -> Outcome {
    let path = format!("/apisix/admin/routes/{}", mode.name());
    match CALLER.http(admin, "PUT", &path, &route.to_string())? {
        (200 | 201, _) => Ok(()),
        (status, body) => Err(format!("route {}: {status} {body}", mode.name())),
    }
}

/// The gateway that is measured.
pub struct Gateway {
    process: Process,
    ring: PathBuf,
    proxy: SocketAddr,
    admin: SocketAddr,
    metrics: SocketAddr,
}

/// All parts. Dropped in this order.
pub struct Parts {
    gateway: Gateway,
    _upstream: Option<Process>,
    kafka: String,
    behind: Behind,
    run: u64,
    cluster: Option<OwnCluster>,
}

impl Parts {
    /// Starts everything and puts one route for each mode.
    pub fn start(modes: &Modes) -> Outcome<Self> {
        let place = started::fresh(Path::new(PLACE))?;
        let port = |offset: u16| SocketAddr::from(([127, 0, 0, 1], modes.port_base + offset));
        started::check_free(&[0, 1, 2, 3].map(port))?;
        let (cluster, kafka) = match &modes.kafka {
            Some(address) => (None, address.clone()),
            None => OwnCluster::up("bench", modes.port_base + 2000).map(|(own, address)| (Some(own), address))?,
        };
        let (upstream, behind) = match &modes.url {
            Some(url) => (None, Behind::read(url)?),
            None => {
                let (_, cores) = machine::split(machine::cores(), modes.workers as usize);
                let upstream = campaign::upstream(&place, port(0), modes.connections, &cores, modes.bytes as usize)?;
                take_short_turns(upstream.pid());
                (Some(upstream), Behind { node: port(0).to_string(), path: "/any".to_owned() })
            }
        };
        let gateway = Gateway::start(&place, modes, [port(1), port(2), port(3)])?;
        let run = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs());
        let parts = Self { gateway, _upstream: upstream, kafka, behind, run, cluster };
        for mode in Mode::ALL {
            parts.put_route(mode)?;
        }
        Ok(parts)
    }

    fn put_route(&self, mode: Mode) -> Outcome {
        if mode != Mode::Off {
            let copies = if self.cluster.is_some() { 1 } else { ITS_OWN_COPIES };
            wire::create_topic(&self.kafka, &self.topic(mode), PARTITIONS, copies)?;
        }
        put(self.gateway.admin, mode, &self.route(mode)?)
    }

    fn route(&self, mode: Mode) -> Outcome<Value> {
        let upstream = json!({
            "type": "roundrobin",
            "nodes": {self.behind.node.clone(): 1},
            // An upstream of somebody else's knows its own name, not ours.
            "pass_host": "node",
        });
        let mut route = json!({"uri": "/*", "host": mode.host(), "upstream": upstream});
        if mode != Mode::Off {
            let topic = self.topic(mode);
            let (host, port) = self.kafka.rsplit_once(':').ok_or_else(|| format!("{} is no HOST:PORT", self.kafka))?;
            let port: u16 = port.parse().map_err(|_| format!("{port} is no port"))?;
            route["plugins"] = json!({"kafka-logger": {
                "brokers": [{"host": host, "port": port}],
                "kafka_topic": topic,
                "producer_type": if mode == Mode::Sync { "sync" } else { "async" },
                "ack_before_response": mode == Mode::Held,
                "batch_max_size": 1,
            }});
        }
        Ok(route)
    }

    /// What changes a mode's route a little each time that it is called, with another number; for a thread of its own.
    pub fn changer(&self, mode: Mode) -> Outcome<impl FnMut(u64) -> Outcome + Send + use<>> {
        let (mut route, admin) = (self.route(mode)?, self.gateway.admin);
        Ok(move |number: u64| {
            route["desc"] = json!(number.to_string());
            put(admin, mode, &route)
        })
    }

    /// Our own Kafka.
    pub fn cluster(&self) -> Outcome<&OwnCluster> {
        self.cluster.as_ref().ok_or_else(|| "Kafka is not ours".to_owned())
    }

    /// Its only node.
    pub fn node(&self) -> Outcome<u16> {
        self.cluster()?.nodes().first().copied().ok_or_else(|| "Kafka has no node".to_owned())
    }

    /// Starts it again.
    pub fn make_whole(&mut self) -> Outcome {
        self.cluster.as_mut().ok_or_else(|| "Kafka is not ours".to_owned())?.make_whole()
    }

    /// Requests of the gateway so far, and the records of a mode in Kafka: the same, if it had no others.
    pub fn served_and_recorded(&self, mode: Mode) -> Outcome<(u64, u64)> {
        Ok((self.gateway.requests()?, wire::record_count(&self.kafka, &self.topic(mode))?))
    }

    /// Waits until every request's record is in Kafka, of a gateway that had requests of this mode alone.
    pub fn settled(&self, mode: Mode) -> Outcome {
        settled(|| self.served_and_recorded(mode)).map(|_| ())
    }

    /// The gateway.
    pub const fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// A broker's address.
    pub fn kafka(&self) -> &str {
        &self.kafka
    }

    /// The topic of a mode in this run.
    pub fn topic(&self, mode: Mode) -> String {
        format!("bench-{}-{}", mode.name(), self.run)
    }

    /// What is asked for.
    pub fn path(&self) -> &str {
        &self.behind.path
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        // One of our own goes with everything in it.
        if self.cluster.is_none() {
            for mode in Mode::ALL.into_iter().filter(|mode| *mode != Mode::Off) {
                if let Err(text) = wire::delete_topic(&self.kafka, &self.topic(mode)) {
                    eprintln!("{text}");
                }
            }
        }
        let _ = fs::remove_dir_all(&self.gateway.ring);
    }
}

/// An upstream and what it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Behind {
    /// `HOST:PORT`.
    node: String,
    /// Path and query.
    path: String,
}

impl Behind {
    fn read(url: &str) -> Outcome<Self> {
        let wrong = || format!("{url} is not http://HOST:PORT/PATH");
        let rest = url.strip_prefix("http://").ok_or_else(wrong)?;
        let (node, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let has_port = node.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let node = match (node, has_port) {
            ("", _) => return Err(wrong()),
            (node, true) => node.to_owned(),
            (node, false) => format!("{node}:80"),
        };
        Ok(Self { node, path: if path.is_empty() { "/".to_owned() } else { path.to_owned() } })
    }
}

impl Gateway {
    fn start(place: &Path, modes: &Modes, [proxy, admin, metrics]: [SocketAddr; 3]) -> Outcome<Self> {
        let config = place.join("config.yaml");
        let data = place.join("data");
        let ring = started::fresh(Path::new(&format!("/dev/shm/tollgate-bench-{}", std::process::id())))?;
        let at = |address: SocketAddr| json!({"ip": address.ip().to_string(), "port": address.port()});
        let text = json!({
            "apisix": {"node_listen": [at(proxy)], "enable_ipv6": false, "enable_control": false},
            "plugin_attr": {"prometheus": {"export_addr": at(metrics)}},
            "deployment": {"admin": {
                "admin_listen": at(admin),
                "admin_key": [{"name": "admin", "key": CALLER.key, "role": "admin"}],
            }},
            "nginx_config": {"worker_processes": modes.workers},
            "tollgate": {"data_dir": data.to_string_lossy(), "ring": {"path": ring.to_string_lossy()}},
        });
        fs::write(&config, text.to_string()).map_err(|error| format!("{}: {error}", config.display()))?;
        let (cores, _) = machine::split(machine::cores(), modes.workers as usize);
        let mut command = pinned_to(&modes.tollgate.to_string_lossy(), &cores);
        command.args(["run", "--config"]).arg(&config);
        let mut process = Process::start(command, place.join("tollgate.log"))?;
        process.wait_listening(admin)?;
        process.wait_listening(proxy)?;
        process.wait_listening(metrics)?;
        Ok(Self { process, ring, proxy, admin, metrics })
    }

    /// Where it takes requests.
    pub const fn proxy(&self) -> SocketAddr {
        self.proxy
    }

    /// CPU seconds of the process so far, user and system.
    pub fn cpu_s(&self) -> Outcome<f64> {
        cpu_seconds(self.process.pid()).ok_or_else(|| "the gateway is gone".to_owned())
    }

    /// Requests so far, over all cores, by its own counter.
    pub fn requests(&self) -> Outcome<u64> {
        let (status, text) = CALLER.http(self.metrics, "GET", "/apisix/prometheus/metrics", "")?;
        let value = |line: &str| line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok());
        let lines = text.lines().filter(|line| line.starts_with("tollgate_requests_total"));
        let counts: Vec<f64> = lines.filter_map(value).collect();
        if status != 200 || counts.is_empty() {
            return Err(format!("the gateway's metrics do not count requests ({status})"));
        }
        Ok(counts.iter().sum::<f64>() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_where_and_what_to_ask_for() {
        let read = |url| Behind::read(url).map(|behind| (behind.node, behind.path));
        let is = |node: &str, path: &str| Ok((node.to_owned(), path.to_owned()));
        assert_eq!(read("http://10.0.0.1:8080/a/b?c=d"), is("10.0.0.1:8080", "/a/b?c=d"));
        assert_eq!(read("http://web"), is("web:80", "/"));
        assert!(read("https://web/").is_err() && read("web:80").is_err() && read("http:///a").is_err());
    }
}
