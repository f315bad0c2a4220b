//! A control thread of its own, on free ports, with its files in a directory that goes away.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use tollgate::config::file::{AdminKey, FileConfig, PrometheusConfig, Role};
use tollgate::config::publish::{Bell, Board};
use tollgate::control;

use super::client::{self, Reply};

pub const ADMIN_KEY: &str = "edd1c9f034335f136f87ad84b625c8f1";
pub const VIEWER_KEY: &str = "4054f7cf07e344346cd3f287985e76a2";

static COUNT: AtomicU32 = AtomicU32::new(0);

/// A directory that goes away.
pub struct Dir(PathBuf);

impl Dir {
    pub fn new() -> Self {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("tollgate-compat-{}-{count}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The configuration that tests start from: both well-known keys, every port free.
pub fn config(dir: &Path) -> FileConfig {
    let (mut config, _) = FileConfig::parse("", &|_| None).expect("an empty file is a good one");
    let free: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let key = |name: &str, key: &str, role| AdminKey { name: name.into(), key: key.into(), role };
    config.admin.listen = free;
    config.admin.keys = vec![key("admin", ADMIN_KEY, Role::Admin), key("viewer", VIEWER_KEY, Role::Viewer)];
    config.control = Some(free);
    config.status = Some(free);
    config.prometheus =
        Some(PrometheusConfig { listen: free, uri: "/apisix/prometheus/metrics".into(), prefix: "apisix_".into() });
    config.tollgate.data_dir = dir.join("data").display().to_string();
    config
}

/// A running control thread.
pub struct Gateway {
    pub admin: SocketAddr,
    pub control: SocketAddr,
    pub status: SocketAddr,
    pub metrics: SocketAddr,
    pub relay: Option<PathBuf>,
    pub board: Arc<Board>,
    pub key: String,
    pub notes: Vec<String>,
    pub warnings: Vec<String>,
    alive: Option<Sender<()>>,
    thread: Option<JoinHandle<Result<(), String>>>,
}

impl Gateway {
    /// Starts with no cores: every change is then taken at once.
    pub fn start(config: FileConfig, config_path: &Path) -> Self {
        Self::with_cores(config, config_path, 0)
    }

    /// Starts with cores that take nothing by themselves.
    pub fn with_cores(config: FileConfig, config_path: &Path, cores: usize) -> Self {
        Self::start_slowly(config, config_path, cores, || {})
    }

    /// Starts; `meanwhile` runs when every port is bound and nobody serves them yet.
    pub fn start_slowly(config: FileConfig, config_path: &Path, cores: usize, meanwhile: impl FnOnce()) -> Self {
        let mut control = control::prepare(config, config_path).expect("prepared");
        control.bind().expect("bound");
        meanwhile();
        let ports = control.ports();
        let address = |port: &Option<control::listeners::Port>| port.as_ref().and_then(|p| p.address());
        let nowhere: SocketAddr = "127.0.0.1:1".parse().unwrap();
        let bound =
            [&ports.admin, &ports.control, &ports.status, &ports.metrics].map(|port| address(port).unwrap_or(nowhere));
        let bells: Vec<Bell> = (0..cores).map(|_| Box::new(|| {}) as Bell).collect();
        let (board, asked, put_down) = Board::new(control.snapshot(), bells, 16);
        let board = Arc::new(board);
        let (alive, ended) = channel();
        let (relay, key) = (control.relay_path(), control.admin_key().unwrap_or_default().to_owned());
        let (notes, warnings) = (control.notes().to_vec(), control.warnings().to_vec());
        let served = Arc::clone(&board);
        let thread = std::thread::spawn(move || control.serve(served, asked, put_down, ended));
        let [admin, control, status, metrics] = bound;
        let (alive, thread) = (Some(alive), Some(thread));
        Self { admin, control, status, metrics, relay, board, key, notes, warnings, alive, thread }
    }

    /// A request to the Admin API with the admin key.
    pub fn ask(&self, method: &str, path: &str, body: Option<&str>) -> Reply {
        let target = format!("/apisix/admin{path}");
        client::send(self.admin, method, &target, &[("X-API-KEY", &self.key)], body)
    }

    /// A GET without a key.
    pub fn look(address: SocketAddr, target: &str) -> Reply {
        client::send(address, "GET", target, &[], None)
    }

    /// Tells the control thread that all workers have ended and waits for it.
    pub fn stop(mut self) -> Result<(), String> {
        self.end()
    }

    fn end(&mut self) -> Result<(), String> {
        drop(self.alive.take());
        self.thread.take().map_or(Ok(()), |thread| thread.join().expect("the control thread does not panic"))
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = self.end();
        }
    }
}

/// The usual: a gateway and its directory.
pub fn started() -> (Gateway, Dir) {
    let dir = Dir::new();
    (Gateway::start(config(dir.path()), &dir.path().join("config.yaml")), dir)
}
