//! How late a sleeper wakes on the core of the gateway and its clients: what the machine itself adds to every latency of a run. Builds
//! beside it and brokers that start show here; without it they would be taken for the gateway.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::figures::percentile;
use crate::Outcome;
use crate::process::stay_on;

/// Between two looks at the clock: about as often as requests come.
const EVERY: Duration = Duration::from_millis(4);

/// A sleeper.
pub struct Pulse {
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<Vec<u64>>>,
}

impl Pulse {
    /// Begins to sleep and wake.
    pub fn start() -> Outcome<Self> {
        let is_over = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&is_over);
        let beat = move || {
            stay_on(0);
            let mut late_us = Vec::new();
            let mut due = Instant::now() + EVERY;
            while !until.load(Ordering::Relaxed) {
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                late_us.push(due.elapsed().as_micros() as u64);
                // As the load does it: what fell due in the meantime is late too.
                due += EVERY;
            }
            late_us
        };
        let thread = std::thread::Builder::new().name("pulse".to_owned()).spawn(beat);
        let thread = thread.map_err(|error| format!("a thread that sleeps: {error}"))?;
        Ok(Self { is_over, thread: Some(thread) })
    }

    /// Microseconds late: the 99th percentile, and the most.
    pub fn finish(mut self) -> [u64; 2] {
        let mut late_us = self.end();
        late_us.sort_unstable();
        [0.99, 1.0].map(|share| percentile(&late_us, share))
    }

    fn end(&mut self) -> Vec<u64> {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.take().and_then(|thread| thread.join().ok()).unwrap_or_default()
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.end();
    }
}
