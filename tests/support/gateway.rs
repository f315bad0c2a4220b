//! The gateway as a process of its own: `tollgate run` on free ports, with a configuration in a directory that goes away.

use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tollgate::config::documents::Document;
use tollgate::config::resource::Kind;
use tollgate::control::store::{Commit, Embedded, make_data_dir};

use super::admin::{Admin, KEY};
use super::client::{Client, fetch};
use super::message::Response;
use super::scratch::Scratch;
use super::{PATIENCE, Upstream, wait_for, wait_until};

/// How often a start is tried again when somebody else took a port in between.
const TRIES: u32 = 4;

/// The configuration of routes when `config_provider` is `yaml`.
const STANDALONE: &str = "apisix.yaml";

/// What a test wants to be different.
#[derive(Clone, Debug)]
pub struct Setup {
    /// `nginx_config.worker_processes`. One, so that what happens on a core can be counted.
    pub workers: u32,
    /// Where the proxy listens.
    pub ip: IpAddr,
    /// Serves its metrics (see [`Gateway::metric`]).
    pub metrics: bool,
    /// Routes, by id, that are in the store before the start: a thousand PUTs would take a minute.
    pub routes: Vec<(String, Value)>,
    /// Merged into the configuration, objects key by key.
    pub config: Value,
    /// `apisix.yaml` beside it, if it is to be there.
    pub standalone: Option<String>,
    /// More of its environment.
    pub environment: Vec<(&'static str, &'static str)>,
    /// The proxy's socket, held by the test as a supervisor holds it (sd_listen_fds(3)).
    pub supervised: Option<Arc<TcpListener>>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            workers: 1,
            ip: Ipv4Addr::LOCALHOST.into(),
            metrics: false,
            routes: Vec::new(),
            config: json!({}),
            standalone: None,
            environment: Vec::new(),
            supervised: None,
        }
    }
}

impl Setup {
    /// The usual setup, listening on `::1`.
    pub fn on_ipv6() -> Self {
        Self { ip: Ipv6Addr::LOCALHOST.into(), ..Self::default() }
    }

    /// The usual setup with `config` merged in.
    pub fn with(config: Value) -> Self {
        Self { config, ..Self::default() }
    }

    fn yaml(&self, scratch: &Scratch, proxy: SocketAddr, [admin, metrics]: [SocketAddr; 2]) -> String {
        let mut config = json!({
            "apisix": {
                "node_listen": [{"ip": proxy.ip().to_string(), "port": proxy.port()}],
                "enable_ipv6": false,
                "enable_control": false,
            },
            "plugin_attr": {"prometheus": {
                "enable_export_server": self.metrics,
                "export_addr": {"ip": metrics.ip().to_string(), "port": metrics.port()},
            }},
            "deployment": {"admin": {
                "admin_listen": {"ip": admin.ip().to_string(), "port": admin.port()},
                "admin_key": [{"name": "admin", "key": KEY, "role": "admin"}],
            }},
            "nginx_config": {"worker_processes": self.workers, "error_log_level": "info"},
            // The default is a directory in /dev/shm, which would outlive a gateway that a test kills.
            "tollgate": {
                "data_dir": scratch.path().join("data").to_string_lossy(),
                "ring": {"path": scratch.path().join("ring").to_string_lossy()},
            },
        });
        merge(&mut config, &self.config);
        // JSON is YAML.
        config.to_string()
    }
}

fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from.clone(),
    }
}

/// A gateway that runs. Killed, by its pid, when it is dropped.
pub struct Gateway {
    child: Child,
    proxy: SocketAddr,
    admin: SocketAddr,
    metrics: SocketAddr,
    scratch: Scratch,
    /// Keeps the proxy's port ours: bound beside the gateway's sockets (SO_REUSEPORT), never listening.
    _kept: socket2::Socket,
}

impl Gateway {
    /// Starts the usual gateway.
    pub fn start() -> Self {
        Self::start_with(&Setup::default())
    }

    /// Starts a gateway with one route for everything, to one upstream.
    pub fn before(upstream: &Upstream) -> Self {
        let gateway = Self::start();
        gateway.admin().route("all", "/*", &[(&upstream.node(), 1)]);
        gateway
    }

    /// Starts a gateway and waits until it serves on both ports.
    pub fn start_with(setup: &Setup) -> Self {
        let mut last = String::new();
        for _ in 0..TRIES {
            match Self::try_start(setup, Scratch::new()) {
                Ok(gateway) => return gateway,
                Err(text) => last = text,
            }
        }
        panic!("the gateway does not start: {last}");
    }

    fn try_start(setup: &Setup, scratch: Scratch) -> Result<Self, String> {
        let (kept, free) = keep_port(setup.ip);
        let proxy = setup.supervised.as_ref().map_or(free, |socket| socket.local_addr().expect("bound"));
        let [admin, metrics] = free_addresses();
        let file = scratch.path().join("config.yaml");
        fs::write(&file, setup.yaml(&scratch, proxy, [admin, metrics])).expect("a directory of ours");
        store(&scratch.path().join("data"), &setup.routes);
        if let Some(text) = &setup.standalone {
            replace(&scratch.path().join(STANDALONE), text);
        }
        let child = spawn(&scratch, setup);
        let mut gateway = Self { child, proxy, admin, metrics, scratch, _kept: kept };
        gateway.wait_ready().map(|()| gateway)
    }

    /// Waits until the Admin API answers with our key and the proxy takes connections.
    fn wait_ready(&mut self) -> Result<(), String> {
        let ready = wait_until(PATIENCE, || {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(Err(format!("it ended with {status}:\n{}", self.log())));
            }
            let is_up = |address| TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok();
            (self.admin().answers() && is_up(self.proxy)).then_some(Ok(()))
        });
        ready.unwrap_or_else(|| Err(format!("it does not serve:\n{}", self.log())))
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.proxy
    }

    /// Its Admin API.
    pub fn admin(&self) -> Admin {
        Admin::new(self.admin)
    }

    /// A number of the metrics endpoint, all cores together. Needs [`Setup::metrics`].
    pub fn metric(&self, name: &str) -> u64 {
        let [value] = self.metrics([name]);
        value
    }

    /// Numbers of the metrics endpoint as they were at one moment, all cores together. Needs [`Setup::metrics`].
    pub fn metrics<const N: usize>(&self, names: [&str; N]) -> [u64; N] {
        let text = self.scrape();
        names.map(|name| {
            let of_name = |line: &str| {
                let (found, value) = line.rsplit_once(' ')?;
                let is_name = found.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('{'));
                is_name.then(|| value.parse::<u64>().expect("a whole number"))
            };
            let found: Vec<u64> = text.lines().filter_map(of_name).collect();
            assert!(!found.is_empty(), "{name} is not in:\n{text}");
            found.iter().sum()
        })
    }

    /// What the metrics endpoint says. Needs [`Setup::metrics`].
    pub fn scrape(&self) -> String {
        fetch(self.metrics, "/apisix/prometheus/metrics").text()
    }

    /// A new connection to the proxy.
    pub fn connect(&self) -> Client {
        Client::connect(self.proxy)
    }

    /// One GET on a connection of its own.
    pub fn get(&self, path: &str) -> Response {
        fetch(self.proxy, path)
    }

    /// Puts another `apisix.yaml` in the place of the one that is there, all at once.
    pub fn put_standalone(&self, text: &str) {
        replace(&self.scratch.path().join(STANDALONE), text);
    }

    /// What it printed.
    pub fn log(&self) -> String {
        let bytes = fs::read(self.scratch.path().join("log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Resident memory in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it runs");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("proc(5)");
        let kib: u64 = line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number");
        kib * 1024
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        // `kill` is a builtin of every shell: no unsafe call for one signal.
        let status = Command::new("sh").arg("-c").arg(format!("kill -TERM {}", self.pid())).status();
        assert!(status.is_ok_and(|status| status.success()), "our child is there");
    }

    /// Waits until it has ended by itself.
    pub fn wait_end(&mut self) -> ExitStatus {
        wait_for("the gateway ends", || self.child.try_wait().expect("our child"))
    }

    /// Ends it as a crash would.
    pub fn crash(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again, with another setup, on the same data and ports.
    pub fn restart_with(&mut self, setup: &Setup) {
        let text = setup.yaml(&self.scratch, self.proxy, [self.admin, self.metrics]);
        fs::write(self.config(), text).expect("a directory of ours");
        self.child = spawn(&self.scratch, setup);
        self.wait_ready().unwrap_or_else(|text| panic!("the gateway does not start again: {text}"));
    }

    /// Its configuration file.
    pub fn config(&self) -> PathBuf {
        self.scratch.path().join("config.yaml")
    }

    /// The directory with everything that it keeps.
    pub fn place(&self) -> &Path {
        self.scratch.path()
    }

    /// Ends it as a crash would, and starts it again on the same data and ports.
    pub fn crash_and_restart(&mut self) {
        self.crash();
        self.child = spawn(&self.scratch, &Setup::default());
        self.wait_ready().unwrap_or_else(|text| panic!("the gateway does not start again: {text}"));
    }
}

/// Writes routes into the embedded store, as the Admin API would have.
fn store(data_dir: &Path, routes: &[(String, Value)]) {
    if routes.is_empty() {
        return;
    }
    make_data_dir(data_dir).expect("a directory of ours");
    let (mut store, _) = Embedded::open(data_dir).expect("a new store");
    for ((id, route), revision) in routes.iter().zip(1..) {
        let mut value = route.clone();
        for (key, of_store) in [("id", json!(id)), ("create_time", json!(1)), ("update_time", json!(1))] {
            value[key] = of_store;
        }
        let document = Document { value, created_index: revision, modified_index: revision };
        let commit = Commit { kind: Kind::Route, id, document: Some(&document), expires_unix_ms: None, revision };
        store.commit(&commit).expect("a new store");
    }
}

/// As an editor does it: nobody sees half a file.
fn replace(path: &Path, text: &str) {
    let beside = path.with_extension("new");
    fs::write(&beside, text).expect("a directory of ours");
    fs::rename(beside, path).expect("the same directory");
}

fn spawn(scratch: &Scratch, setup: &Setup) -> Child {
    let log = File::options().create(true).append(true).open(scratch.path().join("log")).expect("ours");
    let (binary, config) = (env!("CARGO_BIN_EXE_tollgate"), scratch.path().join("config.yaml"));
    let mut command = match &setup.supervised {
        None => Command::new(binary),
        // Its shell becomes the gateway: the process id stays, and the third descriptor is the socket.
        Some(_) => {
            let mut shell = Command::new("sh");
            shell.args(["-c", "export LISTEN_PID=$$ LISTEN_FDS=1; exec \"$@\" 3<&0 0</dev/null", "sh", binary]);
            shell
        }
    };
    let input = setup.supervised.as_ref().map_or(Stdio::null(), |socket| {
        Stdio::from(std::os::fd::OwnedFd::from(socket.try_clone().expect("a descriptor")))
    });
    command
        .args(["run", "--config"])
        .arg(config)
        .current_dir(scratch.path())
        .envs(setup.environment.iter().copied())
        .stdin(input)
        .stdout(log.try_clone().expect("a descriptor"))
        .stderr(log)
        .spawn()
        .expect("cargo built it")
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- the gateway's log, kept in {}:\n{}", self.scratch.path().display(), self.log());
        }
    }
}

/// A free port that stays ours while the gateway listens on it beside us.
fn keep_port(ip: IpAddr) -> (socket2::Socket, SocketAddr) {
    let domain = if ip.is_ipv4() { socket2::Domain::IPV4 } else { socket2::Domain::IPV6 };
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None).expect("a socket");
    socket.set_reuse_address(true).expect("a TCP socket");
    socket.set_reuse_port(true).expect("a TCP socket");
    socket.bind(&SocketAddr::new(ip, 0).into()).expect("a free port");
    let address = socket.local_addr().ok().and_then(|address| address.as_socket()).expect("bound");
    (socket, address)
}

/// Addresses that are free now.
fn free_addresses() -> [SocketAddr; 2] {
    let listeners = [(); 2].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port"));
    listeners.map(|listener| listener.local_addr().expect("bound"))
}
