//! How long a task holds its core: from when it is polled until it gives the core back, everybody else on it waits. Measured for every poll
//! of every task, so it must cost next to nothing: the processor's time stamp counter twice, and a count.
//!
//! What is measured is time, not work: a core that the kernel gave to somebody else meanwhile counts as held.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::base::counters::CoreCounters;

/// How long the time stamp counter is compared with the clock, once per process.
const CALIBRATION: Duration = Duration::from_millis(2);

/// Nanoseconds of 2³² ticks.
fn scale() -> u64 {
    static SCALE: OnceLock<u64> = OnceLock::new();
    *SCALE.get_or_init(|| {
        let (began, from) = (Instant::now(), ticks());
        while began.elapsed() < CALIBRATION {
            std::hint::spin_loop();
        }
        let (ns, passed) = (began.elapsed().as_nanos(), ticks().wrapping_sub(from).max(1));
        u64::try_from((ns << 32) / u128::from(passed)).unwrap_or(u64::MAX)
    })
}

/// A counter that runs steadily: the processor's where there is one, else the clock.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn ticks() -> u64 {
    // SAFETY: reads a register that every x86-64 processor has, and Linux leaves it readable.
    unsafe { std::arch::x86_64::_rdtsc() }
}

#[cfg(not(target_arch = "x86_64"))]
fn ticks() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

/// A task whose polls are measured.
struct Measured<F> {
    counters: Arc<CoreCounters>,
    scale: u64,
    future: F,
}

impl<F: Future> Future for Measured<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        // SAFETY: `future` is pinned with `self`: it is not moved out, there is no `Drop`, and nothing else makes a reference to it. The other
        // fields are not pinned by anybody.
        let (counters, scale, future) = unsafe {
            let this = self.get_unchecked_mut();
            (&this.counters, this.scale, Pin::new_unchecked(&mut this.future))
        };
        let from = ticks();
        let polled = future.poll(cx);
        let passed = ticks().wrapping_sub(from);
        counters.polls.note(((u128::from(passed) * u128::from(scale)) >> 32) as u64);
        polled
    }
}

/// Starts a task on this thread's core whose polls are measured.
pub fn spawn(counters: &Arc<CoreCounters>, future: impl Future<Output = ()> + 'static) {
    monoio::spawn(Measured { counters: Arc::clone(counters), scale: scale(), future });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::counters::POLL_BOUNDS_NS;

    #[test]
    fn a_task_that_holds_the_core_is_counted_where_it_belongs_and_one_that_waits_is_not() {
        let counters = Arc::new(CoreCounters::default());
        let busy = async {
            monoio::time::sleep(Duration::from_millis(30)).await;
            let began = Instant::now();
            while began.elapsed() < Duration::from_millis(7) {
                std::hint::spin_loop();
            }
        };
        let own = Arc::clone(&counters);
        let run = async move {
            spawn(&own, busy);
            monoio::time::sleep(Duration::from_millis(80)).await;
        };
        monoio::RuntimeBuilder::<monoio::LegacyDriver>::new().enable_all().build().expect("a runtime").block_on(run);
        let (counts, sum_ns) = counters.polls.read();
        assert_eq!(counts.iter().sum::<u64>(), 2, "two polls: before the sleep and after it");
        let long: u64 =
            POLL_BOUNDS_NS.iter().zip(counts).filter(|(bound, _)| **bound >= 10_000_000).map(|(_, n)| n).sum();
        assert_eq!(long + counts[POLL_BOUNDS_NS.len()], 1, "{counts:?}");
        assert!((7_000_000..25_000_000).contains(&sum_ns), "{sum_ns}");
    }
}
