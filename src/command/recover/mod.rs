//! What a start finds of earlier runs: ring files of killed processes, the spool. Everything that waits to be delivered is brought
//! into the spool and handed over as a value, before the first core starts. Blocks; no runtime is there yet.
//!
//! A crash in the middle repeats harmlessly: a batch is in the spool, durably, before it is let go in the ring, and one that is in
//! both is known by lane, origin and number. Nothing is delivered before it is all done.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::base::hash::fnv1a;
use crate::config::file::{KeepConfig, RingPlace};
use crate::io::files;
use crate::io::ring_memory::RING_EXTENSION;
use crate::spool::segment;
use crate::worker::{RecoveredLane, SpoolOptions};

mod ring_dir;
mod spool_dir;
#[cfg(test)]
mod tests;

use spool_dir::SpoolDir;
pub use spool_dir::{read_lane, segments};

/// How long a start waits for a directory that another process uses: one that was killed lets go a moment late.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
/// Where the ring's directory is made by default: a tmpfs on every Linux that has it.
const SHARED_MEMORY: &str = "/dev/shm";
/// What a file that cannot be read is called, behind its name.
pub const BAD: &str = "bad";

/// What the gateway keeps records in, while it runs. Holds the locks.
#[derive(Debug)]
pub struct Kept {
    /// Of this process: [`crate::kafka::Origin::start`].
    pub start: u64,
    /// The spool's directory; None: there is none, what does not fit into the ring is dropped.
    pub spool: Option<PathBuf>,
    /// Where each core makes its ring file; None: the ring is in memory that goes with the process.
    pub ring: Option<PathBuf>,
    locks: Vec<File>,
}

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// By lane, and in it by origin, the oldest first.
    pub lanes: Vec<RecoveredLane>,
    /// What somebody should look at.
    pub warnings: Vec<String>,
    /// What is good to know.
    pub notes: Vec<String>,
}

impl Recovered {
    /// Divides the lanes among cores. All of one lane goes to one core, so that its order is kept.
    pub fn distribute(self, cores: usize) -> Vec<Vec<RecoveredLane>> {
        let mut shares: Vec<Vec<RecoveredLane>> = (0..cores).map(|_| Vec::new()).collect();
        let (mut kinds, mut last) = (0, None);
        for lane in self.lanes {
            if last.replace(lane.lane).is_some_and(|last| last != lane.lane) {
                kinds += 1;
            }
            if let Some(share) = shares.get_mut(kinds % cores.max(1)) {
                share.push(lane);
            }
        }
        shares
    }
}

/// Locks the directories, reads what earlier runs left, brings it into the spool. `unix_ns` is now, in nanoseconds since 1970.
///
/// # Errors
/// When another gateway uses one of the directories: the line for the operator. A spool that cannot be used is a warning.
pub fn recover(keep: &KeepConfig, data_dir: &str, unix_ns: u64) -> Result<(Kept, Recovered), String> {
    let mut found = Recovered::default();
    let mut kept = Kept { start: unix_ns, spool: None, ring: None, locks: Vec::new() };
    let ring = ring_directory(&keep.ring, data_dir, &mut found);
    let Some(path) = keep.spool.as_deref().map(Path::new) else {
        warn_of_leftovers(&default_ring(data_dir), "tollgate.spool.path is none", &mut found);
        return Ok((kept, found));
    };
    match open(path, "tollgate.spool.path")? {
        Ok(lock) => kept.locks.push(lock),
        Err(error) => {
            let what =
                "records that Kafka cannot take are dropped once the ring is full, and do not outlive the process";
            let help = "tollgate.spool.path must be a directory that the gateway's user may write to";
            found.warnings.push(format!("no spool: {}: {error}: {what} ({help})", path.display()));
            ring.iter().for_each(|ring| warn_of_leftovers(ring, "there is no spool", &mut found));
            return Ok((kept, found));
        }
    }
    let mut spool = SpoolDir::read(path, &mut found);
    let usual = default_ring(data_dir);
    if ring.as_ref() != Some(&usual) {
        warn_of_leftovers(&usual, "tollgate.ring.path names another place, or none", &mut found);
    }
    let places = [Some(usual), ring.clone()];
    if let Some(ring) = ring {
        match open(&ring, "tollgate.ring.path")? {
            Ok(lock) => {
                kept.locks.push(lock);
                kept.start = kept.start.max(ring_dir::newest_start(&ring).saturating_add(1));
                ring_dir::bring_in(&ring, &mut spool, &mut found);
                kept.ring = Some(ring);
            }
            Err(error) => {
                let help = "tollgate.ring.path must be a directory that the gateway's user may write to, or `none`";
                found.warnings.push(format!(
                    "{}: {error}: what is in memory does not outlive the process ({help})",
                    ring.display()
                ));
            }
        }
    }
    kept.start = kept.start.max(spool.newest_start().saturating_add(1));
    kept.spool = Some(path.to_owned());
    // What lies in a ring file that was not read is of lanes that the spool may hold nothing of.
    let is_read = places.iter().flatten().all(|place| ring_dir::files(place).is_empty());
    spool.finish(is_read, &mut found);
    Ok((kept, found))
}

impl Kept {
    /// What each of `cores` cores is told of the spool, and what is odd about it.
    pub fn share(&self, keep: &KeepConfig, cores: usize, slot_bytes: usize) -> (Option<SpoolOptions>, Vec<String>) {
        let Some(directory) = self.spool.clone() else { return (None, Vec::new()) };
        let limit_bytes = keep.spool_bytes / cores.max(1) as u64;
        let segment_bytes = segment::segment_bytes(limit_bytes);
        let mut warnings = Vec::new();
        if limit_bytes < 2 * slot_bytes as u64 {
            let help = "less than two slots (tollgate.ring.slot_bytes): raise tollgate.spool.bytes";
            warnings.push(format!("{}: {limit_bytes} bytes for each core, {help}", directory.display()));
        }
        if let Ok(free) = files::free_bytes(&directory)
            && free < keep.spool_bytes
        {
            let help = "once that is used, what Kafka cannot take is dropped: make room, or set tollgate.spool.bytes";
            warnings.push(format!(
                "{}: {free} bytes are free for a spool of {}: {help}",
                directory.display(),
                keep.spool_bytes
            ));
        }
        let (fsync, fsync_interval_ms) = (keep.fsync, keep.fsync_interval_ms);
        (Some(SpoolOptions { directory, limit_bytes, segment_bytes, fsync, fsync_interval_ms }), warnings)
    }

    /// What is odd about the ring's directory, if all rings together have so many bytes.
    pub fn ring_room(&self, bytes: u64) -> Option<String> {
        let ring = self.ring.as_ref()?;
        let free = files::free_bytes(ring).ok().filter(|free| *free < bytes)?;
        let help = "slots beyond that are not used: enlarge it (docker run --shm-size), set tollgate.ring.bytes, or another \
                    tollgate.ring.path";
        Some(format!("{}: {free} bytes are free for rings of {bytes}: {help}", ring.display()))
    }

    /// The gateway has ended: ring files in which nothing lies go, and with them their directory.
    pub fn end(self) {
        if let Some(ring) = &self.ring {
            ring_dir::remove_empty(ring, self.start);
            let _ = fs::remove_dir(ring);
        }
        drop(self.locks);
    }
}

fn ring_directory(place: &RingPlace, data_dir: &str, found: &mut Recovered) -> Option<PathBuf> {
    match place {
        RingPlace::Anonymous => None,
        RingPlace::Directory(path) => Some(path.into()),
        RingPlace::Tmpfs if Path::new(SHARED_MEMORY).is_dir() => Some(default_ring(data_dir)),
        RingPlace::Tmpfs => {
            let help = "name a directory on a tmpfs with tollgate.ring.path, or say `none`";
            found.warnings.push(format!(
                "there is no {SHARED_MEMORY} here: what is in memory does not outlive the process ({help})"
            ));
            None
        }
    }
}

/// The directory on tmpfs that belongs to a data directory.
fn default_ring(data_dir: &str) -> PathBuf {
    // Not canonicalize: what does not exist at the first start would have another name at the second.
    let path: PathBuf = std::path::absolute(data_dir).unwrap_or_else(|_| data_dir.into()).components().collect();
    let hash = fnv1a(path.as_os_str().as_encoded_bytes());
    Path::new(SHARED_MEMORY).join(format!("tollgate-{hash:016x}"))
}

/// Ring files that this start does not look into.
fn warn_of_leftovers(ring: &Path, why: &str, found: &mut Recovered) {
    let files = ring_dir::files(ring);
    if !files.is_empty() {
        let what = "files of an earlier run stay there: they may hold records, which a start with a spool delivers";
        found.warnings.push(format!("{}: {} {RING_EXTENSION} {what} ({why})", ring.display(), files.len()));
    }
}

/// Makes a directory if need be, locks it, and sees whether it can be written to.
///
/// # Errors
/// Outer: another process holds it. Inner: it cannot be used.
fn open(path: &Path, key: &str) -> Result<io::Result<File>, String> {
    match lock(path) {
        Ok(Some(lock)) => Ok(probe(path).map(|()| lock)),
        Ok(None) => {
            let help = format!("stop it first, or give this one a directory of its own ({key})");
            Err(format!("another gateway uses {}: {help}", path.display()))
        }
        Err(error) => Ok(Err(error)),
    }
}

/// Locks the directory itself. None: another process holds it, and does not let go.
fn lock(path: &Path) -> io::Result<Option<File>> {
    let began = Instant::now();
    loop {
        files::private_directory(path)?;
        let directory = File::open(path)?;
        let locked = match directory.try_lock() {
            Ok(()) => true,
            Err(fs::TryLockError::WouldBlock) => false,
            Err(fs::TryLockError::Error(error)) => return Err(error),
        };
        // Whoever held it may have removed it at its end: then this is the lock of nothing.
        let is_there = || Ok::<_, io::Error>(fs::metadata(path)?.ino() == directory.metadata()?.ino());
        if locked && is_there().unwrap_or(false) {
            return Ok(Some(directory));
        }
        if !locked && began.elapsed() > LOCK_PATIENCE {
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn probe(path: &Path) -> io::Result<()> {
    let probe = path.join("probe");
    files::put_in_place(&probe, &path.join("probe.new"), b"", false)?;
    fs::remove_file(probe)
}

/// Puts a file aside that cannot be read, so that nothing of it is lost and the next start does not stumble over it.
fn set_aside(path: &Path, why: &str, found: &mut Recovered) {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{BAD}"));
    let what = match fs::rename(path, &name) {
        Ok(()) => format!("set aside as {}", Path::new(&name).display()),
        Err(error) => format!("cannot be set aside: {error}"),
    };
    found.warnings.push(format!("{}: {why}: {what}", path.display()));
}

/// Names in a directory, in order; none if it cannot be read.
fn names(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort_unstable();
    names
}
