//! The same gateway at one rate, undisturbed and while things go wrong: its route flips fifty times a second, Kafka hangs, Kafka is gone and
//! the spool takes what comes. What a user waits must hardly tell.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::{Options, PAUSE, Row};
use crate::bench::figures::{self, paired};
use crate::bench::modes::open_loop::{self, Plan, Seen};
use crate::bench::modes::parts::Parts;
use crate::bench::modes::{self, Mode, Modes};
use crate::bench::wrk;
use crate::{Outcome, stop};

/// Seconds of the closed loop that finds that out.
const CAPACITY_S: u32 = 3;
/// Between two changes of the route.
const FLIP: Duration = Duration::from_millis(20);
/// Into the measurement until Kafka hangs, and for how long.
const HANG_AFTER: Duration = Duration::from_millis(500);
/// How many times as long the 99.9th percentile may be as undisturbed.
const MUST: f64 = 1.5;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    None,
    Flips,
    Hang,
    Spool,
}

impl Trouble {
    const ALL: [Self; 4] = [Self::None, Self::Flips, Self::Hang, Self::Spool];

    const fn title(self) -> &'static str {
        match self {
            Self::None => "undisturbed",
            Self::Flips => "route changed at 50 Hz",
            Self::Hang => "Kafka hangs",
            Self::Spool => "Kafka is gone, the spool fills",
        }
    }
}

/// Measures the gateway in every trouble, in turns.
pub fn run(options: &Options) -> Outcome {
    let gateway = Modes::for_latency(options.tollgate.clone(), options.port_base, options.seconds);
    let mut parts = Parts::start(&gateway)?;
    let capacity = capacity(&parts, &gateway)?;
    parts.settled(Mode::Async)?;
    parts.cluster()?.give_way();
    let share = options.shares[0];
    let rate = capacity * f64::from(share) / 100.0;
    let mut rows = Trouble::ALL.map(|_| Row::default());
    for round in 0..options.rounds {
        for (trouble, row) in Trouble::ALL.into_iter().zip(&mut rows) {
            stop::pause(PAUSE)?;
            let seen = measure(&mut parts, &gateway, trouble, rate)?;
            parts.settled(Mode::Async)?;
            row.take(rate, round, trouble.title(), &seen);
        }
    }
    report(share, rate, &rows);
    let (served, recorded) = parts.served_and_recorded(Mode::Async)?;
    println!("\nRequests of the route with async records: {served}; records in Kafka: {recorded}.");
    if recorded < served { Err(format!("{} records are missing", served - recorded)) } else { Ok(()) }
}

fn capacity(parts: &Parts, options: &Modes) -> Outcome<f64> {
    let work = modes::work(parts, Mode::Async, options, CAPACITY_S);
    wrk::run(&work, || {})?;
    Ok(wrk::run(&work, || {})?.requests_per_s)
}

fn measure(parts: &mut Parts, options: &Modes, trouble: Trouble, rate: f64) -> Outcome<Seen> {
    let plan = modes::plan(parts, Mode::Async, options, rate);
    match trouble {
        Trouble::None => open_loop::run(&plan),
        Trouble::Flips => while_flipping(parts, &plan),
        Trouble::Hang => {
            let node = parts.node()?;
            let load = std::thread::spawn(move || open_loop::run(&plan));
            stop::pause(HANG_AFTER)?;
            parts.cluster()?.hold(node)?;
            let seen = load.join().map_err(|_| "the load panicked".to_owned())?;
            parts.cluster()?.release(node)?;
            seen
        }
        Trouble::Spool => {
            let node = parts.node()?;
            parts.cluster()?.kill(node)?;
            let seen = open_loop::run(&plan);
            parts.make_whole()?;
            parts.cluster()?.give_way();
            seen
        }
    }
}

/// Changes the route's description all the time: each change is a new snapshot on every core.
fn while_flipping(parts: &Parts, plan: &Plan) -> Outcome<Seen> {
    let (ends, flips) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let (end, count) = (Arc::clone(&ends), Arc::clone(&flips));
    let mut change = parts.changer(Mode::Async)?;
    let flipping = std::thread::spawn(move || {
        while !end.load(Ordering::Relaxed) {
            let number = count.fetch_add(1, Ordering::Relaxed);
            change(number)?;
            std::thread::sleep(FLIP);
        }
        Ok::<(), String>(())
    });
    let seen = open_loop::run(plan);
    ends.store(true, Ordering::Relaxed);
    flipping.join().map_err(|_| "the changes panicked".to_owned())??;
    let least = u64::from(plan.seconds) * 20;
    match flips.load(Ordering::Relaxed) {
        few if few < least => Err(format!("only {few} changes of the route came through")),
        _ => seen,
    }
}

fn report(share: u8, rate: f64, rows: &[Row]) {
    println!("\nAt {rate:.0} requests/s ({share} % of what it can do), async records:\n");
    println!("| while | p50 µs | p99 µs | p99.9 µs | p99.9 ÷ undisturbed | failed |\n|---|---:|---:|---:|---:|---:|");
    for (trouble, row) in Trouble::ALL.into_iter().zip(rows) {
        let ratio = paired(&row.p999_us, &rows[0].p999_us);
        let grade = match &ratio {
            _ if trouble == Trouble::None => "",
            Some(ratio) if ratio.median <= MUST => ", MUST reached",
            _ => ", MISSED",
        };
        let ratio = figures::text(ratio.as_ref(), 2);
        println!("| {} | {} | {ratio}{grade} | {} |", trouble.title(), row.cells(), row.failed);
    }
}
