//! Carries out what the core's part of the spool asks for: frames written from slots and read into them, marks, deletes, fsync.
//! Where a frame goes is `spool::Store`'s to say; what is spooled and when is `kafka`'s.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use crate::base::Mono;
use crate::base::counters::{CoreCounters, Counter};
use crate::config::lane_registry::{self, StoredLane};
use crate::io::clock::Clock;
use crate::io::files::{self, DataFile};
use crate::io::notify::Notify;
use crate::io::ring_memory::{PinnedBytes, PinnedBytesMut};
use crate::kafka::stored::{DONE, DONE_AT, STORED_BYTES, VOID};
use crate::kafka::{FrameRef, Origin, SinkSpec, Stored};
use crate::spool::segment::{REGISTRY, is_whole_batch, registry_path};
use crate::spool::{FileAction, Fsync, SegmentId, Store};

/// Segments kept open per core; another one is opened again when it is needed.
const FILES_OPEN: usize = 64;
/// Milliseconds for which nothing is written after the disk refused a write.
const PAUSE_MS: u64 = 1_000;
/// Milliseconds for which a disk that refused a write counts as full, unless it takes one.
const FAILING_MS: u64 = 3 * PAUSE_MS;
/// Milliseconds between two lines about the spool's trouble.
const SAY_AGAIN_MS: u64 = 10_000;
/// What a frame's "done" byte becomes.
const DONE_MARK: &[u8] = &[DONE];
const VOID_MARK: &[u8] = &[VOID];

/// Where and how a core spools.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpoolOptions {
    /// `tollgate.spool.path`, made by the start.
    pub directory: PathBuf,
    /// This core's share of `tollgate.spool.bytes`.
    pub limit_bytes: u64,
    /// Bytes of a segment, unless one frame alone is larger.
    pub segment_bytes: u64,
    /// `tollgate.spool.fsync`.
    pub fsync: Fsync,
    /// `tollgate.spool.fsync_interval_ms`.
    pub fsync_interval_ms: u64,
}

/// Why a frame was not spooled, or not read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpoolError {
    /// `tollgate.spool.bytes` is used up.
    Full,
    /// The disk or a quota is.
    NoSpace,
    /// What else the system said: its number.
    System(i32),
    /// What was read back is not what was written.
    Damaged,
    /// What the lane is, is not known: [`Spool::register`] comes first.
    Unregistered,
    /// The bytes to be written are no frame of that lane and origin.
    NoFrame,
}

impl SpoolError {
    fn of(error: &io::Error) -> Self {
        match (error.kind(), error.raw_os_error()) {
            (io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::WriteZero, _) => Self::NoSpace,
            (io::ErrorKind::UnexpectedEof, _) => Self::Damaged,
            (_, number) => Self::System(number.unwrap_or_default()),
        }
    }
}

impl std::fmt::Display for SpoolError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Full => f.write_str("it is full: tollgate.spool.bytes, divided by the cores"),
            Self::NoSpace => f.write_str("the disk or the user's quota is full: make room there"),
            Self::System(number) => write!(f, "{}", io::Error::from_raw_os_error(*number)),
            Self::Damaged => f.write_str("what was read back is not what was written: look at the disk"),
            Self::Unregistered => f.write_str("the lane is not in the registry"),
            Self::NoFrame => f.write_str("the bytes are no frame of that lane"),
        }
    }
}

/// The spool's numbers of one core.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpoolGauges {
    /// Of all files.
    pub bytes: u64,
    /// That are to be delivered.
    pub frames: u64,
    /// In these, as far as they are not resolved.
    pub entries: u64,
    /// When the oldest of these was made, in milliseconds since 1970.
    pub oldest_ms: Option<i64>,
    /// That they may be.
    pub limit_bytes: u64,
    /// The next frame would be refused, as far as is known.
    pub full: bool,
}

/// What an earlier process left of one lane and origin: still to be delivered, before anything new of that lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoveredLane {
    /// Content key of the lane.
    pub lane: u64,
    /// Who numbered the batches.
    pub origin: Origin,
    /// Where to.
    pub sink: SinkSpec,
    /// What the lane is.
    pub spec: StoredLane,
    /// By number; none of them is done.
    pub frames: Vec<(FrameRef, Stored)>,
}

/// One core's part of the spool. [`Spool::run`] and [`Spool::sync_timer`] must run beside it.
pub struct Spool {
    options: SpoolOptions,
    core: usize,
    store: RefCell<Store>,
    open: RefCell<HashMap<SegmentId, Rc<DataFile>>>,
    /// Written to and not made durable.
    dirty: RefCell<BTreeSet<SegmentId>>,
    /// New, and their names not made durable.
    unnamed: RefCell<BTreeSet<SegmentId>>,
    /// Text of lanes that are not in the registry yet.
    unwritten: RefCell<HashMap<u64, String>>,
    registered: RefCell<HashSet<u64>>,
    durable_lanes: RefCell<HashSet<u64>>,
    todo: RefCell<Vec<FileAction>>,
    more: Notify,
    busy: Cell<usize>,
    /// Nothing is written before.
    paused_until: Cell<Mono>,
    trouble: Cell<Option<SpoolError>>,
    /// It counts as full until then: while it is in trouble it is tried again more often than that.
    failing_until: Cell<Mono>,
    /// A line said that it is in trouble.
    said: Cell<bool>,
    /// No line before.
    say_from: Cell<Mono>,
    /// No line about marks before.
    say_mark_from: Cell<Mono>,
    clock: Rc<Clock>,
}

impl Spool {
    /// An empty spool of a core.
    pub fn new(options: SpoolOptions, core: usize, clock: Rc<Clock>) -> Rc<Self> {
        Rc::new(Self {
            store: RefCell::new(Store::new(options.limit_bytes, options.segment_bytes)),
            options,
            core,
            open: RefCell::default(),
            dirty: RefCell::default(),
            unnamed: RefCell::default(),
            unwritten: RefCell::default(),
            registered: RefCell::default(),
            durable_lanes: RefCell::default(),
            todo: RefCell::default(),
            more: Notify::default(),
            busy: Cell::new(0),
            paused_until: Cell::default(),
            trouble: Cell::new(None),
            failing_until: Cell::default(),
            said: Cell::new(false),
            say_from: Cell::default(),
            say_mark_from: Cell::default(),
            clock,
        })
    }

    /// Takes over what the start found of one lane and origin. Such a lane is in the registry.
    pub fn adopt(&self, lane: u64, origin: Origin, frames: &[(FrameRef, Stored)]) {
        let mut segments: HashMap<u32, Vec<(u64, Stored)>> = HashMap::new();
        for (frame, stored) in frames {
            segments.entry(frame.segment).or_default().push((frame.offset, *stored));
        }
        self.registered.borrow_mut().insert(lane);
        for (number, frames) in segments {
            let path = self.path(SegmentId { lane, origin, number });
            let bytes = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
            self.store.borrow_mut().adopt(lane, origin, number, bytes, frames);
        }
    }

    /// Writes down what a lane is, unless it is written down; before the first of its batches is kept anywhere. Blocks for a small
    /// file: only when a configuration brings a lane that was never there.
    ///
    /// # Errors
    /// When that cannot be done now; it is tried again with the lane's first frame.
    pub fn register(&self, lane: u64, sink: &SinkSpec, spec: &StoredLane) -> Result<(), SpoolError> {
        if self.registered.borrow().contains(&lane) {
            return Ok(());
        }
        self.unwritten.borrow_mut().insert(lane, lane_registry::encode(sink, spec));
        self.write_lane(lane)
    }

    fn write_lane(&self, lane: u64) -> Result<(), SpoolError> {
        if self.registered.borrow().contains(&lane) {
            return Ok(());
        }
        let path = self.options.directory.join(registry_path(lane));
        if !path.is_file() {
            let unwritten = self.unwritten.borrow();
            let text = unwritten.get(&lane).ok_or(SpoolError::Unregistered)?;
            let scratch = path.with_extension(format!("new-{}", self.core));
            files::put_in_place(&path, &scratch, text.as_bytes(), false).map_err(|error| SpoolError::of(&error))?;
        }
        self.unwritten.borrow_mut().remove(&lane);
        self.registered.borrow_mut().insert(lane);
        Ok(())
    }

    /// Writes a frame: `bytes` begin with the `Stored` of a batch of that lane and origin. Frames of a lane and origin lie in the
    /// file in the order of the calls.
    ///
    /// # Errors
    /// Why it is not there. The slot still holds it.
    pub async fn spill(&self, lane: u64, origin: Origin, bytes: PinnedBytes) -> Result<FrameRef, SpoolError> {
        let spilled = self.try_spill(lane, origin, bytes).await;
        self.say(spilled.err());
        spilled
    }

    async fn try_spill(&self, lane: u64, origin: Origin, bytes: PinnedBytes) -> Result<FrameRef, SpoolError> {
        if let Some(error) = self.trouble.get().filter(|_| self.is_paused()) {
            return Err(error);
        }
        let stored = Stored::read(bytes.bytes()).map_err(|_| SpoolError::NoFrame)?;
        if (stored.lane, stored.origin, stored.frame_bytes()) != (lane, origin, bytes.bytes().len()) {
            return Err(SpoolError::NoFrame);
        }
        self.write_lane(lane)?;
        let (frame, file, new) = self.place(&stored)?;
        let mut written = file.write_at(bytes, frame.offset).await.0;
        if written.is_ok() {
            written = self.settle(&frame, &file, new).await;
        }
        match written {
            Ok(()) => {
                self.store.borrow_mut().written(frame, &stored);
                Ok(frame)
            }
            Err(error) => Err(self.failed(frame, &error)),
        }
    }

    /// Takes room for a frame and opens its file.
    fn place(&self, stored: &Stored) -> Result<(FrameRef, Rc<DataFile>, bool), SpoolError> {
        let Stored { lane, origin, .. } = *stored;
        let placed = self.store.borrow_mut().place(lane, origin, stored.frame_bytes()).map_err(|_| SpoolError::Full)?;
        let bytes = stored.frame_bytes() as u32;
        let frame = FrameRef { lane, origin, segment: placed.file.number, offset: placed.offset, bytes };
        let file = if placed.new_file { self.create(placed.file) } else { self.file(placed.file) };
        match file {
            Ok(file) => Ok((frame, file, placed.new_file)),
            Err(error) => Err(self.failed(frame, &error)),
        }
    }

    fn create(&self, id: SegmentId) -> io::Result<Rc<DataFile>> {
        files::private_directory(&self.options.directory.join(id.directory()))?;
        Ok(self.keep_open(id, DataFile::create(&self.path(id), &id.header())?))
    }

    /// The open segment.
    fn file(&self, id: SegmentId) -> io::Result<Rc<DataFile>> {
        if let Some(file) = self.open.borrow().get(&id) {
            return Ok(Rc::clone(file));
        }
        Ok(self.keep_open(id, DataFile::open(&self.path(id))?))
    }

    fn keep_open(&self, id: SegmentId, file: DataFile) -> Rc<DataFile> {
        let mut open = self.open.borrow_mut();
        if open.len() >= FILES_OPEN {
            let unused = open.iter().find(|(_, file)| Rc::strong_count(file) == 1).map(|(id, _)| *id);
            unused.map(|id| open.remove(&id));
        }
        let file = Rc::new(file);
        open.insert(id, Rc::clone(&file));
        file
    }

    fn path(&self, id: SegmentId) -> PathBuf {
        self.options.directory.join(id.path())
    }

    /// What the policy asks for after a write.
    async fn settle(&self, frame: &FrameRef, file: &DataFile, new: bool) -> io::Result<()> {
        let id = SegmentId::of(frame);
        match self.options.fsync {
            Fsync::Never => {}
            // A disk that others keep busy takes a second and more for a directory: the ring would fill up meanwhile.
            Fsync::Interval => {
                self.dirty.borrow_mut().insert(id);
                if new {
                    self.unnamed.borrow_mut().insert(id);
                }
            }
            Fsync::Batch => {
                file.sync().await?;
                if new {
                    self.settle_names(id).await?;
                }
            }
        }
        Ok(())
    }

    /// Makes the names above a new segment durable, and what the lane is.
    async fn settle_names(&self, id: SegmentId) -> io::Result<()> {
        let base = &self.options.directory;
        let origin = base.join(id.directory());
        DataFile::open_directory(&origin)?.sync().await?;
        if let Some(lane) = origin.parent() {
            DataFile::open_directory(lane)?.sync().await?;
        }
        if !self.durable_lanes.borrow().contains(&id.lane) {
            DataFile::open(&base.join(registry_path(id.lane)))?.sync().await?;
            DataFile::open_directory(&base.join(REGISTRY))?.sync().await?;
            DataFile::open_directory(base)?.sync().await?;
            self.durable_lanes.borrow_mut().insert(id.lane);
        }
        Ok(())
    }

    fn failed(&self, frame: FrameRef, error: &io::Error) -> SpoolError {
        let action = self.store.borrow_mut().failed(frame);
        self.queue(action);
        self.paused_until.set(self.clock.mono().plus_ms(PAUSE_MS));
        SpoolError::of(error)
    }

    fn is_paused(&self) -> bool {
        self.clock.mono() < self.paused_until.get()
    }

    /// One line when the spool turns bad and one when it is well again; never a flood.
    fn say(&self, now: Option<SpoolError>) {
        self.trouble.set(now);
        let at = self.clock.mono();
        // What is refused for want of room ends with the first file that is deleted, which the store knows.
        let is_failing = now.is_some_and(|error| error != SpoolError::Full);
        self.failing_until.set(if is_failing { at.plus_ms(FAILING_MS) } else { Mono::default() });
        if self.said.get() == now.is_some() || at < self.say_from.get() {
            return;
        }
        self.said.set(now.is_some());
        self.say_from.set(at.plus_ms(SAY_AGAIN_MS));
        let (core, directory) = (self.core, self.options.directory.display());
        match now {
            Some(error) => log::error!("core {core}: a batch could not be kept in the spool {directory}: {error}"),
            None => log::info!("core {core}: the spool {directory} takes batches again"),
        }
    }

    /// Reads a frame back; `into` is as long as the frame.
    ///
    /// # Errors
    /// When it cannot be read, or is not what was written; then the slot holds nothing of use.
    pub async fn load(&self, frame: FrameRef, into: PinnedBytesMut) -> Result<(), SpoolError> {
        if into.bytes().len() != frame.bytes as usize {
            return Err(SpoolError::NoFrame);
        }
        let file = self.file(SegmentId::of(&frame)).map_err(|error| SpoolError::of(&error))?;
        let (read, into) = file.read_at(into, frame.offset).await;
        read.map_err(|error| SpoolError::of(&error))?;
        let stored = Stored::read(into.bytes()).map_err(|_| SpoolError::Damaged)?;
        let is_it =
            (stored.lane, stored.origin, stored.frame_bytes()) == (frame.lane, frame.origin, into.bytes().len());
        if is_it && is_whole_batch(&into.bytes()[STORED_BYTES..]) { Ok(()) } else { Err(SpoolError::Damaged) }
    }

    /// Something is about to be asked for that [`Spool::flush`] must wait for: [`Spool::restate`] follows.
    pub fn expect_restate(&self) {
        self.busy.set(self.busy.get() + 1);
    }

    /// Writes a frame's `Stored` anew: what was learnt of its batch since it was read. See [`Spool::expect_restate`].
    pub async fn restate(&self, frame: FrameRef, stored: Vec<u8>) {
        let id = SegmentId::of(&frame);
        let written = match self.file(id) {
            Ok(file) => file.write_at(stored, frame.offset).await.0,
            Err(error) => Err(error),
        };
        self.dirty.borrow_mut().insert(id);
        if let Err(error) = written {
            self.say_mark(id, &error);
        }
        self.busy.set(self.busy.get() - 1);
    }

    /// The frame's batch is resolved: the frame says so, or its segment goes. Returns when that is done, or cannot be.
    pub async fn done(&self, frame: FrameRef) {
        self.busy.set(self.busy.get() + 1);
        let action = self.store.borrow_mut().done(frame);
        match action {
            Some(FileAction::Delete { file }) => self.delete(file),
            Some(FileAction::MarkDone { file, offset } | FileAction::MarkVoid { file, offset }) => {
                if let Err(error) = self.mark(file, offset, DONE_MARK).await {
                    self.say_mark(file, &error);
                }
            }
            None => {}
        }
        self.busy.set(self.busy.get() - 1);
    }

    fn queue(&self, action: Option<FileAction>) {
        if let Some(action) = action {
            self.todo.borrow_mut().push(action);
            self.more.notify();
        }
    }

    /// Marks and deletes what is done. Runs as long as the core.
    pub async fn run(self: Rc<Self>) {
        loop {
            self.more.notified().await;
            self.carry_out().await;
        }
    }

    async fn carry_out(&self) {
        self.busy.set(self.busy.get() + 1);
        let actions = self.todo.take();
        let mut deleted = HashSet::new();
        for action in &actions {
            if let FileAction::Delete { file } = action {
                deleted.insert(*file);
                self.delete(*file);
            }
        }
        for action in actions {
            let (file, offset, mark) = match action {
                FileAction::MarkDone { file, offset } => (file, offset, DONE_MARK),
                FileAction::MarkVoid { file, offset } => (file, offset, VOID_MARK),
                FileAction::Delete { .. } => continue,
            };
            if !deleted.contains(&file)
                && let Err(error) = self.mark(file, offset, mark).await
            {
                self.say_mark(file, &error);
            }
        }
        self.busy.set(self.busy.get() - 1);
    }

    fn say_mark(&self, file: SegmentId, error: &io::Error) {
        let at = self.clock.mono();
        // Its file may have been deleted meanwhile, for good reason.
        if error.kind() == io::ErrorKind::NotFound || at < self.say_mark_from.get() {
            return;
        }
        self.say_mark_from.set(at.plus_ms(SAY_AGAIN_MS));
        let path = self.path(file);
        log::warn!(
            "{}: a batch could not be marked as resolved: {error}: the next start will try it again",
            path.display()
        );
    }

    /// Deletes a segment, and its directory if it was the last. Blocks (unlink, once per segment).
    fn delete(&self, id: SegmentId) {
        self.open.borrow_mut().remove(&id);
        self.dirty.borrow_mut().remove(&id);
        self.unnamed.borrow_mut().remove(&id);
        let path = self.path(id);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                log::warn!("{}: a delivered segment could not be deleted: {error}", path.display());
            }
            _ => {}
        }
        let _ = std::fs::remove_dir(self.options.directory.join(id.directory()));
    }

    async fn mark(&self, id: SegmentId, offset: u64, mark: &'static [u8]) -> io::Result<()> {
        let file = self.file(id)?;
        file.write_at(mark, offset + DONE_AT as u64).await.0?;
        if self.options.fsync != Fsync::Never {
            self.dirty.borrow_mut().insert(id);
        }
        Ok(())
    }

    /// Makes durable what was written, every so often. Runs as long as the core.
    pub async fn sync_timer(self: Rc<Self>) {
        if self.options.fsync == Fsync::Never {
            return;
        }
        loop {
            monoio::time::sleep(Duration::from_millis(self.options.fsync_interval_ms)).await;
            self.sync_dirty().await;
        }
    }

    async fn sync_dirty(&self) {
        self.busy.set(self.busy.get() + 1);
        let failed = |id, error| {
            let path = self.path(id);
            log::error!("{}: fsync: {error}: a loss of power may now cost batches", path.display());
        };
        for id in self.dirty.take() {
            let Ok(file) = self.file(id) else { continue };
            file.sync().await.unwrap_or_else(|error| failed(id, error));
        }
        for id in self.unnamed.take() {
            match self.settle_names(id).await {
                // Deleted meanwhile, with all that was in it.
                Err(error) if error.kind() != io::ErrorKind::NotFound => failed(id, error),
                _ => {}
            }
        }
        self.busy.set(self.busy.get() - 1);
    }

    /// Waits until everything that was asked for is done, and durable if the policy says so: at the end.
    pub async fn flush(&self) {
        self.carry_out().await;
        while self.busy.get() > 0 {
            monoio::time::sleep(Duration::from_millis(1)).await;
        }
        self.sync_dirty().await;
    }

    /// What is in it.
    pub fn gauges(&self) -> SpoolGauges {
        let store = self.store.borrow();
        SpoolGauges {
            bytes: store.bytes(),
            frames: store.frames(),
            entries: store.entries(),
            oldest_ms: store.oldest_ms(),
            limit_bytes: self.options.limit_bytes,
            full: store.is_full() || self.is_paused() || self.clock.mono() < self.failing_until.get(),
        }
    }

    /// Copies its numbers to where the metrics endpoint reads them.
    pub fn publish(&self, counters: &CoreCounters) {
        let gauges = self.gauges();
        let now_ms = self.clock.now().wall.unix_ms() as i64;
        let oldest_s = gauges.oldest_ms.map_or(0, |oldest_ms| (now_ms - oldest_ms).max(0) as u64 / 1_000);
        counters.set(Counter::SpoolBytes, gauges.bytes);
        counters.set(Counter::SpoolLimit, gauges.limit_bytes);
        counters.set(Counter::SpoolBatches, gauges.frames);
        counters.set(Counter::SpoolEntries, gauges.entries);
        counters.set(Counter::SpoolOldestSeconds, oldest_s);
        counters.set(Counter::SpoolFull, u64::from(gauges.full));
    }
}

#[cfg(test)]
mod tests;
