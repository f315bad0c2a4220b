//! `tollgate run`: reads the file, binds every port, starts the cores and the control thread, waits for the end.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroU32;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, UNIX_EPOCH};

use super::recover::{Kept, recover};
use crate::base::counters::Counter;
use crate::config::file::{Driver as DriverChoice, FileConfig, KeepConfig, Workers};
use crate::config::publish::{Bell, Board, Question, Stage};
use crate::config::snapshot::Snapshot;
use crate::control::{self, Control};
use crate::io::bell::{BellEar, bell};
use crate::io::driver::{self, Driver};
use crate::io::listener::Owner;
use crate::io::{listener, process};
use crate::kafka::ShipperOptions;
use crate::kafka::security::NonceKey;
use crate::kafka::trace::Stream;
use crate::log::exchange::GatewayNames;
use crate::worker::{self, Left, RecoveredLane, Settings, Spread, Start};

/// How long a start waits for a port that is taken.
const PORT_PATIENCE: Duration = Duration::from_secs(2);
/// Questions about names that may wait for the control thread.
const QUESTIONS_WAITING: usize = 256;

/// Runs until SIGTERM or SIGINT. 0: everything accepted is in Kafka; 1: something was lost, said with the count; 2: no start.
pub fn run(file: &Path) -> ExitCode {
    let started = read_file(file).and_then(|(config, warnings)| {
        super::verbosity::follow_file(config.log_level);
        warnings.iter().for_each(|line| log::warn!("{line}"));
        super::doctor::quietly(&config);
        start(config, file)
    });
    match started {
        Ok(gateway) => gateway.wait(),
        Err(lines) => {
            lines.iter().for_each(|line| eprintln!("tollgate: {line}"));
            ExitCode::from(2)
        }
    }
}

/// Reads and checks a configuration file. Gives what it says and a line for everything that is odd.
///
/// # Errors
/// One line for everything that is wrong.
pub fn read_file(file: &Path) -> Result<(FileConfig, Vec<String>), Vec<String>> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| vec![format!("{}: {error} (name another file with --config)", file.display())])?;
    let (config, warnings) = FileConfig::parse(&text, &|name| std::env::var(name).ok()).map_err(|problems| {
        problems.iter().map(|problem| format!("{}: {problem}", file.display())).collect::<Vec<_>>()
    })?;
    let warnings = warnings.iter().map(|warning| format!("{}: {warning}", file.display())).collect();
    Ok((config, warnings))
}

/// A gateway that serves.
pub struct Gateway {
    board: Arc<Board>,
    control: Control,
    asked: Receiver<Question>,
    put_down: Receiver<Arc<Snapshot>>,
    ended: Receiver<()>,
    cores: Vec<JoinHandle<io::Result<Left>>>,
    kept: Kept,
}

/// Binds everything, then starts the cores.
///
/// # Errors
/// One line for everything that stands in the way; nothing listens then.
pub fn start(config: FileConfig, file: &Path) -> Result<Gateway, Vec<String>> {
    process::prefer_small_pages();
    let (driver, remark) = choose_driver(config.tollgate.driver, driver::probe()).map_err(|line| vec![line])?;
    remark.iter().for_each(|line| log::warn!("{line}"));
    let count = worker_count(config.workers);
    let addresses = config.listen.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let handed = super::activation::handed_over().map_err(|line| vec![line])?;
    let owner = if handed.is_empty() { Owner::Us } else { Owner::Supervisor };
    let bound = match owner {
        Owner::Us => bind_all(&config.listen, count)?,
        Owner::Supervisor => super::activation::share(handed, &config.listen, count)?,
    };
    if let Err(error) = process::raise_open_files() {
        log::warn!("the limit of open files could not be raised: {error}");
    }
    let mut settings = settings(&config, driver, &bound);
    let (bells, ears) =
        bells(count).map_err(|error| vec![format!("no descriptors left to wake the cores: {error}")])?;
    let (keep, data_dir) = (config.tollgate.keep.clone(), config.tollgate.data_dir.clone());
    let mut control = control::prepare(config, file)?;
    control.bind()?;
    let (kept, recovered) = find_kept(&keep, &data_dir, count, &mut settings).map_err(|line| vec![line])?;
    settings.shipping.trace = settings.shipping.trace.map(|_| this_start(&control, kept.start));
    settings.admin_socket = control.relay_path().map(Into::into);
    control.warnings().iter().for_each(|line| log::warn!("{line}"));
    control.notes().iter().for_each(|line| log::info!("{line}"));
    let (board, asked, put_down) = Board::new(control.snapshot(), bells, QUESTIONS_WAITING);
    let board = Arc::new(board);
    if keep.spool.is_some() && settings.spool.is_none() {
        // It was asked for and cannot be had: the readiness endpoint says so.
        (0..count).for_each(|core| board.counters(core).set(Counter::SpoolFull, 1));
    }
    let (alive, ended) = std::sync::mpsc::channel();
    let cores = spawn(&board, ears.into_iter().zip(recovered).collect(), (bound, owner), &settings, &alive)
        .map_err(|error| vec![format!("a core could not be started: {error}")])?;
    let listening = if addresses.is_empty() { "serving nobody" } else { "listening on " };
    log::info!("{count} cores on {driver}, {listening}{addresses}");
    Ok(Gateway { board, control, asked, put_down, ended, cores, kept })
}

/// What earlier runs left, divided among the cores; and where this one keeps what Kafka cannot take.
fn find_kept(
    keep: &KeepConfig,
    data_dir: &str,
    cores: usize,
    settings: &mut Settings,
) -> Result<(Kept, Vec<Vec<RecoveredLane>>), String> {
    let unix_ns = UNIX_EPOCH.elapsed().map_or(0, |since| since.as_nanos() as u64);
    let (kept, recovered) = recover(keep, data_dir, unix_ns)?;
    recovered.warnings.iter().for_each(|line| log::warn!("{line}"));
    recovered.notes.iter().for_each(|line| log::info!("{line}"));
    let (spool, warnings) = kept.share(keep, cores, settings.slot_bytes);
    let ring_bytes = (cores * settings.slot_count * settings.slot_bytes) as u64;
    warnings.into_iter().chain(kept.ring_room(ring_bytes)).for_each(|line| log::warn!("{line}"));
    settings.ring = kept.ring.as_deref().map(Into::into);
    (settings.shipping.spool, settings.shipping.ring_stays) = (spool.is_some(), kept.ring.is_some());
    settings.shipping.origin.start = kept.start;
    settings.spool = spool;
    Ok((kept, recovered.distribute(cores)))
}

impl Gateway {
    /// Serves the control plane on this thread until the last core has ended, and says how it ended.
    pub fn wait(self) -> ExitCode {
        let Self { board, control, asked, put_down, ended, cores, kept } = self;
        if let Err(line) = control.serve(Arc::clone(&board), asked, put_down, ended) {
            log::error!("{line}");
            board.advance(Stage::Exit);
        }
        let (Left { lost, kept: entries }, failed) = join(cores);
        kept.end();
        if entries > 0 {
            log::info!("{entries} log entries are kept and will be delivered by the next start");
        }
        if lost > 0 {
            eprintln!("tollgate: stopped; {lost} log entries did not reach Kafka");
        } else {
            log::info!("stopped");
        }
        if failed || lost > 0 { ExitCode::from(1) } else { ExitCode::SUCCESS }
    }

    /// What both sides see: `advance` is what SIGTERM does.
    pub fn board(&self) -> Arc<Board> {
        Arc::clone(&self.board)
    }
}

fn join(cores: Vec<JoinHandle<io::Result<Left>>>) -> (Left, bool) {
    let (mut all, mut failed) = (Left::default(), false);
    for (index, core) in cores.into_iter().enumerate() {
        match core.join() {
            Ok(Ok(left)) => {
                all.lost += left.lost;
                all.kept += left.kept;
            }
            Ok(Err(error)) => {
                log::error!("core {index} could not run: {error}");
                failed = true;
            }
            Err(_) => {
                log::error!("core {index} panicked");
                failed = true;
            }
        }
    }
    (all, failed)
}

/// What to run on, and what to say about it: io_uring without `COOP_TASKRUN` is dearer than epoll, so only who insists gets it.
fn choose_driver(choice: DriverChoice, found: Result<Driver, String>) -> Result<(Driver, Option<String>), String> {
    let lacking = "this kernel's io_uring lacks COOP_TASKRUN (5.19 or later has it)";
    match (choice, found) {
        (DriverChoice::Epoll, _) => Ok((Driver::Epoll, None)),
        (DriverChoice::IoUring, Ok(Driver::PlainUring)) => {
            let text = format!("{lacking}: `driver: auto` would take epoll, which is cheaper then");
            Ok((Driver::PlainUring, Some(text)))
        }
        (DriverChoice::Auto, Ok(Driver::PlainUring)) => Ok((Driver::Epoll, Some(format!("using epoll: {lacking}")))),
        (_, Ok(driver)) => Ok((driver, None)),
        (DriverChoice::IoUring, Err(reason)) => Err(format!("tollgate.driver is io_uring, but {reason}")),
        (DriverChoice::Auto, Err(reason)) => Ok((Driver::Epoll, Some(format!("using epoll: {reason}")))),
    }
}

fn worker_count(workers: Workers) -> usize {
    match workers {
        Workers::Auto => process::core_count(),
        Workers::Count(count) => count.get(),
    }
}

/// One listener per address and core.
fn bind_all(addresses: &[SocketAddr], cores: usize) -> Result<Vec<Vec<TcpListener>>, Vec<String>> {
    let mut problems = Vec::new();
    let mut bound: Vec<Vec<TcpListener>> = (0..cores).map(|_| Vec::new()).collect();
    for address in addresses {
        // A bind without SO_REUSEPORT first: otherwise another gateway on the port would silently share its connections.
        if let Err(error) = free_soon(*address) {
            problems.push(format!("cannot listen on {address}: {error} (apisix.node_listen chooses the port)"));
            continue;
        }
        for core in &mut bound {
            match listener::bind(*address) {
                Ok(listener) => core.push(listener),
                Err(error) => {
                    problems.push(format!("cannot listen on {address}: {error} (apisix.node_listen chooses the port)"))
                }
            }
        }
    }
    if problems.is_empty() { Ok(bound) } else { Err(problems) }
}

/// The kernel closes a killed process's ring, and with it the sockets it accepts on, a moment after the process is gone: a restart
/// waits for that instead of failing.
fn free_soon(address: SocketAddr) -> io::Result<()> {
    let began = Instant::now();
    loop {
        match listener::probe(address) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && began.elapsed() < PORT_PATIENCE => {
                std::thread::sleep(Duration::from_millis(20));
            }
            result => return result,
        }
    }
}

fn bells(count: usize) -> io::Result<(Vec<Bell>, Vec<BellEar>)> {
    let pairs = (0..count).map(|_| bell()).collect::<io::Result<Vec<_>>>()?;
    Ok(pairs.into_iter().map(|(rope, ear)| (Box::new(move || rope.ring()) as Bell, ear)).unzip())
}

fn spawn(
    board: &Arc<Board>,
    ears: Vec<(BellEar, Vec<RecoveredLane>)>,
    (bound, owner): (Vec<Vec<TcpListener>>, Owner),
    settings: &Settings,
    alive: &Sender<()>,
) -> io::Result<Vec<JoinHandle<io::Result<Left>>>> {
    let spread = Arc::new(Spread::new(ears.len(), settings.max_connections_per_address));
    let starts = ears.into_iter().zip(bound).enumerate().map(|(index, ((ear, recovered), listeners))| Start {
        index,
        board: Arc::clone(board),
        spread: Arc::clone(&spread),
        ear,
        listeners,
        owner,
        settings: settings.clone(),
        recovered,
    });
    let spawned = starts.map(|start| {
        let alive = alive.clone();
        let board = Arc::clone(board);
        std::thread::Builder::new().name(format!("core-{}", start.index)).spawn(move || {
            let left = catch_unwind(AssertUnwindSafe(|| worker::run(start)))
                .unwrap_or_else(|_| Err(io::Error::other("it panicked; log entries that it held are lost")));
            // A process with a core less would serve on and be slow: it stops instead, and whoever watches it starts it again.
            if left.is_err() {
                board.advance(Stage::Drain);
            }
            drop(alive);
            left
        })
    });
    spawned.collect()
}

/// What the records' headers say of this gateway and this start of it.
fn this_start(control: &Control, start: u64) -> Stream {
    let (gateway, warning) = control::identity::gateway_id(control.data_dir());
    warning.iter().for_each(|line| log::warn!("{line}"));
    Stream { gateway, start, ..Stream::default() }
}

fn settings(config: &FileConfig, driver: Driver, bound: &[Vec<TcpListener>]) -> Settings {
    let (http, own) = (&config.http, &config.tollgate);
    let version = env!("CARGO_PKG_VERSION");
    let ports = bound.first().into_iter().flatten().filter_map(|listener| listener.local_addr().ok());
    let server = if http.server_tokens { format!("tollgate/{version}") } else { "tollgate".to_owned() };
    Settings {
        driver,
        listen_ports: ports.map(|address| address.port()).collect(),
        header_timeout_ms: http.client_header_timeout_ms,
        body_timeout_ms: http.client_body_timeout_ms,
        send_timeout_ms: http.send_timeout_ms,
        keepalive_timeout_ms: http.keepalive_timeout_ms,
        request_limits: own.request_limits,
        response_limits: own.response_limits,
        body_bytes_max: http.client_max_body_bytes,
        max_connections: if own.max_connections == 0 { usize::MAX } else { own.max_connections },
        max_connections_per_address: NonZeroU32::new(own.max_connections_per_address),
        shutdown_timeout_ms: own.shutdown_timeout_ms,
        body_capture_bytes: own.body_capture_bytes,
        slot_count: (own.ring_bytes / own.slot_bytes).max(2),
        slot_bytes: own.slot_bytes,
        ring: None,
        spool: None,
        shipping: ShipperOptions {
            seed: process::random_seed(),
            nonce_key: NonceKey(process::random_key()),
            ..own.kafka.clone()
        },
        admin_socket: None,
        server: server.into(),
        via: own.via.as_deref().map(Into::into),
        show_upstream_status: http.show_upstream_status,
        real_ip_header: http.real_ip_header.as_deref().map(Into::into),
        real_ip_from: http.real_ip_from.clone().into(),
        trusted: http.trusted.clone().map(Into::into),
        delete_uri_tail_slash: http.delete_uri_tail_slash,
        gateway: Arc::new(GatewayNames {
            hostname: process::host_name().into(),
            version: version.into(),
            pid: std::process::id(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_without_the_flag_is_for_those_who_insist_and_both_are_told() {
        let chosen = |choice, found| choose_driver(choice, found).map(|(driver, remark)| (driver, remark.is_some()));
        let none = || Err("no".to_owned());
        for (choice, found, expected) in [
            (DriverChoice::Auto, Ok(Driver::Uring), Ok((Driver::Uring, false))),
            (DriverChoice::Auto, Ok(Driver::PlainUring), Ok((Driver::Epoll, true))),
            (DriverChoice::Auto, none(), Ok((Driver::Epoll, true))),
            (DriverChoice::IoUring, Ok(Driver::Uring), Ok((Driver::Uring, false))),
            (DriverChoice::IoUring, Ok(Driver::PlainUring), Ok((Driver::PlainUring, true))),
            (DriverChoice::IoUring, none(), Err("tollgate.driver is io_uring, but no".to_owned())),
            (DriverChoice::Epoll, Ok(Driver::Uring), Ok((Driver::Epoll, false))),
            (DriverChoice::Epoll, none(), Ok((Driver::Epoll, false))),
        ] {
            assert_eq!(chosen(choice, found.clone()), expected, "{choice:?}, {found:?}");
        }
    }
}
