//! Ring files that killed processes left: what lies in their slots goes into the spool.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::spool_dir::SpoolDir;
use super::{Recovered, names, set_aside};
use crate::io::ring_memory::{NotARing, RING_EXTENSION, RING_HEADER_BYTES, RingHeader};
use crate::kafka::batch::{HEADROOM_BYTES, RECORDS_START};
use crate::kafka::{Stored, slot};
use crate::spool::segment::origin_of;

/// Ring files of a directory, in the order of their names: of the starts.
pub fn files(directory: &Path) -> Vec<PathBuf> {
    let named = names(directory).into_iter().map(|name| directory.join(name));
    named.filter(|path| path.extension().is_some_and(|extension| extension == RING_EXTENSION)).collect()
}

/// The newest start that has a file there.
pub fn newest_start(directory: &Path) -> u64 {
    let stem = |path: &PathBuf| origin_of(path.file_stem()?.to_str()?);
    files(directory).iter().filter_map(stem).map(|origin| origin.start).max().unwrap_or(0)
}

/// Brings everything in. A file that is empty afterwards is removed; one that could not be emptied stays, with what is left.
pub fn bring_in(directory: &Path, spool: &mut SpoolDir, found: &mut Recovered) {
    for path in files(directory) {
        if let Err(error) = empty(&path, spool, found) {
            let what = "batches of an earlier run stay in it, the next start tries again";
            found.warnings.push(format!("{}: {error}: {what}", path.display()));
        }
    }
}

/// Removes the files of one start in which nothing lies.
pub fn remove_empty(directory: &Path, start: u64) {
    for path in files(directory) {
        let is_empty = || -> io::Result<bool> {
            let file = File::open(&path)?;
            let header = read_header(&file)?.ok().filter(|header| header.origin.start == start);
            Ok(header.map(|header| used_slots(&file, &header)).transpose()?.is_some_and(|used| used.is_empty()))
        };
        if is_empty().unwrap_or(false) {
            let _ = fs::remove_file(&path);
        }
    }
}

/// A slot's index and bytes.
type Used = (usize, Vec<u8>);

fn empty(path: &Path, spool: &mut SpoolDir, found: &mut Recovered) -> io::Result<()> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let header = match read_header(&file)? {
        Ok(header) => header,
        Err(NotARing::Version(version)) => {
            let what = "start that version once, so that it delivers what lies in it, or move the file away";
            found.warnings.push(format!("{}: a ring of another version ({version}): {what}", path.display()));
            return Ok(());
        }
        Err(NotARing::Header) => {
            set_aside(path, "it is no ring file, or its header is damaged", found);
            return Ok(());
        }
    };
    let mut slots = used_slots(&file, &header)?;
    drop_carried(&mut slots);
    let mut sound = file.metadata()?.len() >= header.file_bytes();
    let mut batches: Vec<(usize, Stored)> = Vec::new();
    for (at, (index, memory)) in slots.iter_mut().enumerate() {
        match slot::recover(memory) {
            Ok(Some(stored)) => batches.push((at, stored)),
            Ok(None) => {}
            Err(damage) => {
                found
                    .warnings
                    .push(format!("{}: slot {index} is damaged ({damage:?}): what it held is lost", path.display()));
                sound = false;
            }
        }
    }
    batches.sort_by_key(|(_, stored)| (stored.lane, stored.number));
    let taken = take(&batches, &slots, spool);
    // Where a ring is in memory, a loss of power costs what is in it anyhow: no reason to keep it here as well, and to deliver it
    // again after the next start.
    if let Err(error) = spool.sync() {
        found.warnings.push(format!("the spool: {error}: a loss of power may cost batches until they are delivered"));
    }
    for (at, _) in &batches[..taken.0] {
        let (index, memory) = &mut slots[*at];
        slot::free(memory);
        file.write_all_at(&memory[..slot::ACCOUNT_BYTES], header.slot_at(*index))?;
    }
    taken.1?;
    if !batches.is_empty() {
        found.notes.push(format!("{}: {} batches of an earlier run", path.display(), batches.len()));
    }
    if sound {
        fs::remove_file(path)?;
    } else {
        set_aside(path, "it is damaged or shorter than it says", found);
    }
    Ok(())
}

/// Takes batches into the spool until one has no room: how many, and why no more.
fn take(batches: &[(usize, Stored)], slots: &[Used], spool: &mut SpoolDir) -> (usize, io::Result<()>) {
    for (count, (at, stored)) in batches.iter().enumerate() {
        let batch = &slots[*at].1[HEADROOM_BYTES..stored.sealed.end];
        if let Err(error) = spool.take(stored, batch) {
            return (count, Err(error));
        }
    }
    (batches.len(), Ok(()))
}

/// An array that was on its way from one slot to the next counts once.
fn drop_carried(slots: &mut [Used]) {
    for earlier in 0..slots.len() {
        for later in 0..slots.len() {
            if let Ok([earlier, later]) = slots.get_disjoint_mut([earlier, later]) {
                slot::drop_carried(&mut earlier.1, &later.1);
            }
        }
    }
}

fn read_header(file: &File) -> io::Result<Result<RingHeader, NotARing>> {
    let mut front = [0; RING_HEADER_BYTES];
    let len = file.read_at(&mut front, 0)?;
    Ok(RingHeader::read(&front[..len]))
}

/// Every slot in which something lies. The file is sparse: of the others only the account is looked at.
fn used_slots(file: &File, header: &RingHeader) -> io::Result<Vec<Used>> {
    let len = file.metadata()?.len();
    let mut used = Vec::new();
    // What the header says was never written by anybody else, but the file may have been cut.
    let whole = |index: &usize| header.slot_at(*index) + header.slot_bytes as u64 <= len;
    for index in (0..header.count).take_while(whole) {
        let mut memory = vec![0; header.slot_bytes.min(RECORDS_START + 1)];
        file.read_exact_at(&mut memory, header.slot_at(index))?;
        if slot::is_used(&memory) {
            memory.resize(header.slot_bytes, 0);
            file.read_exact_at(&mut memory, header.slot_at(index))?;
            used.push((index, memory));
        }
    }
    Ok(used)
}
