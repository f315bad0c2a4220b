//! The campaign: everything that can go wrong at once, from one seed. Five lanes in four ways of sending, through weather, a disk that
//! fails and fills up, clocks that jump, limits that change, and a gateway that is killed in any moment or ends in order, and goes on
//! with another number of cores. `tools/sim` runs it at length, and proves with planted bugs (tests/sim/bugs) that it finds mistakes.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::tests::{CALM, STORM, spec};
use super::*;
use crate::kafka::options::{Batching, Compression, Mode};
use crate::kafka::producer::Outcome;
use crate::kafka::sim::{Sim, Strange};
use crate::kafka::stored::Origin;
use crate::kafka::trace_tests::FIRST_START;

const SLOT: usize = 16 * 1024;
/// The lanes' places in [`Run::kinds`].
const ARRAYS: usize = 2;
const HELD: usize = 4;
/// Lives of the gateway in one run.
const LIVES: u64 = 5;

/// What a campaign came to.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    steps: u64,
    entries: u64,
    dropped: u64,
    ends: u64,
    /// Entries that went with the machine's power before they were in Kafka or in the spool.
    undecidable: u64,
}

struct Run {
    seed: u64,
    rng: Rng,
    sim: Sim,
    slots: usize,
    kinds: Vec<(SinkSpec, LaneSpec)>,
    lanes: Vec<LaneId>,
    tally: Tally,
    /// Tickets of this life, with the numbers of their entries: not settled yet.
    waiting: Vec<(Ticket, u64)>,
    next_ticket: u64,
    /// How many of `sim.settled` were looked at.
    settled: usize,
    /// The machine may lose its power, and with it what is in the ring.
    power: bool,
    /// Entries, by lane, that only the ring had when that happened.
    gone: HashSet<(usize, u64)>,
}

fn options(seed: u64, life: u64, core: u32) -> ShipperOptions {
    ShipperOptions {
        seed: seed.wrapping_add(life),
        trace: Some(Stream { gateway: 1, start: FIRST_START + life - 1, core, lane: 0 }),
        origin: Origin { start: life, core },
        spool: true,
        ring_stays: true,
        sticky_bytes: 8 * 1024,
        batch_bytes: 4 * 1024,
        ..ShipperOptions::default()
    }
}

fn kinds(rng: &mut Rng) -> Vec<(SinkSpec, LaneSpec)> {
    let codec = [Compression::None, Compression::Lz4, Compression::Zstd, Compression::Snappy][rng.below(4) as usize];
    let spec = SinkSpec { compression: codec, ..spec() };
    let lane = |topic: &str, stored_as| LaneSpec { stored_as, ..LaneSpec::new(SinkId(0), topic) };
    let arrays = Batching::Array { max_entries: 2 + rng.below(9) as u32, inactive_ms: 80, duration_ms: 200 };
    vec![
        (spec.clone(), lane("plain", 1)),
        (spec.clone(), LaneSpec { key: Some(b"k".to_vec()), ..lane("plain", 2) }),
        (spec.clone(), LaneSpec { batching: arrays, ..lane("arrays", 3) }),
        (SinkSpec { mode: Mode::Sync, ..spec.clone() }, lane("sync", 4)),
        (SinkSpec { mode: Mode::Held, ..spec }, lane("held", 5)),
    ]
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed ^ 0xcafe);
        // Few, so that the spool is needed, or enough for many batches in flight.
        let slots = if rng.below(2) == 0 { 10 + rng.below(8) as usize } else { 40 };
        let shipper = Shipper::new(vec![vec![0u8; SLOT]; slots], options(seed, 1, 0));
        let mut sim = Sim::new(seed, shipper, STORM);
        sim.strange =
            Strange { twice: 60, late: 8, named_duplicate: 2, clock_jump: 20, crash: 3, ordered: true, doubles: false };
        (sim.disk.fails, sim.disk.slow_ms) = (10, 1 + rng.below(30));
        sim.ranges[0].max = 3 + rng.below(11) as i16;
        for (topic, partitions) in [("plain", 2), ("arrays", 1), ("sync", 1), ("held", 1)] {
            sim.create(topic, partitions, 0);
        }
        let kinds = kinds(&mut rng);
        let (lanes, waiting) = (Vec::new(), Vec::new());
        let (tally, power, gone) = (Tally::default(), rng.below(4) == 0, HashSet::new());
        let (next_ticket, settled) = (0, 0);
        let mut run = Self { seed, rng, sim, slots, kinds, lanes, tally, waiting, next_ticket, settled, power, gone };
        run.make_lanes();
        run.sim.accepted = run.lanes.iter().map(|lane| (*lane, Vec::new())).collect();
        run
    }

    fn make_lanes(&mut self) {
        self.lanes.clear();
        for (sink_spec, lane) in &self.kinds {
            let sink = self.sim.shipper.sink(sink_spec);
            let lane = LaneSpec { sink, ..lane.clone() };
            self.sim.disk.lanes.insert(lane.stored_as, lane.clone());
            self.sim.sinks.insert(lane.stored_as, sink_spec.clone());
            self.lanes.push(self.sim.shipper.lane(&lane));
        }
    }

    /// One life of the gateway, and its end.
    fn live(&mut self, life: u64) {
        self.begin_weather();
        for _ in 0..15 + self.rng.below(30) {
            self.append_some();
            let ms = self.rng.below(60);
            self.sim.run(ms);
            self.look_at_tickets();
        }
        let (core, in_order) = (self.rng.below(3) as u32, self.rng.below(4) == 0);
        if in_order {
            let now = self.sim.now();
            self.sim.shipper.stow(now);
            self.sim.after();
            self.sim.run(2_000);
        } else {
            self.kill();
        }
        self.check_nothing_lost();
        let ring_lost = if in_order {
            !self.sim.shipper.is_stowing() && self.rng.below(2) == 0
        } else {
            self.power && self.rng.below(2) == 0
        };
        if ring_lost && !in_order {
            self.note_what_is_gone();
        }
        self.look_at_tickets();
        self.waiting.clear();
        let memories = vec![vec![0u8; SLOT]; self.slots];
        self.sim.restart_gateway(memories, options(self.seed, life + 1, core), ring_lost);
        self.make_lanes();
        for (at, lane) in self.lanes.iter().enumerate() {
            self.sim.accepted[at].0 = *lane;
        }
        self.tally.ends += 1;
    }

    /// What is different in this life.
    fn begin_weather(&mut self) {
        self.sim.down = if self.rng.below(3) == 0 { vec![1, 2, 3] } else { Vec::new() };
        self.sim.disk.limit = if self.rng.below(3) == 0 { 20_000 + self.rng.below(60_000) as usize } else { 0 };
        for topic in ["plain", "arrays", "sync"] {
            let low = self.rng.below(2) == 0;
            let most = if low { 1_300 + self.rng.below(2_500) as usize } else { usize::MAX };
            self.sim.topics.get_mut(topic).expect("made").batch_bytes_max = most;
        }
        if self.rng.below(3) == 0 {
            // Brokers that all forgot, before anything of this life is on its way.
            self.sim.lose_what_is_under_way();
            self.sim.forget_producers();
        }
    }

    /// The machine lost its power: what neither Kafka nor the spool has is gone, and what was on its way may be there twice.
    fn note_what_is_gone(&mut self) {
        self.sim.strange.doubles = true;
        let on_disk = self.sim.disk.entries();
        for (at, (_, spec)) in self.kinds.iter().enumerate() {
            let there: HashSet<u64> = self.sim.delivered(&spec.topic, self.lanes[at]).into_iter().flatten().collect();
            let kept = |n: &u64| there.contains(n) || on_disk.contains(&(at, *n));
            let gone = self.sim.accepted[at].1.iter().filter(|n| !kept(n));
            self.gone.extend(gone.map(|n| (at, *n)));
        }
    }

    fn append_some(&mut self) {
        for _ in 0..self.rng.below(25) {
            let at = self.rng.below(self.lanes.len() as u64) as usize;
            self.append(at);
        }
        if self.rng.below(8) == 0 {
            // One lane has more than one batch to send.
            let at = self.rng.below(self.lanes.len() as u64) as usize;
            (0..40).for_each(|_| self.append(at));
        }
    }

    fn append(&mut self, at: usize) {
        // Small entries make arrays that must be cut inside.
        let most = if at == ARRAYS && self.rng.below(2) == 0 { 100 } else { 900 };
        let (lane, len) = (self.lanes[at], self.rng.below(most) as usize);
        let ticket = (at == HELD).then_some(Ticket(self.next_ticket));
        match (self.sim.append_with(ticket, lane, len), ticket) {
            (Appended::Accepted, Some(ticket)) => {
                let number = self.sim.accepted[at].1.last().copied().expect("accepted");
                self.waiting.push((ticket, number));
                self.next_ticket += 1;
            }
            (Appended::Accepted, None) => {}
            (Appended::Full, _) => self.tally.dropped += 1,
            (other, _) => panic!("{other:?}"),
        }
    }

    /// Whoever waits hears once, and of a delivery not before the entry is in Kafka.
    fn look_at_tickets(&mut self) {
        for at in self.settled..self.sim.settled.len() {
            let (ticket, outcome) = self.sim.settled[at];
            let place = self.waiting.iter().position(|(other, _)| *other == ticket).expect("a ticket is settled once");
            let (_, number) = self.waiting.swap_remove(place);
            if outcome == Outcome::Delivered {
                let there = self.sim.last_seen.get(&("held".to_owned(), 0, HELD as u64));
                assert!(there.is_some_and(|last| *last >= number), "told of {number} and {there:?} is there");
            }
        }
        self.settled = self.sim.settled.len();
    }

    /// The process is killed: between two steps, between two actions of one step, or while an entry is being written.
    fn kill(&mut self) {
        match self.rng.below(3) {
            0 => {}
            1 => {
                self.sim.dies_in = Some(1 + self.rng.below(60));
                self.sim.run(300);
            }
            _ => {
                let (lane, now) = (self.lanes[self.rng.below(4) as usize], self.sim.now());
                let render = &mut |out: &mut Out<'_>| {
                    out.push(b"{\"lane\":0,\"n\":0,\"half");
                    // No panic that is reported: the process is gone.
                    resume_unwind(Box::new("killed"));
                };
                let shipper = &mut self.sim.shipper;
                let killed = catch_unwind(AssertUnwindSafe(|| shipper.append(lane, now, render)));
                assert!(killed.is_err() || killed.is_ok_and(|appended| appended == Appended::Full));
            }
        }
    }

    fn check_nothing_lost(&mut self) {
        let stats = self.sim.shipper.stats();
        let (seed, reports) = (self.seed, &self.sim.reports);
        assert_eq!((stats.in_doubt, stats.lost.total()), (0, 0), "seed {seed}: {stats:?}\n{reports:?}");
    }

    fn check_at_least_once(&self, at: usize, topic: &str) {
        let there: HashSet<u64> = self.sim.delivered(topic, self.lanes[at]).into_iter().flatten().collect();
        let wanted = self.sim.accepted[at].1.iter().filter(|n| !self.gone.contains(&(at, **n)));
        let missing: Vec<&u64> = wanted.filter(|n| !there.contains(n)).collect();
        assert!(missing.is_empty(), "missing in {topic}, though the spool had them: {missing:?}");
    }

    /// Good weather, until all is in Kafka.
    fn finish(mut self) -> Tally {
        let doubles = self.sim.strange.doubles;
        (self.sim.weather, self.sim.strange) = (CALM, Strange { ordered: true, doubles, ..Strange::default() });
        (self.sim.down, self.sim.disk.fails, self.sim.disk.limit) = (Vec::new(), 0, 0);
        self.sim.drain(400_000);
        self.look_at_tickets();
        let (seed, stats) = (self.seed, *self.sim.shipper.stats());
        assert_eq!(self.sim.shipper.held_entries(), 0, "seed {seed}: {stats:?}\n{:?}", self.sim.reports);
        self.check_nothing_lost();
        for (at, (_, spec)) in self.kinds.iter().enumerate() {
            if self.sim.strange.doubles {
                self.check_at_least_once(at, &spec.topic);
            } else {
                self.sim.assert_exactly_once(&spec.topic, self.lanes[at]);
            }
        }
        if stats.batches_spilled == 0 {
            assert_eq!(self.waiting, [], "seed {seed}: never told");
        }
        self.sim.run(1_000);
        assert!(self.sim.disk.is_done(), "seed {seed}: a frame is left though all is in Kafka");
        let told: HashSet<Ticket> = self.sim.settled.iter().map(|(ticket, _)| *ticket).collect();
        assert_eq!(told.len(), self.sim.settled.len(), "seed {seed}: told twice");
        self.tally.undecidable = self.gone.len() as u64;
        self.tally.steps = self.sim.steps;
        self.tally.entries = self.sim.accepted.iter().map(|(_, numbers)| numbers.len() as u64).sum();
        self.tally
    }
}

fn campaign(seed: u64) -> Tally {
    let mut run = Run::new(seed);
    for life in 1..LIVES {
        run.live(life);
    }
    run.begin_weather();
    for _ in 0..20 {
        run.append_some();
        let ms = run.rng.below(60);
        run.sim.run(ms);
        run.look_at_tickets();
    }
    run.finish()
}

#[test]
fn through_everything_at_once_each_entry_arrives_once_and_in_order() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let first = number("TOLLGATE_SIM_FIRST").unwrap_or(0);
    let seeds = number("TOLLGATE_SIM_SEEDS").unwrap_or(140);
    let mut all = Tally::default();
    for seed in first..first + seeds {
        match catch_unwind(|| campaign(seed)) {
            Ok(tally) => {
                all.steps += tally.steps;
                all.entries += tally.entries;
                all.dropped += tally.dropped;
                all.ends += tally.ends;
                all.undecidable += tally.undecidable;
            }
            Err(panic) => {
                eprintln!(
                    "seed {seed} fails; replay: TOLLGATE_SIM_FIRST={seed} TOLLGATE_SIM_SEEDS=1 cargo test --lib through_everything"
                );
                resume_unwind(panic);
            }
        }
    }
    println!(
        "campaign: {seeds} seeds, {} steps, {} entries, {} dropped, {} crashes, {} undecidable",
        all.steps, all.entries, all.dropped, all.ends, all.undecidable
    );
    assert!(seeds < 140 || all.dropped > 0, "the disk was never full");
}
