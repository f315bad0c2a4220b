//! The control thread: Admin API, stores, publishing, name resolution, metrics, reading records back. Never the data path.
//!
//! The shell calls, in this order: [`prepare`] (opens the store, compiles the first snapshot), makes the board with
//! [`Control::snapshot`], [`Control::bind`], starts the workers, [`Control::serve`] (until they have ended).

pub mod admin;
pub mod audit;
pub mod dns;
pub mod health;
pub mod identity;
pub mod key;
pub mod listeners;
pub mod metrics;
pub mod peer;
pub mod publish;
pub mod records;
pub mod resolver;
pub mod store;
pub mod topics;
pub mod trust;
pub mod views;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Mutex, oneshot};

use self::admin::Admin;
use self::admin::access::Access;
use self::dns::Dns;
use self::health::Checkers;
use self::listeners::{Port, Ports};
use self::peer::{Peer, Relayed};
use self::publish::{Publisher, Source};
use self::resolver::Names;
use self::store::yaml::{Format, POLL_MS};
use self::store::{Embedded, Loaded, Store, YamlFile};
use self::views::Seen;
use crate::base::limits;
use crate::config::compile::CompileOptions;
use crate::config::file::{FileConfig, Provider};
use crate::config::publish::{Board, Question, Stage};
use crate::config::snapshot::Snapshot;

/// The relay socket inside `data_dir`: workers pass Admin requests from the proxy port through it.
pub const RELAY_FILE: &str = "admin.sock";
/// Milliseconds behind the cores' own deadlines after which they are told to leave at once.
const LAST_MS: u64 = 1_000;
/// Threads for blocking name lookups.
const BLOCKING_THREADS: usize = 16;

/// Everything that is open and compiled before a port is.
#[derive(Debug)]
pub struct Control {
    config: FileConfig,
    runtime: Runtime,
    source: Source,
    names: Names,
    checkers: Checkers,
    first: Arc<Snapshot>,
    made_key: Option<String>,
    notes: Vec<String>,
    warnings: Vec<String>,
    ports: Ports,
    relay: Option<Relayed>,
    stop: Option<StopSignals>,
}

/// Opens the store, reads the configuration, resolves its names, compiles the first snapshot. Listens on nothing. A standalone
/// file (`apisix.yaml`) is looked for beside `config_path`.
///
/// # Errors
/// Everything that stops the start, one line each.
pub fn prepare(config: FileConfig, config_path: &Path) -> Result<Control, Vec<String>> {
    let data_dir = PathBuf::from(&config.tollgate.data_dir);
    let opened = store::make_data_dir(&data_dir).and_then(|()| open(&config, config_path, &data_dir));
    let made_key = made_key(&config, &data_dir);
    let ((store, mut loaded), made_key) = match (opened, made_key) {
        (Ok(opened), Ok(made_key)) => (opened, made_key),
        (opened, made_key) => return Err([opened.err(), made_key.err()].into_iter().flatten().collect()),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .build()
        .map_err(|error| vec![format!("no runtime for the control thread: {error}")])?;
    let http = &config.http;
    let dns = Dns { servers: http.dns_servers.clone(), valid: http.dns_valid_s.map(Duration::from_secs) };
    let names = Names::new(config.tollgate.hosts.clone(), http.resolver_timeout_ms, dns);
    let mut warnings = std::mem::take(&mut loaded.problems);
    let options = CompileOptions { tls: trust::read(&config)?, ..CompileOptions::from(&config) };
    let checkers = Checkers::new(options.tls.trust.clone());
    let mut source = Source::new(store, loaded, options, names.clone());
    let (mut first, remarks) = runtime.block_on(source.first());
    checkers.attach(&mut first);
    warnings.extend(remarks);
    let notes = made_key.iter().map(|made| format!("the admin key is in {}", made.path.display())).collect();
    let made_key = made_key.map(|made| made.key);
    let (first, ports) = (Arc::new(first), Ports::default());
    let (relay, stop) = (None, None);
    Ok(Control { config, runtime, source, names, checkers, first, made_key, notes, warnings, ports, relay, stop })
}

fn open(config: &FileConfig, config_path: &Path, data_dir: &Path) -> Result<(Store, Loaded), String> {
    let format = match config.provider {
        Provider::Embedded => {
            return Embedded::open(data_dir).map(|(store, loaded)| (Store::Embedded(store), loaded));
        }
        Provider::Yaml => Format::Yaml,
        Provider::Json => Format::Json,
    };
    let path = config_path.with_file_name(format.file_name());
    YamlFile::open(path, format).map(|(file, loaded)| (Store::Yaml(file), loaded))
}

/// The key of our own, where the Admin API needs one and the file names none.
fn made_key(config: &FileConfig, data_dir: &Path) -> Result<Option<key::OwnKey>, String> {
    let admin = &config.admin;
    let wanted = admin.enabled && admin.key_required && admin.keys.is_empty();
    wanted.then(|| store::make_data_dir(data_dir).and_then(|()| key::own_key(data_dir))).transpose()
}

impl Control {
    /// The first snapshot, for the board.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.first)
    }

    /// What the operator must know, to be printed: where the made key lies (never the key).
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// What the operator should look at: objects that were left out, names that did not resolve.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Where this gateway keeps what it must find again.
    pub fn data_dir(&self) -> &Path {
        Path::new(&self.config.tollgate.data_dir)
    }

    /// The admin key that `demo` and tests use: the file's first with the role admin, else the made one.
    pub fn admin_key(&self) -> Option<&str> {
        let admin = |key: &&crate::config::file::AdminKey| key.role == crate::config::file::Role::Admin;
        let written = self.config.admin.keys.iter().find(admin).map(|key| key.key.as_str());
        written.or(self.made_key.as_deref())
    }

    /// Where workers relay Admin requests to, if `tollgate.admin_on_proxy_port` is set.
    pub fn relay_path(&self) -> Option<PathBuf> {
        let wanted = self.config.admin.enabled && self.config.tollgate.admin_on_proxy_port;
        wanted.then(|| Path::new(&self.config.tollgate.data_dir).join(RELAY_FILE))
    }

    /// Binds every port and the relay socket, so that a taken one is known before a worker starts. From here on SIGTERM and
    /// SIGINT drain: one that comes before [`Control::serve`] is not lost, and does not end a process whose workers run already.
    ///
    /// # Errors
    /// One line for each that could not be bound, with the key that changes it.
    pub fn bind(&mut self) -> Result<(), Vec<String>> {
        self.stop = Some(self.runtime.block_on(async { StopSignals::listen() }).map_err(|line| vec![line])?);
        let ports = Ports::bind(&self.config);
        let relay = self.relay_path().map(|path| {
            let _inside = self.runtime.enter();
            Relayed::bind(&path).map_err(|error| {
                let path = path.display();
                format!(
                    "cannot listen on {path} for the Admin API on the proxy port: {error}; tollgate.data_dir changes it"
                )
            })
        });
        match (ports, relay.transpose()) {
            (Ok(ports), Ok(relay)) => {
                self.ports = ports;
                self.relay = relay;
                Ok(())
            }
            (ports, relay) => {
                let mut errors = ports.err().unwrap_or_default();
                errors.extend(relay.err());
                Err(errors)
            }
        }
    }

    /// What [`Control::bind`] bound.
    pub fn ports(&self) -> &Ports {
        &self.ports
    }

    /// Serves until every sender of `ended` is gone (each worker holds one). SIGTERM or SIGINT starts the draining, a second one or
    /// `tollgate.shutdown_timeout_ms` ends it. `asked` and `put_down` are the board's.
    ///
    /// # Errors
    /// Why serving could not begin.
    pub fn serve(
        self,
        board: Arc<Board>,
        asked: Receiver<Question>,
        put_down: Receiver<Arc<Snapshot>>,
        ended: Receiver<()>,
    ) -> Result<(), String> {
        let Self { config, runtime, source, names, checkers, made_key, ports, relay, first, stop, .. } = self;
        drop(first);
        let stop = stop.ok_or("the control thread serves what `bind` bound")?;
        let served = runtime.block_on(async {
            drop_retired(put_down)?;
            resolver::answer_cores(names.clone(), Arc::clone(&board), asked);
            let publisher = Publisher::new(source, Arc::clone(&board), checkers.clone());
            let view = publisher.view();
            let publisher = Arc::new(Mutex::new(publisher));
            keep_current(&names, &publisher);
            tokio::spawn(checkers.clone().run());
            let access = Access::new(&config.admin, made_key);
            let (version, cors) = (config.admin.api_version, config.admin.cors);
            let admin = Arc::new(Admin::new(access, version, cors, view.clone(), publisher));
            let metric_prefix = config.prometheus.as_ref().map_or("", |prometheus| prometheus.prefix.as_str()).into();
            let hostname = metrics::hostname().into();
            let seen = Seen { board: Arc::clone(&board), view, hostname, metric_prefix, checkers };
            start(&config, ports, relay, &admin, &seen)?;
            let timeout_ms = config.tollgate.shutdown_timeout_ms + limits::STOW_MS + LAST_MS;
            until_ended(&board, ended, stop, Duration::from_millis(timeout_ms)).await
        });
        runtime.shutdown_background();
        served
    }
}

/// Puts a server behind every port.
fn start(
    config: &FileConfig,
    ports: Ports,
    relay: Option<Relayed>,
    admin: &Arc<Admin>,
    seen: &Seen,
) -> Result<(), String> {
    let serve = |port: Option<Port>, router: axum::Router| -> Result<(), String> {
        if let Some(port) = port {
            let listener = port.into_tokio()?;
            let service = router.into_make_service_with_connect_info::<Peer>();
            tokio::spawn(async move { axum::serve(listener, service).await });
        }
        Ok(())
    };
    serve(ports.admin, admin::router(Arc::clone(admin)))?;
    serve(ports.control, views::control(seen.clone()))?;
    serve(ports.status, views::status(seen.clone()))?;
    let uri = config.prometheus.as_ref().map_or("/", |prometheus| prometheus.uri.as_str());
    serve(ports.metrics, views::metrics(seen.clone(), uri))?;
    if let Some(relay) = relay {
        let service = admin::router(Arc::clone(admin)).into_make_service_with_connect_info::<Peer>();
        tokio::spawn(async move { axum::serve(relay, service).await });
    }
    Ok(())
}

/// What changes without a request: names, expiries, the standalone file.
fn keep_current(names: &Names, publisher: &Arc<Mutex<Publisher>>) {
    tokio::spawn(names.clone().refresh_forever());
    let (moved, follower) = (names.clone(), Arc::clone(publisher));
    tokio::spawn(async move {
        loop {
            moved.changed().await;
            follower.lock().await.follow_names().await;
        }
    });
    let publisher = Arc::clone(publisher);
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_millis(POLL_MS)).await;
            let mut publisher = publisher.lock().await;
            publisher.expire(store::unix_ms()).await;
            publisher.look_at_file().await;
        }
    });
}

/// Snapshots that no core needs any more are dropped here: freeing thousands of routes takes time that a core does not have.
fn drop_retired(put_down: Receiver<Arc<Snapshot>>) -> Result<(), String> {
    let thread = std::thread::Builder::new().name("retired".into());
    let spawned = thread.spawn(move || put_down.into_iter().for_each(drop));
    spawned.map(|_| ()).map_err(|error| format!("no thread to drop old configurations: {error}"))
}

/// What asks the gateway to stop.
#[derive(Debug)]
struct StopSignals {
    term: Signal,
    int: Signal,
}

impl StopSignals {
    /// Heard from now on, inside the control thread's runtime.
    fn listen() -> Result<Self, String> {
        let hear = |kind| signal(kind).map_err(|error| format!("cannot wait for signals: {error}"));
        Ok(Self { term: hear(SignalKind::terminate())?, int: hear(SignalKind::interrupt())? })
    }

    /// The next of either.
    async fn next(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.int.recv() => {}
        }
    }
}

async fn until_ended(board: &Board, ended: Receiver<()>, mut stop: StopSignals, drain: Duration) -> Result<(), String> {
    let (all_ended, mut gone) = oneshot::channel();
    let thread = std::thread::Builder::new().name("workers-ended".into());
    let spawned = thread.spawn(move || {
        ended.into_iter().for_each(drop);
        let _ = all_ended.send(());
    });
    spawned.map_err(|error| format!("no thread to wait for the workers: {error}"))?;
    tokio::select! {
        _ = &mut gone => return Ok(()),
        () = stop.next() => {}
    }
    log::info!("stopping: no new connections, exchanges are finished, records are flushed");
    board.advance(Stage::Drain);
    tokio::select! {
        _ = &mut gone => return Ok(()),
        () = stop.next() => log::warn!("a second signal: leaving now"),
        () = tokio::time::sleep(drain) => log::warn!("not finished after {} ms: leaving now", drain.as_millis()),
    }
    board.advance(Stage::Exit);
    let _ = gone.await;
    Ok(())
}
