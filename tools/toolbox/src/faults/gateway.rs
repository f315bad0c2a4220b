//! Our gateway as a contestant: `tollgate run` with the tutorial's route.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::parts::{Contestant, Part};
use super::{CALLER, Mode, Ports};
use crate::Outcome;
use crate::process::pinned;
use crate::started::Process;

/// What the directories of the gateway's ring files begin with: on a tmpfs, one for each data directory.
const RINGS: &str = "/dev/shm/tollgate-";

/// The gateway.
pub struct Gateway {
    binary: PathBuf,
    dir: PathBuf,
    ports: Ports,
    process: Option<Process>,
    /// Where its ring files lie; they outlive the process, and are removed in the end.
    rings: BTreeSet<PathBuf>,
}

impl Gateway {
    /// Starts it in `dir`, with nothing but the route.
    pub fn up(binary: &Path, dir: &Path, ports: Ports, workers: u32, route: &Value) -> Outcome<Self> {
        let config = dir.join("config.yaml");
        let text = configuration(dir, ports, workers).to_string();
        fs::write(&config, text).map_err(|error| format!("{}: {error}", config.display()))?;
        let mut gateway =
            Self { binary: binary.to_owned(), dir: dir.to_owned(), ports, process: None, rings: BTreeSet::new() };
        gateway.start(Part::Front)?;
        let (status, body) = CALLER.http(ports.admin, "PUT", "/apisix/admin/routes/r1", &route.to_string())?;
        if matches!(status, 200 | 201) { Ok(gateway) } else { Err(format!("the route is refused: {status} {body}")) }
    }
}

/// The whole configuration: addresses, a key, where the data lies. Nothing that has to do with records is set.
fn configuration(dir: &Path, ports: Ports, workers: u32) -> Value {
    let at = |address: SocketAddr| json!({"ip": address.ip().to_string(), "port": address.port()});
    json!({
        "apisix": {"node_listen": [at(ports.proxy)], "enable_ipv6": false, "enable_control": false},
        "plugin_attr": {"prometheus": {"export_addr": at(ports.metrics)}},
        "deployment": {"admin": {
            "admin_listen": at(ports.admin),
            "admin_key": [{"name": "admin", "key": CALLER.key, "role": "admin"}],
        }},
        "nginx_config": {"worker_processes": workers},
        "tollgate": {"data_dir": dir.join("data").to_string_lossy()},
    })
}

/// The tutorial's route, except that it names all three brokers: one that is down must not be the only one known.
pub fn route(mode: Mode, topic: &str, brokers: &[String], upstream: SocketAddr) -> Outcome<Value> {
    let address = |text: &String| {
        let parsed: SocketAddr = text.parse().map_err(|_| format!("{text} is no IP:PORT"))?;
        Ok(json!({"host": parsed.ip().to_string(), "port": parsed.port()}))
    };
    let mut plugin = json!({
        "batch_max_size": 1,
        "brokers": brokers.iter().map(address).collect::<Outcome<Vec<Value>>>()?,
        "disable": false,
        "kafka_topic": topic,
    });
    match mode {
        Mode::Async => plugin["producer_type"] = json!("async"),
        Mode::Sync => plugin["producer_type"] = json!("sync"),
        Mode::Held => plugin["ack_before_response"] = json!(true),
    }
    Ok(json!({
        "uri": "/*",
        "plugins": {"kafka-logger": plugin},
        "upstream": {"nodes": {upstream.to_string(): 1}, "type": "roundrobin"},
    }))
}

/// The directories of the files that a process has mapped below [`RINGS`].
fn rings_in(maps: &str) -> BTreeSet<PathBuf> {
    let files = maps.lines().filter_map(|line| line.find(RINGS).map(|at| Path::new(&line[at..])));
    files.filter_map(Path::parent).map(Path::to_owned).collect()
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // Ended first: what it has mapped is only ours to remove then.
        self.process = None;
        for ring in &self.rings {
            let _ = fs::remove_dir_all(ring);
        }
    }
}

impl Contestant for Gateway {
    fn proxy(&self) -> SocketAddr {
        self.ports.proxy
    }

    fn metrics(&self) -> Option<SocketAddr> {
        Some(self.ports.metrics)
    }

    fn pid(&self) -> i32 {
        self.process.as_ref().map_or(0, Process::pid)
    }

    fn kill(&mut self, _: Part) -> Outcome {
        self.process.take().map(Process::kill).ok_or_else(|| "the gateway is not running".to_owned())
    }

    fn end(&mut self, _: Part) -> Outcome<String> {
        self.process.take().ok_or_else(|| "the gateway is not running".to_owned())?.end()
    }

    fn start(&mut self, _: Part) -> Outcome {
        let mut command = pinned(&self.binary.to_string_lossy(), 0);
        command.args(["run", "--config"]).arg(self.dir.join("config.yaml"));
        let process = self.process.insert(Process::start(command, self.dir.join("tollgate.log"))?);
        [self.ports.admin, self.ports.proxy, self.ports.metrics]
            .into_iter()
            .try_for_each(|address| process.wait_listening(address))?;
        let maps = fs::read_to_string(format!("/proc/{}/maps", process.pid())).unwrap_or_default();
        self.rings.extend(rings_in(&maps));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rings_directory_is_found_among_what_is_mapped() {
        let maps = "7f00-7f01 rw-s 00000000 00:19 7    /dev/shm/tollgate-00ff/0.ring\n\
                    7f02-7f03 rw-s 00000000 00:19 8    /dev/shm/tollgate-00ff/1.ring (deleted)\n\
                    7f04-7f05 r-xp 00000000 fe:00 9    /usr/lib/libc.so.6\n";
        assert_eq!(rings_in(maps), BTreeSet::from([PathBuf::from("/dev/shm/tollgate-00ff")]));
    }

    #[test]
    fn the_modes_differ_in_one_key() {
        let brokers = ["127.0.0.1:1".to_owned()];
        let upstream = "127.0.0.1:2".parse().expect("an address");
        let plugin = |mode| route(mode, "t", &brokers, upstream).expect("a route")["plugins"]["kafka-logger"].clone();
        assert_eq!(plugin(Mode::Async)["producer_type"], "async");
        assert_eq!(plugin(Mode::Sync)["producer_type"], "sync");
        assert_eq!(plugin(Mode::Held)["ack_before_response"], true);
        assert_eq!(plugin(Mode::Held)["batch_max_size"], 1);
    }
}
