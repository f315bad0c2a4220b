//! What a bench consists of: Kafka, an upstream, the gateway. Started here, ended here, by their pids.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};

use super::{Mode, Modes};
use crate::call::Caller;
use crate::kafka::OwnCluster;
use crate::process::{cpu_seconds, pinned, tail_of};
use crate::{Outcome, wire};

/// Where configurations and logs go.
const PLACE: &str = "target/bench";
/// How long a part may take until it listens.
const START_LIMIT: Duration = Duration::from_secs(20);
/// What the gateway is called with.
const CALLER: Caller = Caller { key: "bench-only", limit: Duration::from_secs(10) };
/// Partitions of a topic: as many as the walk-through's Kafka makes by itself.
const PARTITIONS: i32 = 2;

/// A process that ends with its owner.
struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    fn start(mut command: Command, log: PathBuf) -> Outcome<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let out = File::create(&log).map_err(|error| format!("{}: {error}", log.display()))?;
        let err = out.try_clone().map_err(|error| error.to_string())?;
        command.stdin(Stdio::null()).stdout(out).stderr(err);
        let child = command.spawn().map_err(|error| format!("{name} does not start: {error}"))?;
        Ok(Self { child, log })
    }

    fn wait_listening(&mut self, address: SocketAddr) -> Outcome {
        let end = Instant::now() + START_LIMIT;
        while TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_err() {
            let ended = self.child.try_wait().ok().flatten();
            if ended.is_some() || Instant::now() > end {
                let (log, tail) = (self.log.display(), tail_of(&self.log, 20));
                return Err(format!("nobody listens on {address}; the end of {log}:\n{tail}"));
            }
            std::thread::sleep(Duration::from_millis(30));
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The gateway that is measured.
pub struct Gateway {
    process: Process,
    proxy: SocketAddr,
    admin: SocketAddr,
    metrics: SocketAddr,
}

/// All parts. Dropped in this order.
pub struct Parts {
    gateway: Gateway,
    _upstream: Process,
    kafka: String,
    run: u64,
    _cluster: Option<OwnCluster>,
}

impl Parts {
    /// Starts everything and puts one route for each mode.
    pub fn start(modes: &Modes) -> Outcome<Self> {
        let place = Path::new(PLACE);
        fs::create_dir_all(place).map_err(|error| format!("{PLACE}: {error}"))?;
        let port = |offset: u16| SocketAddr::from(([127, 0, 0, 1], modes.port_base + offset));
        for address in [0, 1, 2, 3].map(port) {
            TcpListener::bind(address)
                .map_err(|error| format!("{address} cannot be had ({error}); --port-base moves it"))?;
        }
        let (cluster, kafka) = match &modes.kafka {
            Some(address) => (None, address.clone()),
            None => OwnCluster::up("bench", modes.port_base + 2000).map(|(own, address)| (Some(own), address))?,
        };
        let upstream = upstream(place, port(0), modes.bytes)?;
        let gateway = Gateway::start(place, modes, [port(1), port(2), port(3)])?;
        let run = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs());
        let parts = Self { gateway, _upstream: upstream, kafka, run, _cluster: cluster };
        for mode in Mode::ALL {
            parts.put_route(mode, port(0))?;
        }
        Ok(parts)
    }

    fn put_route(&self, mode: Mode, upstream: SocketAddr) -> Outcome {
        let nodes = json!({"type": "roundrobin", "nodes": {upstream.to_string(): 1}});
        let mut route = json!({"uri": format!("/{}/*", mode.name()), "upstream": nodes});
        if mode != Mode::Off {
            let topic = self.topic(mode);
            wire::create_topic(&self.kafka, &topic, PARTITIONS, 1)?;
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
        let (status, body) = self.gateway.call("PUT", &format!("/apisix/admin/routes/{}", mode.name()), &route)?;
        if matches!(status, 200 | 201) { Ok(()) } else { Err(format!("route {}: {status} {body}", mode.name())) }
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

    /// What is loaded in a mode.
    pub fn target(&self, mode: Mode) -> String {
        format!("http://{}/{}/x", self.gateway.proxy, mode.name())
    }
}

/// nginx in one process that answers everything from memory.
fn upstream(place: &Path, address: SocketAddr, bytes: usize) -> Outcome<Process> {
    let place = std::path::absolute(place).map_err(|error| error.to_string())?;
    let config = place.join("nginx.conf");
    let dir = place.display();
    let text = format!(
        "daemon off; master_process off; pid {dir}/nginx.pid; error_log stderr warn;\nevents {{ worker_connections 12000; }}\n\
         http {{\n access_log off; client_body_temp_path {dir}/nginx; proxy_temp_path {dir}/nginx;\n \
         fastcgi_temp_path {dir}/nginx; uwsgi_temp_path {dir}/nginx; scgi_temp_path {dir}/nginx;\n \
         keepalive_requests 100000000; keepalive_timeout 600s; tcp_nodelay on;\n \
         server {{ listen {address} backlog=4096; location / {{ return 200 \"{}\"; }} }}\n}}\n",
        "a".repeat(bytes)
    );
    fs::write(&config, text).map_err(|error| format!("{}: {error}", config.display()))?;
    let program = if Path::new("/usr/sbin/nginx").exists() { "/usr/sbin/nginx" } else { "nginx" };
    let mut command = pinned(program, std::thread::available_parallelism().map_or(1, usize::from) - 1);
    command.args(["-e", "stderr", "-p"]).arg(&place).arg("-c").arg(&config);
    let mut process = Process::start(command, place.join("nginx.log"))?;
    process
        .wait_listening(address)
        .map_err(|text| format!("{text}\nThe upstream is nginx: apt-get install nginx-light"))?;
    Ok(process)
}

impl Gateway {
    fn start(place: &Path, modes: &Modes, [proxy, admin, metrics]: [SocketAddr; 3]) -> Outcome<Self> {
        let config = place.join("config.yaml");
        let data = place.join("data");
        if data.exists() {
            fs::remove_dir_all(&data).map_err(|error| format!("{}: {error}", data.display()))?;
        }
        let at = |address: SocketAddr| json!({"ip": address.ip().to_string(), "port": address.port()});
        let text = json!({
            "apisix": {"node_listen": [at(proxy)], "enable_ipv6": false, "enable_control": false},
            "plugin_attr": {"prometheus": {"export_addr": at(metrics)}},
            "deployment": {"admin": {
                "admin_listen": at(admin),
                "admin_key": [{"name": "admin", "key": CALLER.key, "role": "admin"}],
            }},
            "nginx_config": {"worker_processes": modes.workers},
            "tollgate": {"data_dir": data.to_string_lossy()},
        });
        fs::write(&config, text.to_string()).map_err(|error| format!("{}: {error}", config.display()))?;
        let mut command = pinned(&modes.tollgate.to_string_lossy(), 0);
        command.args(["run", "--config"]).arg(&config);
        let mut process = Process::start(command, place.join("tollgate.log"))?;
        process.wait_listening(admin)?;
        process.wait_listening(proxy)?;
        process.wait_listening(metrics)?;
        Ok(Self { process, proxy, admin, metrics })
    }

    /// CPU seconds of the process so far, user and system.
    pub fn cpu_s(&self) -> Outcome<f64> {
        cpu_seconds(self.process.child.id() as i32).ok_or_else(|| "the gateway is gone".to_owned())
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

    fn call(&self, method: &str, path: &str, body: &Value) -> Outcome<(u16, String)> {
        CALLER.http(self.admin, method, path, &body.to_string())
    }
}
