//! What crosses between the control thread and the cores, and nothing else: snapshots, stop, questions and their answers.
//! Plain `std` types; the bell that wakes a sleeping core is handed in by the shell.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};

use crate::base::counters::CoreCounters;
use crate::config::snapshot::Snapshot;
use crate::kafka::SinkFigures;

/// Wakes a core that sleeps in the kernel.
pub type Bell = Box<dyn Fn() + Send + Sync>;

/// How far the process is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Stage {
    /// Serving.
    Run = 0,
    /// SIGTERM: no new connections, exchanges are finished, records are flushed.
    Drain = 1,
    /// Second SIGTERM or the deadline: leave now.
    Exit = 2,
}

/// A core asks the control thread for the addresses of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The asking core.
    pub core: usize,
    /// Comes back with the answer.
    pub token: u64,
    /// A name, never an address in digits.
    pub host: String,
    /// Comes back in every address.
    pub port: u16,
}

/// The control thread's answer to a [`Question`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The question's.
    pub token: u64,
    /// At least one address, or why there is none.
    pub addresses: Result<Vec<SocketAddr>, String>,
}

/// One core's side of the board.
pub struct CorePost {
    taken: AtomicU64,
    bell: Bell,
    answers: Mutex<Vec<Answer>>,
    /// The core's metrics.
    pub counters: Arc<CoreCounters>,
    /// What the core's sinks did, as of its last tick. Sinks come and go, so that they have no cells of their own: the core replaces
    /// the list, and never waits for whoever reads it.
    sinks: Mutex<Vec<SinkFigures>>,
}

/// The one place that both sides see.
pub struct Board {
    version: AtomicU64,
    stage: AtomicU8,
    current: Mutex<Arc<Snapshot>>,
    cores: Vec<CorePost>,
    questions: SyncSender<Question>,
    retired: Sender<Arc<Snapshot>>,
}

impl Board {
    /// A board for as many cores as there are bells. The receivers belong to the control thread: names to resolve (bounded),
    /// and snapshots that a core has put down, to be dropped there.
    pub fn new(
        first: Arc<Snapshot>,
        bells: Vec<Bell>,
        questions_waiting: usize,
    ) -> (Self, Receiver<Question>, Receiver<Arc<Snapshot>>) {
        let (questions, asked) = std::sync::mpsc::sync_channel(questions_waiting);
        let (retired, put_down) = std::sync::mpsc::channel();
        let cores = bells
            .into_iter()
            .map(|bell| CorePost {
                taken: AtomicU64::new(0),
                bell,
                answers: Mutex::default(),
                counters: Arc::default(),
                sinks: Mutex::default(),
            })
            .collect();
        let board = Self {
            version: AtomicU64::new(1),
            stage: AtomicU8::new(Stage::Run as u8),
            current: Mutex::new(first),
            cores,
            questions,
            retired,
        };
        (board, asked, put_down)
    }

    /// Puts a snapshot up and rings every core. Gives the version to wait for with [`Board::taken_by_all`].
    pub fn publish(&self, snapshot: Arc<Snapshot>) -> u64 {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let old = std::mem::replace(&mut *current, snapshot);
        let version = self.version.load(Ordering::Relaxed) + 1;
        self.version.store(version, Ordering::Release);
        drop(current);
        drop(old);
        self.ring_all();
        version
    }

    /// The newest version: one relaxed load between two requests.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Relaxed)
    }

    /// The newest snapshot with its version.
    pub fn current(&self) -> (u64, Arc<Snapshot>) {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        (self.version.load(Ordering::Acquire), Arc::clone(&current))
    }

    /// A core says that every request it begins from here on sees `version`.
    pub fn taken(&self, core: usize, version: u64) {
        self.cores[core].taken.store(version, Ordering::Release);
    }

    /// True when no core still begins requests with something older than `version`.
    pub fn taken_by_all(&self, version: u64) -> bool {
        self.cores.iter().all(|core| core.taken.load(Ordering::Acquire) >= version)
    }

    /// Hands a snapshot that a core no longer needs to the control thread, which drops it.
    pub fn retire(&self, snapshot: Arc<Snapshot>) {
        // If the control thread is gone the process ends: dropping it here is then just as good.
        let _ = self.retired.send(snapshot);
    }

    /// Asks for a name's addresses. False if too many questions wait: ask again later.
    pub fn ask(&self, question: Question) -> bool {
        self.questions.try_send(question).is_ok()
    }

    /// Leaves an answer in a core's box and rings.
    pub fn answer(&self, core: usize, answer: Answer) {
        let post = &self.cores[core];
        post.answers.lock().unwrap_or_else(PoisonError::into_inner).push(answer);
        (post.bell)();
    }

    /// Takes what lies in a core's box.
    pub fn take_answers(&self, core: usize) -> Vec<Answer> {
        std::mem::take(&mut *self.cores[core].answers.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Where the process is on its way out.
    pub fn stage(&self) -> Stage {
        match self.stage.load(Ordering::Relaxed) {
            0 => Stage::Run,
            1 => Stage::Drain,
            _ => Stage::Exit,
        }
    }

    /// Moves on, never back, and rings every core.
    pub fn advance(&self, stage: Stage) {
        self.stage.fetch_max(stage as u8, Ordering::Relaxed);
        self.ring_all();
    }

    /// How many cores serve.
    pub fn core_count(&self) -> usize {
        self.cores.len()
    }

    /// A core's metrics.
    pub fn counters(&self, core: usize) -> &Arc<CoreCounters> {
        &self.cores[core].counters
    }

    /// A core writes its counters of records and its sinks' figures, so that nobody sees a part of them. If somebody reads them at
    /// this moment a core that serves leaves it for its next tick; at its end (`last`) it waits.
    pub fn post_figures(&self, core: usize, last: bool, write: impl FnOnce(&CoreCounters, &mut Vec<SinkFigures>)) {
        let post = &self.cores[core];
        let sinks = match post.sinks.try_lock() {
            Ok(sinks) => Some(sinks),
            Err(TryLockError::Poisoned(sinks)) => Some(sinks.into_inner()),
            Err(TryLockError::WouldBlock) if last => Some(post.sinks.lock().unwrap_or_else(PoisonError::into_inner)),
            Err(TryLockError::WouldBlock) => None,
        };
        if let Some(mut sinks) = sinks {
            write(&post.counters, &mut sinks);
        }
    }

    /// A core's counters and its sinks' figures, of one moment. `read` only copies: meanwhile the core cannot post new ones.
    pub fn read_figures<T>(&self, core: usize, read: impl FnOnce(&CoreCounters, &[SinkFigures]) -> T) -> T {
        let post = &self.cores[core];
        let sinks = post.sinks.lock().unwrap_or_else(PoisonError::into_inner);
        read(&post.counters, &sinks)
    }

    /// Wakes one core.
    pub fn ring(&self, core: usize) {
        (self.cores[core].bell)();
    }

    fn ring_all(&self) {
        for core in &self.cores {
            (core.bell)();
        }
    }
}
