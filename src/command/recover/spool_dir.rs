//! The spool's directory as a start finds it, and the batches that it adds from ring files.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::{Recovered, names, set_aside};
use crate::config::lane_registry;
use crate::io::files;
use crate::kafka::stored::{DONE_AT, STORED_BYTES, VOID};
use crate::kafka::{FrameRef, Origin, Stored};
use crate::spool::segment::{
    HEADER_BYTES, REGISTRY, SEGMENT_BYTES, aligned, is_of_another_version, lane_of, number_of, origin_of, registry_path,
};
use crate::spool::{Frame, Scan, SegmentId, Why, scan};
use crate::worker::RecoveredLane;

/// What lies in one lane's directory of one origin.
#[derive(Debug, Default)]
struct Directory {
    /// To be delivered, by number.
    frames: BTreeMap<u64, (FrameRef, Stored)>,
    /// Numbers of batches that are delivered and still there.
    done: BTreeSet<u64>,
    /// No segment has this number or a larger one.
    next_segment: u32,
    /// The segment that batches from ring files are appended to: file, number, end.
    fresh: Option<(File, u32, u64)>,
}

/// All of it.
pub struct SpoolDir {
    path: PathBuf,
    directories: BTreeMap<(u64, Origin), Directory>,
    /// Written to and not made durable.
    dirty: HashSet<PathBuf>,
}

impl SpoolDir {
    /// Reads everything; cuts torn tails, sets aside what is no segment, deletes what is delivered.
    pub fn read(path: &Path, found: &mut Recovered) -> Self {
        let mut spool = Self { path: path.to_owned(), directories: BTreeMap::new(), dirty: HashSet::new() };
        if let Err(error) = files::private_directory(&path.join(REGISTRY)) {
            found.warnings.push(format!("{}: {error}: no batch can be spooled", path.join(REGISTRY).display()));
        }
        for id in segments(path) {
            let directory = spool.directories.entry((id.lane, id.origin)).or_default();
            directory.next_segment = directory.next_segment.max(id.number + 1);
            if let Err(error) = directory.read(path, id, found) {
                found.warnings.push(format!("{}: {error}: left as it is", path.join(id.path()).display()));
            }
        }
        spool
    }

    /// The newest start that left something.
    pub fn newest_start(&self) -> u64 {
        self.directories.keys().map(|(_, origin)| origin.start).max().unwrap_or(0)
    }

    /// Takes a batch of a ring file in; `batch` is what `stored` speaks of. It is durable after [`SpoolDir::sync`].
    ///
    /// # Errors
    /// When there is no room. The batch then stays where it is.
    pub fn take(&mut self, stored: &Stored, batch: &[u8]) -> io::Result<()> {
        let Stored { lane, origin, number, .. } = *stored;
        let directory = self.directories.entry((lane, origin)).or_default();
        // Its slot had not been let go yet.
        if directory.done.contains(&number) {
            return Ok(());
        }
        let front = |stored: &Stored| {
            let mut front = [0; STORED_BYTES];
            stored.write(&mut front);
            front
        };
        if let Some((frame, known)) = directory.frames.get_mut(&number) {
            // The bytes are there; the ring knows better how far the batch came.
            let newer = Stored { sealed: known.sealed, done: false, ..*stored };
            if newer == *known {
                return Ok(());
            }
            let path = self.path.join(SegmentId::of(frame).path());
            OpenOptions::new().write(true).open(&path)?.write_all_at(&front(&newer), frame.offset)?;
            *known = newer;
            self.dirty.insert(path);
            return Ok(());
        }
        let stored = Stored { done: false, ..*stored };
        let mut bytes = front(&stored).to_vec();
        bytes.extend_from_slice(batch);
        let (segment, offset) = directory.append(&self.path, (lane, origin), &bytes)?;
        self.dirty.insert(self.path.join(SegmentId { lane, origin, number: segment }.path()));
        let frame = FrameRef { lane, origin, segment, offset, bytes: bytes.len() as u32 };
        directory.frames.insert(number, (frame, stored));
        Ok(())
    }

    /// Makes durable what was taken in.
    ///
    /// # Errors
    /// What the system said: the ring's files must stay.
    pub fn sync(&mut self) -> io::Result<()> {
        let mut above = BTreeSet::from([self.path.join(REGISTRY)]);
        for (lane, _) in self.directories.keys() {
            let _ = File::open(self.path.join(registry_path(*lane))).and_then(|file| file.sync_data());
        }
        for file in self.dirty.drain() {
            File::open(&file)?.sync_data()?;
            above.extend(file.ancestors().skip(1).take(3).map(Path::to_owned));
        }
        above.iter().try_for_each(|directory| File::open(directory)?.sync_all())
    }

    /// Gives what is to be delivered, with what each lane is; forgets lanes of which nothing is left, if everything `is_read`.
    pub fn finish(self, is_read: bool, found: &mut Recovered) {
        let mut unreadable = BTreeMap::<u64, (String, usize)>::new();
        for ((lane, origin), directory) in self.directories {
            if directory.frames.is_empty() {
                continue;
            }
            let frames: Vec<(FrameRef, Stored)> = directory.frames.into_values().collect();
            match read_lane(&self.path, lane) {
                Ok((sink, spec)) => found.lanes.push(RecoveredLane { lane, origin, sink, spec, frames }),
                Err(why) => unreadable.entry(lane).or_insert((why, 0)).1 += frames.len(),
            }
        }
        for (lane, (why, frames)) in unreadable {
            let path = self.path.join(registry_path(lane));
            let what = format!("{frames} batches of that lane stay in the spool, undelivered");
            found.warnings.push(format!("{}: {why}: {what} (put the file back and start again)", path.display()));
        }
        for (_, lane) in below(&self.path, lane_of) {
            for (_, origin) in below(&lane, origin_of) {
                let _ = fs::remove_dir(origin);
            }
            let _ = fs::remove_dir(lane);
        }
        // A lane that is still configured writes itself down again.
        for name in names(&self.path.join(REGISTRY)) {
            let lane = name.strip_suffix(".json").and_then(lane_of);
            if is_read && !lane.is_some_and(|lane| self.path.join(format!("{lane:016x}")).exists()) {
                let _ = fs::remove_file(self.path.join(REGISTRY).join(name));
            }
        }
    }
}

impl Directory {
    fn read(&mut self, base: &Path, id: SegmentId, found: &mut Recovered) -> io::Result<()> {
        let path = &base.join(id.path());
        let bytes = fs::read(path)?;
        if bytes.len() < HEADER_BYTES {
            // Its writer ended before it began.
            return fs::remove_file(path);
        }
        if SegmentId::read(&bytes) != Some(id) {
            if is_of_another_version(&bytes) {
                let what = "a segment of another version of Tollgate, left as it is: that version can deliver it";
                found.warnings.push(format!("{}: {what}", path.display()));
            } else {
                set_aside(path, "it is no segment, or not the one that its name says", found);
            }
            return Ok(());
        }
        let scan = scan(id, &bytes);
        let len = bytes.len() as u64;
        cut(path, &scan, len, found)?;
        let mut is_needed = scan.damage.iter().any(|damage| damage.to < len);
        for frame in &scan.frames {
            is_needed |= self.count(base, frame, id)?;
        }
        if is_needed { Ok(()) } else { fs::remove_file(path) }
    }

    /// Counts a frame that was found; true if it is to be delivered.
    fn count(&mut self, base: &Path, frame: &Frame, id: SegmentId) -> io::Result<bool> {
        let number = frame.stored.number;
        if frame.void {
            return Ok(false);
        }
        if frame.stored.done {
            self.done.insert(number);
            // A copy of it that was found before: a write that failed, and stood there all the same.
            return self.frames.remove(&number).map_or(Ok(false), |(copy, _)| make_void(base, &copy).map(|()| false));
        }
        if self.frames.contains_key(&number) || self.done.contains(&number) {
            return make_void(base, &frame.reference(id.number)).map(|()| false);
        }
        self.frames.insert(number, (frame.reference(id.number), frame.stored));
        Ok(true)
    }

    /// Writes a frame behind the last of the fresh segment; gives segment and offset.
    fn append(&mut self, base: &Path, (lane, origin): (u64, Origin), bytes: &[u8]) -> io::Result<(u32, u64)> {
        let fits = |end: u64| end + bytes.len() as u64 <= SEGMENT_BYTES;
        if self.fresh.as_ref().is_none_or(|(_, _, end)| !fits(*end)) {
            let id = SegmentId { lane, origin, number: self.next_segment };
            files::private_directory(&base.join(id.directory()))?;
            let path = base.join(id.path());
            let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
            self.next_segment += 1;
            file.write_all_at(&id.header(), 0).inspect_err(|_| drop(fs::remove_file(&path)))?;
            self.fresh = Some((file, id.number, HEADER_BYTES as u64));
        }
        let Some((file, number, end)) = &mut self.fresh else { return Err(io::ErrorKind::NotFound.into()) };
        let offset = *end;
        file.write_all_at(bytes, offset).inspect_err(|_| drop(file.set_len(offset)))?;
        *end = aligned(offset + bytes.len() as u64);
        Ok((*number, offset))
    }
}

fn make_void(base: &Path, frame: &FrameRef) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(base.join(SegmentId::of(frame).path()))?;
    file.write_all_at(&[VOID], frame.offset + DONE_AT as u64)
}

/// Cuts a torn tail and says what is damaged.
fn cut(path: &Path, scan: &Scan, len: u64, found: &mut Recovered) -> io::Result<()> {
    for damage in &scan.damage {
        let bytes = damage.to - damage.from;
        let where_ = format!("{}, {bytes} bytes from {}: {}", path.display(), damage.from, damage.why);
        if damage.to < len {
            found.warnings.push(format!("{where_}: passed over, what it held is lost"));
            continue;
        }
        OpenOptions::new().write(true).open(path)?.set_len(scan.end)?;
        // A write that a kill or a loss of power cut short. What it held counts as not spooled: if the process was killed, the
        // ring has it.
        let list = if damage.why == Why::Batch { &mut found.warnings } else { &mut found.notes };
        list.push(format!("{where_}: cut off behind the last whole batch"));
    }
    Ok(())
}

/// What the registry says of a lane.
///
/// # Errors
/// Why it says nothing.
pub fn read_lane(spool: &Path, lane: u64) -> Result<(crate::kafka::SinkSpec, lane_registry::StoredLane), String> {
    let text = fs::read_to_string(spool.join(registry_path(lane))).map_err(|error| error.to_string())?;
    lane_registry::decode(&text)
}

/// Every segment by its name, in order.
pub fn segments(spool: &Path) -> Vec<SegmentId> {
    let mut found = Vec::new();
    for (lane, lane_path) in below(spool, lane_of) {
        for (origin, origin_path) in below(&lane_path, origin_of) {
            found.extend(below(&origin_path, number_of).into_iter().map(|(number, _)| SegmentId {
                lane,
                origin,
                number,
            }));
        }
    }
    found
}

/// What is below a directory whose name means something, in the order of the names.
fn below<T>(path: &Path, read: impl Fn(&str) -> Option<T>) -> Vec<(T, PathBuf)> {
    let named = names(path).into_iter();
    named.filter_map(|name| Some((read(&name)?, path.join(name)))).collect()
}
