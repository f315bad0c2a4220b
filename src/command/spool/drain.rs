//! `tollgate spool drain`: delivers what earlier runs left, without serving: the cores run as they do in the gateway, with no listener and
//! no Admin API. For a machine that is taken out of service.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use clap::Args;

use crate::base::counters::Counter;
use crate::command::recover::{read_lane, segments};
use crate::command::run;
use crate::config::file::FileConfig;
use crate::config::publish::{Board, Stage};
use crate::spool::scan;

/// Milliseconds between two looks at what is left.
const LOOK_MS: u64 = 20;
/// Milliseconds that what is under way gets once the time is up. What is not answered by then stays in the spool.
const LAST_MS: u64 = 1_000;

/// What to drain, and for how long.
#[derive(Args)]
pub struct DrainWords {
    /// The gateway's configuration file: where the spool is, and the loggers whose credentials are needed.
    #[arg(long, short)]
    config: Option<PathBuf>,
    /// Seconds after which it ends, whatever is left.
    #[arg(long, short, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400 * 365))]
    timeout: u64,
}

/// 0: the spool is empty; 1: something is left, said with the count and why; 2: it could not begin.
pub fn drain(words: &DrainWords) -> ExitCode {
    let began = Instant::now();
    match begin(words) {
        Ok((spool, gateway)) => {
            let board = gateway.board();
            let watched = watch(Arc::clone(&board), Duration::from_secs(words.timeout));
            let nothing_lost = gateway.wait() == ExitCode::SUCCESS;
            let _ = watched.join();
            let left = left(&spool, &board);
            let said = say(&left, began.elapsed(), &mut io::stdout().lock());
            if left.is_empty() && nothing_lost && said.is_ok() { ExitCode::SUCCESS } else { ExitCode::from(1) }
        }
        Err(lines) => {
            lines.iter().for_each(|line| eprintln!("tollgate: {line}"));
            ExitCode::from(2)
        }
    }
}

/// Starts a gateway that serves nobody.
fn begin(words: &DrainWords) -> Result<(PathBuf, run::Gateway), Vec<String>> {
    let file = words.config.clone().unwrap_or_else(|| "config.yaml".into());
    let (mut config, warnings) = match &words.config {
        Some(file) => run::read_file(file)?,
        None => FileConfig::parse("", &|name| std::env::var(name).ok()).map_err(|_| vec!["no configuration".into()])?,
    };
    crate::command::verbosity::follow_file(config.log_level);
    warnings.iter().for_each(|line| log::warn!("{line}"));
    let none = || vec!["tollgate.spool.path is none: there is no spool".to_owned()];
    let spool: PathBuf = config.tollgate.keep.spool.clone().ok_or_else(none)?.into();
    // A start would make one: of a file or a place that is not meant.
    fs::read_dir(&spool).map_err(|error| vec![super::no_spool(&spool, &error)])?;
    config.listen.clear();
    config.admin.enabled = false;
    (config.control, config.status, config.prometheus) = (None, None, None);
    config.tollgate.shutdown_timeout_ms = LAST_MS;
    Ok((spool, run::start(config, &file)?))
}

/// Ends the cores once nothing is left, or the time is up.
fn watch(board: Arc<Board>, timeout: Duration) -> JoinHandle<()> {
    let until = Instant::now() + timeout;
    std::thread::spawn(move || {
        while board.stage() == Stage::Run && Instant::now() < until && !is_empty(&board) {
            std::thread::sleep(Duration::from_millis(LOOK_MS));
        }
        board.advance(Stage::Drain);
    })
}

/// True if every core has said its numbers, and holds nothing.
fn is_empty(board: &Board) -> bool {
    (0..board.core_count()).all(|core| {
        let value = |counter| board.counters(core).value(counter);
        value(Counter::RingSlots) > 0 && value(Counter::EntriesHeld) == 0 && value(Counter::SpoolBatches) == 0
    })
}

/// What is left of a lane.
#[derive(Debug, PartialEq, Eq)]
struct Rest {
    topic: String,
    kafka: String,
    entries: u64,
    why: &'static str,
}

fn left(spool: &Path, board: &Board) -> Vec<Rest> {
    let mut entries = BTreeMap::<u64, u64>::new();
    for id in segments(spool) {
        let Ok(bytes) = fs::read(spool.join(id.path())) else { continue };
        for frame in scan(id, &bytes).frames.iter().filter(|frame| !frame.stored.done && !frame.void) {
            *entries.entry(id.lane).or_default() += frame.stored.entries_left();
        }
    }
    let (_, snapshot) = board.current();
    let is_configured = |lane| snapshot.loggers.iter().any(|logger| logger.stored_as == lane);
    let rest = |(lane, entries): (u64, u64)| match read_lane(spool, lane) {
        Err(_) => Rest {
            topic: format!("of lane {lane:016x}"),
            kafka: "?".to_owned(),
            entries,
            why: "the lane's file in lanes/ is missing or cannot be read",
        },
        Ok((sink, spec)) => {
            let why = if spec.is_secured && !is_configured(lane) {
                "it needs credentials, which are not kept on disk: no kafka-logger names these brokers, user and topic any more"
            } else {
                "Kafka did not take them in time"
            };
            Rest { topic: spec.topic, kafka: sink.broker_list(), entries, why }
        }
    };
    entries.into_iter().map(rest).collect()
}

fn say(left: &[Rest], took: Duration, out: &mut impl Write) -> io::Result<()> {
    for Rest { topic, kafka, entries, why } in left {
        writeln!(out, "topic {topic} at {kafka}: {entries} entries are left: {why}")?;
    }
    let total: u64 = left.iter().map(|rest| rest.entries).sum();
    match total {
        0 if left.is_empty() => writeln!(out, "the spool is empty, after {:.1} s", took.as_secs_f64()),
        _ => writeln!(out, "{total} entries are left, after {:.1} s", took.as_secs_f64()),
    }
}
