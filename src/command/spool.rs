//! `tollgate spool ls` and `tollgate spool verify`: what waits on disk, and whether it is whole. Both only read, also while a
//! gateway runs. `tollgate spool drain` is in `drain`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand};

use super::recover::{BAD, read_lane, segments};
use super::run::read_file;
use crate::kafka::Origin;
use crate::spool::{SegmentId, scan};

mod drain;

/// The spool of a gateway that was told nothing else.
const DEFAULT: &str = "./tollgate-data/spool";

/// The words of `tollgate spool`.
#[derive(Subcommand)]
pub enum SpoolWords {
    /// Show what waits to be delivered: a line for each lane and start of a core.
    Ls(Where),
    /// Read everything and check every checksum; says what is wrong, exit code 1 then.
    Verify(Where),
    /// Deliver what waits, without serving; exit code 1 if something is left. Not while a gateway runs.
    Drain(drain::DrainWords),
}

/// Which spool.
#[derive(Args)]
#[group(multiple = false)]
pub struct Where {
    /// The gateway's configuration file: the spool is where it says.
    #[arg(long, short)]
    config: Option<PathBuf>,
    /// The spool's directory.
    #[arg(long, short, value_name = "DIR")]
    spool: Option<PathBuf>,
}

/// 0: done; 1: something is wrong with the spool; 2: there is none, or the words make no sense.
pub fn spool(words: SpoolWords) -> ExitCode {
    let (place, check) = match words {
        SpoolWords::Ls(place) => (place, false),
        SpoolWords::Verify(place) => (place, true),
        SpoolWords::Drain(words) => return drain::drain(&words),
    };
    let path = match directory(place) {
        Ok(path) => path,
        Err(lines) => {
            lines.iter().for_each(|line| eprintln!("tollgate: {line}"));
            return ExitCode::from(2);
        }
    };
    let mut out = io::stdout().lock();
    let done = if check { verify(&path, &mut out) } else { list(&path, now_ms(), &mut out).map(|()| true) };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        // `tollgate spool ls | head`
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tollgate: {error}");
            ExitCode::from(1)
        }
    }
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn directory(place: Where) -> Result<PathBuf, Vec<String>> {
    let path = match (place.spool, place.config) {
        (Some(path), _) => path,
        (None, Some(file)) => {
            let (config, _) = read_file(&file)?;
            let none = || vec![format!("{}: tollgate.spool.path is none: there is no spool", file.display())];
            config.tollgate.keep.spool.ok_or_else(none)?.into()
        }
        (None, None) => DEFAULT.into(),
    };
    match fs::read_dir(&path) {
        Ok(_) => Ok(path),
        Err(error) => Err(vec![no_spool(&path, &error)]),
    }
}

fn no_spool(path: &Path, error: &io::Error) -> String {
    format!("{}: {error} (name the spool with --spool, or the gateway's file with --config)", path.display())
}

/// What of one lane and origin is there.
#[derive(Default)]
struct Row {
    batches: u64,
    entries: u64,
    bytes: u64,
    oldest_ms: Option<i64>,
}

/// Shows what waits.
fn list(path: &Path, now_ms: i64, out: &mut impl Write) -> io::Result<()> {
    let mut rows = BTreeMap::<(u64, Origin), Row>::new();
    for id in segments(path) {
        // Delivered and deleted while we looked.
        let Ok(bytes) = fs::read(path.join(id.path())) else { continue };
        let row = rows.entry((id.lane, id.origin)).or_default();
        row.bytes += bytes.len() as u64;
        for frame in scan(id, &bytes).frames.iter().filter(|frame| !frame.stored.done) {
            row.batches += 1;
            row.entries += frame.stored.entries_left();
            let made_ms = frame.stored.sealed.base_timestamp_ms;
            row.oldest_ms = Some(row.oldest_ms.map_or(made_ms, |oldest| oldest.min(made_ms)));
        }
    }
    let head = ["LANE", "TOPIC", "KAFKA", "START-CORE", "BATCHES", "ENTRIES", "BYTES", "OLDEST"].map(str::to_owned);
    let mut table = vec![head];
    for ((lane, origin), row) in &rows {
        let (topic, kafka) = match read_lane(path, *lane) {
            Ok((sink, spec)) => (spec.topic, sink.broker_list()),
            Err(_) => ("?".to_owned(), "not in the registry".to_owned()),
        };
        let [batches, entries, bytes] = [row.batches, row.entries, row.bytes].map(|number| number.to_string());
        let oldest = row.oldest_ms.map_or("-".to_owned(), |oldest| age(now_ms - oldest));
        table.push([format!("{lane:016x}"), topic, kafka, origin.to_string(), batches, entries, bytes, oldest]);
    }
    print(&table, out)?;
    let total = |of: fn(&Row) -> u64| rows.values().map(of).sum::<u64>();
    let (batches, entries, bytes) = (total(|row| row.batches), total(|row| row.entries), total(|row| row.bytes));
    writeln!(out, "{batches} batches with {entries} entries wait, {bytes} bytes on disk")
}

fn print<const N: usize>(table: &[[String; N]], out: &mut impl Write) -> io::Result<()> {
    for row in table.iter().filter(|_| table.len() > 1) {
        let cells = row.iter().enumerate().map(|(column, cell)| {
            let width = table.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
            format!("{cell:<width$}")
        });
        writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}

/// How long ago, in the two largest units.
fn age(ms: i64) -> String {
    let seconds = ms.max(0) / 1_000;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h{:02}m", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

/// Checks everything; false if something is wrong.
fn verify(path: &Path, out: &mut impl Write) -> io::Result<bool> {
    let is_running = File::open(path)?.try_lock_shared().is_err();
    let (mut wrong, mut batches, mut delivered, mut count) = (0, 0, 0, 0);
    for id in segments(path) {
        let file = path.join(id.path());
        let bytes = match fs::read(&file) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound && is_running => continue,
            Err(error) => {
                wrong += 1;
                writeln!(out, "{}: {error}", file.display())?;
                continue;
            }
        };
        count += 1;
        if SegmentId::read(&bytes) != Some(id) {
            wrong += 1;
            writeln!(out, "{}: its header is damaged, of another version, or of another segment", file.display())?;
            continue;
        }
        let scan = scan(id, &bytes);
        delivered += scan.frames.iter().filter(|frame| frame.stored.done).count();
        batches += scan.frames.iter().filter(|frame| !frame.stored.done).count();
        for damage in scan.damage {
            // A gateway that runs may just be writing there.
            let is_tail = damage.to == bytes.len() as u64;
            let note = if is_tail && is_running { " (a gateway runs: perhaps it is being written)" } else { "" };
            wrong += u64::from(note.is_empty());
            let (from, to) = (damage.from, damage.to);
            writeln!(out, "{}: bytes {from} to {to}: {}{note}", file.display(), damage.why)?;
        }
    }
    for lane in lanes(path) {
        if let Err(why) = read_lane(path, lane) {
            wrong += 1;
            writeln!(out, "lane {lane:016x}: not in the registry, what lies there cannot be delivered: {why}")?;
        }
    }
    for aside in set_aside(path) {
        wrong += 1;
        writeln!(out, "{}: set aside by an earlier start: look at it, then delete it", aside.display())?;
    }
    writeln!(
        out,
        "{count} segments, {batches} whole batches wait, {delivered} are delivered; {wrong} things are wrong"
    )?;
    Ok(wrong == 0)
}

fn lanes(path: &Path) -> Vec<u64> {
    let mut lanes: Vec<u64> = segments(path).iter().map(|id| id.lane).collect();
    lanes.dedup();
    lanes
}

/// Files that a start could not read.
fn set_aside(path: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(set_aside(&path));
        } else if path.extension().is_some_and(|extension| extension == BAD) {
            found.push(path);
        }
    }
    found
}

#[cfg(test)]
mod tests;
