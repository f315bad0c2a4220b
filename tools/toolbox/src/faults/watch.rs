//! Looks at the gateway once a second for as long as a case runs: its counters, whether they add up, and its memory.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::figures::slope;
use super::metrics::{Entries, Sample};
use crate::Outcome;

/// Between two looks.
const EVERY: Duration = Duration::from_secs(1);
/// Cores publish every 100 ms, one number after the other: a reading in between is taken again this often, after this long.
const AGAIN: (u32, Duration) = (5, Duration::from_millis(70));
/// Memory before this time is warming up and not part of the slope.
const WARM_UP: Duration = Duration::from_secs(10);
/// A slope over less than this says nothing about a minute.
const LEAST: Duration = Duration::from_secs(40);

/// What was seen.
#[derive(Clone, Debug, Default)]
pub struct Watched {
    /// Readings of the counters.
    pub samples: u64,
    /// Readings that did not add up, also not when they were repeated; the first of them in words.
    pub unbalanced: (u64, String),
    /// The last reading of each life of the gateway.
    lives: Vec<(i32, Sample)>,
    /// Seconds since the begin and MB: all that is resident, and what of it belongs to no file (the ring is a file).
    memory: Vec<(i32, f64, [f64; 2])>,
}

impl Watched {
    /// Over all lives, as far as they were seen: a killed gateway's last second is not.
    pub fn outcome(&self) -> Entries {
        self.lives.iter().map(|(_, sample)| sample.sum()).fold(Entries::default(), |sum, life| Entries {
            accepted: sum.accepted + life.accepted,
            delivered: sum.delivered + life.delivered,
            held: life.held,
            in_doubt: sum.in_doubt + life.in_doubt,
            lost: sum.lost + life.lost,
            dropped: sum.dropped + life.dropped,
        })
    }

    /// Lost and dropped entries by reason, over all lives.
    pub fn reasons(&self) -> BTreeMap<String, u64> {
        self.add_up(|sample| &sample.reasons)
    }

    /// What became of responses that waited for Kafka, over all lives.
    pub fn held_responses(&self) -> BTreeMap<String, u64> {
        self.add_up(|sample| &sample.held_responses)
    }

    fn add_up(&self, of: impl Fn(&Sample) -> &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
        let mut all = BTreeMap::new();
        for (name, count) in self.lives.iter().flat_map(|(_, sample)| of(sample)) {
            *all.entry(name.clone()).or_default() += count;
        }
        all
    }

    /// Takes one reading of a life in place of its last one.
    pub fn note(&mut self, pid: i32, sample: Sample) {
        self.samples += 1;
        let wrong = sample.unbalanced();
        if !wrong.is_empty() {
            self.unbalanced.0 += 1;
            if self.unbalanced.1.is_empty() {
                self.unbalanced.1 = wrong.join("; ");
            }
        }
        match self.lives.last_mut().filter(|(of, _)| *of == pid) {
            Some((_, last)) => *last = sample,
            None => self.lives.push((pid, sample)),
        }
    }

    /// MB per minute of the longest life: over all of it, and over its last third; nothing if it was short. Files' pages are not counted.
    pub fn memory_slopes(&self) -> Option<[f64; 2]> {
        let lives =
            self.memory.iter().fold(BTreeMap::<i32, Vec<(f64, f64)>>::new(), |mut lives, (pid, at, [_, own])| {
                lives.entry(*pid).or_default().push((*at, *own));
                lives
            });
        let longest = lives.into_values().max_by_key(Vec::len)?;
        let first = longest.first()?.0;
        let warm: Vec<(f64, f64)> = longest.into_iter().filter(|(at, _)| at - first >= WARM_UP.as_secs_f64()).collect();
        if warm.last()?.0 - warm.first()?.0 < LEAST.as_secs_f64() {
            return None;
        }
        let last_third = &warm[warm.len() - warm.len() / 3..];
        Some([slope(&warm)? * 60.0, slope(last_third)? * 60.0])
    }

    /// The most that was resident, in MB: all, and what of it belongs to no file.
    pub fn most_memory(&self) -> [f64; 2] {
        let most = |index: usize| self.memory.iter().map(|(.., mb)| mb[index]).fold(0.0, f64::max);
        [most(0), most(1)]
    }
}

/// A watch that runs.
pub struct Watch {
    pid: Arc<AtomicI32>,
    is_over: Arc<AtomicBool>,
    watched: Arc<Mutex<Watched>>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Watches. Without `metrics` only the memory of the process that `follow` names. `each` is called every second.
    pub fn start(metrics: Option<SocketAddr>, mut each: impl FnMut() + Send + 'static) -> Outcome<Self> {
        let mut watch = Self { pid: Arc::default(), is_over: Arc::default(), watched: Arc::default(), thread: None };
        let (pid, is_over, watched) = (Arc::clone(&watch.pid), Arc::clone(&watch.is_over), Arc::clone(&watch.watched));
        let begin = Instant::now();
        let look = move || {
            while !is_over.load(Ordering::Relaxed) {
                let now = pid.load(Ordering::Relaxed);
                let sample = metrics.filter(|_| now != 0).and_then(read_steady);
                {
                    let mut watched = watched.lock().unwrap_or_else(PoisonError::into_inner);
                    if let Some(mb) = memory_mb(now) {
                        watched.memory.push((now, begin.elapsed().as_secs_f64(), mb));
                    }
                    // A gateway that was started again in between has counters of its own.
                    if let Some(sample) = sample.filter(|_| pid.load(Ordering::Relaxed) == now) {
                        watched.note(now, sample);
                    }
                }
                each();
                std::thread::sleep(EVERY);
            }
        };
        let thread = std::thread::Builder::new().name("watch".to_owned()).spawn(look);
        watch.thread = Some(thread.map_err(|error| format!("a thread to watch: {error}"))?);
        Ok(watch)
    }

    /// The process to watch from now on; 0 for none.
    pub fn follow(&self, pid: i32) {
        self.pid.store(pid, Ordering::Relaxed);
    }

    /// Ends the watch, with one more reading in which everything is decided.
    pub fn finish(mut self, last: Option<(i32, Sample)>) -> Watched {
        self.end();
        let mut watched = std::mem::take(&mut *self.watched.lock().unwrap_or_else(PoisonError::into_inner));
        if let Some((pid, sample)) = last {
            watched.note(pid, sample);
        }
        watched
    }

    fn end(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.end();
    }
}

/// A reading that adds up, or the last of several that did not. Nothing while the gateway does not answer.
pub fn read_steady(metrics: SocketAddr) -> Option<Sample> {
    let mut sample = Sample::read(metrics).ok()?;
    for _ in 0..AGAIN.0 {
        if sample.unbalanced().is_empty() {
            break;
        }
        std::thread::sleep(AGAIN.1);
        sample = Sample::read(metrics).ok()?;
    }
    Some(sample)
}

/// Resident memory of a process in MB: all of it, and what of it belongs to no file.
fn memory_mb(pid: i32) -> Option<[f64; 2]> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let mb = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<f64>().ok().map(|kib| kib / 1024.0)
    };
    Some([mb("VmRSS:")?, mb("RssAnon:")?])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grown(pid: i32, seconds: std::ops::Range<u32>, mb: impl Fn(f64) -> f64) -> Vec<(i32, f64, [f64; 2])> {
        seconds.map(|at| (pid, f64::from(at), [99.0, mb(f64::from(at))])).collect()
    }

    #[test]
    fn a_leak_has_a_slope_to_the_end_and_a_step_has_none() {
        let leak = Watched { memory: grown(1, 0..70, |at| 10.0 + at / 30.0), ..Watched::default() };
        let [all, last] = leak.memory_slopes().expect("a minute");
        assert!((all - 2.0).abs() < 1e-6 && (last - 2.0).abs() < 1e-6, "{all} {last}");
        let step = Watched { memory: grown(1, 0..70, |at| if at < 30.0 { 10.0 } else { 14.0 }), ..Watched::default() };
        let [all, last] = step.memory_slopes().expect("a minute");
        assert!(all > 1.0 && last.abs() < 1e-6, "{all} {last}");
    }

    #[test]
    fn what_warms_up_is_not_counted_and_the_longest_life_is() {
        let mut memory = grown(1, 0..12, |at| at * 100.0);
        memory.extend(grown(2, 12..80, |at| if at < 20.0 { at } else { 20.0 }));
        let [all, last] = Watched { memory, ..Watched::default() }.memory_slopes().expect("a minute");
        assert!(all.abs() < 1e-6 && last.abs() < 1e-6, "{all} {last}");
        assert_eq!(Watched { memory: grown(1, 0..49, |_| 1.0), ..Watched::default() }.memory_slopes(), None);
    }

    #[test]
    fn lives_are_added_up_and_what_the_last_one_holds_is_held() {
        let life = |accepted, delivered, held| Sample {
            cores: BTreeMap::from([("0".to_owned(), Entries { accepted, delivered, held, ..Entries::default() })]),
            ..Sample::default()
        };
        let mut watched = Watched::default();
        watched.note(1, life(5, 5, 0));
        watched.note(1, life(9, 7, 2));
        watched.note(2, life(4, 3, 0));
        let all = Entries { accepted: 13, delivered: 10, held: 0, ..Entries::default() };
        assert_eq!((watched.outcome(), watched.samples, watched.unbalanced.0), (all, 3, 1));
    }
}
