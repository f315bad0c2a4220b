//! The spool as the queue's tail, and a gateway that is killed: the machine against the simulated cluster and disk.

use super::tests::{CALM, spec};
use super::*;
use crate::kafka::options::{Batching, Compression, Mode};
use crate::kafka::ring::Batch;
use crate::kafka::sim::{Sim, Weather};
use crate::kafka::stored::{Origin, Stored};
use crate::kafka::trace_tests::FIRST_START;

const SLOT: usize = 16 * 1024;

fn options(seed: u64, start: u64) -> ShipperOptions {
    ShipperOptions {
        seed: seed.wrapping_add(start),
        trace: Some(Stream { gateway: 1, start: FIRST_START + start - 1, core: 0, lane: 0 }),
        origin: Origin { start, core: 0 },
        spool: true,
        ring_stays: true,
        sticky_bytes: 8 * 1024,
        batch_bytes: 4 * 1024,
        ..ShipperOptions::default()
    }
}

fn memories(slots: usize) -> Vec<Vec<u8>> {
    vec![vec![0u8; SLOT]; slots]
}

fn new_sim(slots: usize, seed: u64, weather: Weather) -> Sim {
    Sim::new(seed, Shipper::new(memories(slots), options(seed, 1)), weather)
}

/// A lane that may be stored under `key`.
fn lane_of(sim: &mut Sim, sink_spec: &SinkSpec, key: u64, lane: LaneSpec) -> LaneId {
    let sink = sim.shipper.sink(sink_spec);
    let lane = LaneSpec { sink, stored_as: key, ..lane };
    sim.disk.lanes.insert(key, lane.clone());
    sim.sinks.insert(key, sink_spec.clone());
    sim.shipper.lane(&lane)
}

fn each(topic: &str) -> LaneSpec {
    LaneSpec::new(SinkId(0), topic)
}

#[test]
fn what_the_ring_cannot_hold_goes_to_the_spool_and_arrives_once_and_in_order() {
    let mut sim = new_sim(8, 1, CALM);
    sim.create("t", 2, 0);
    let lane = lane_of(&mut sim, &spec(), 7, each("t"));
    sim.append(lane, 300);
    sim.drain(1_000);
    sim.down = vec![1, 2, 3];
    for _ in 0..2_000 {
        assert_eq!(sim.append(lane, 300), Appended::Accepted);
        sim.run(1);
    }
    let stats = *sim.shipper.stats();
    assert!(stats.spooled > 1_000 && stats.dropped == 0, "{stats:?}");
    sim.down = Vec::new();
    // New entries go behind what is on disk while that is being sent.
    for _ in 0..500 {
        assert_eq!(sim.append(lane, 300), Appended::Accepted);
        sim.run(1);
    }
    sim.drain(60_000);
    sim.assert_exactly_once("t", lane);
    assert_eq!(sim.shipper.stats().spooled, 0);
    let said: Vec<&str> =
        sim.reports.iter().map(|(_, text)| text.as_str()).filter(|text| text.contains("spool")).collect();
    assert_eq!(said.len(), 2, "{said:?}");
}

#[test]
fn a_batch_that_gets_its_partition_keeps_what_is_resolved_of_it() {
    let batch = Batch { skip_entries: 3, ..Batch::default() };
    let account = super::spill::placed(Stored::begun(7, Origin { start: 1, core: 0 }, 5), &batch, 2);
    assert_eq!((account.lane, account.number, account.partition, account.skip), (7, 5, Some(2), 3));
    assert!(!account.sent);
}

#[test]
fn a_ring_of_four_slots_drops_nothing_while_batches_go_to_a_slow_disk() {
    let mut sim = new_sim(4, 1, CALM);
    sim.create("t", 1, 0);
    (sim.disk.slow_ms, sim.down) = (10, vec![1, 2, 3]);
    let lane = lane_of(&mut sim, &spec(), 7, each("t"));
    for count in 0..1_000 {
        assert_eq!(sim.append(lane, 300), Appended::Accepted, "entry {count}");
        sim.run(1);
    }
    sim.down = Vec::new();
    sim.drain(60_000);
    sim.assert_exactly_once("t", lane);
}

#[test]
fn what_is_stowed_at_the_end_is_not_said_to_be_too_slow() {
    let mut sim = new_sim(8, 1, CALM);
    sim.down = vec![1, 2, 3];
    let lane = lane_of(&mut sim, &spec(), 7, each("t"));
    sim.append(lane, 300);
    let now = sim.now();
    sim.shipper.stow(now);
    sim.after();
    sim.run(100);
    let said = |word: &str| sim.reports.iter().any(|(_, text)| text.contains(word));
    assert!(said("kept in the spool") && !said("too slowly"), "{:?}", sim.reports);
}

/// A spool that is full while the ring fills up behind it.
fn full_spool(slots: usize, limit: usize) {
    let mut sim = new_sim(slots, 1, CALM);
    sim.create("t", 1, 0);
    sim.disk.limit = limit;
    sim.down = vec![1, 2, 3];
    let lane = lane_of(&mut sim, &spec(), 7, each("t"));
    let mut full = 0;
    for _ in 0..1_500 {
        full += u64::from(sim.append(lane, 300) == Appended::Full);
        sim.run(1);
    }
    let stats = *sim.shipper.stats();
    assert!(full > 100 && stats.dropped == full, "{stats:?}");
    assert!(stats.spooled > 50, "{stats:?}");
    sim.down = Vec::new();
    sim.drain(60_000);
    sim.assert_exactly_once("t", lane);
}

#[test]
fn a_full_spool_drops_the_newest_and_keeps_the_rest() {
    full_spool(8, 40_000);
}

#[test]
fn a_full_spool_is_emptied_however_much_of_the_ring_waits_behind_it() {
    full_spool(4, 40_000);
    full_spool(32, 40_000);
}

#[test]
fn a_disk_that_fails_now_and_then_loses_nothing() {
    for seed in 0..20 {
        let mut sim = new_sim(8, seed, CALM);
        sim.create("t", 2, 0);
        (sim.disk.fails, sim.disk.slow_ms) = (4, 20);
        sim.down = vec![1, 2, 3];
        let lane = lane_of(&mut sim, &spec(), 7, each("t"));
        for _ in 0..400 {
            sim.append(lane, 300);
            sim.run(20);
        }
        sim.down = Vec::new();
        sim.drain(120_000);
        sim.assert_exactly_once("t", lane);
    }
}

/// Several lanes through bad weather; the gateway is killed again and again, and now and then ends in order.
fn campaign(seed: u64) {
    let mut rng = Rng::new(seed ^ 0xdead);
    let storm = Weather { cut: 25, hang: 150, error: 8, refuse_connect: 5, throttle: 20, move_leader: 6, restart: 15 };
    let slots = 8 + rng.below(8) as usize;
    let mut sim = new_sim(slots, seed, storm);
    (sim.disk.fails, sim.disk.slow_ms) = (10, 1 + rng.below(30));
    sim.create("plain", 2, 0);
    sim.create("arrays", 1, 0);
    sim.create("sync", 1, 0);
    let arrays = Batching::Array { max_entries: 2 + rng.below(9) as u32, inactive_ms: 80, duration_ms: 200 };
    let codec = [Compression::None, Compression::Lz4, Compression::Zstd][rng.below(3) as usize];
    let kinds = [
        (SinkSpec { compression: codec, ..spec() }, each("plain"), "plain"),
        (spec(), LaneSpec { batching: arrays, ..each("arrays") }, "arrays"),
        (SinkSpec { mode: Mode::Sync, ..spec() }, each("sync"), "sync"),
    ];
    let make = |sim: &mut Sim| -> Vec<LaneId> {
        let lanes = kinds.iter().enumerate();
        lanes.map(|(at, (sink, lane, _))| lane_of(sim, sink, at as u64 + 1, lane.clone())).collect()
    };
    let mut lanes = make(&mut sim);
    sim.accepted = lanes.iter().map(|lane| (*lane, Vec::new())).collect();
    for life in 2..6 {
        let outage = rng.below(3) == 0;
        sim.down = if outage { vec![1, 2, 3] } else { Vec::new() };
        for _ in 0..20 + rng.below(40) {
            for _ in 0..rng.below(25) {
                let lane = lanes[rng.below(3) as usize];
                let len = rng.below(900) as usize;
                sim.append(lane, len);
            }
            sim.run(rng.below(60));
        }
        let in_order = rng.below(4) == 0;
        if in_order {
            let now = sim.now();
            sim.shipper.stow(now);
            sim.after();
            sim.run(2_000);
        }
        let lost = sim.shipper.stats().lost.total() + sim.shipper.stats().in_doubt;
        assert_eq!(lost, 0, "seed {seed}: {:?}\n{:?}", sim.shipper.stats(), sim.reports);
        let ring_lost = in_order && !sim.shipper.is_stowing() && rng.below(2) == 0;
        sim.restart_gateway(memories(slots), options(seed, life), ring_lost);
        lanes = make(&mut sim);
        for (at, lane) in lanes.iter().enumerate() {
            sim.accepted[at].0 = *lane;
        }
    }
    (sim.weather, sim.down, sim.disk.fails) = (CALM, Vec::new(), 0);
    sim.drain(200_000);
    let stats = *sim.shipper.stats();
    assert_eq!(sim.shipper.held_entries(), 0, "seed {seed}: {stats:?}\n{:?}", sim.reports);
    assert_eq!((stats.in_doubt, stats.lost.total()), (0, 0), "seed {seed}: {stats:?}\n{:?}", sim.reports);
    for (lane, (.., topic)) in lanes.iter().zip(&kinds) {
        sim.assert_exactly_once(topic, *lane);
    }
}

#[test]
fn a_gateway_that_is_killed_loses_nothing_and_doubles_nothing() {
    let seeds = std::env::var("TOLLGATE_SIM_SEEDS").ok().and_then(|text| text.parse().ok());
    let first = std::env::var("TOLLGATE_SIM_FIRST").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    for seed in first..first + seeds.unwrap_or(40) {
        if let Err(panic) = std::panic::catch_unwind(|| campaign(seed)) {
            eprintln!("seed {seed} fails");
            std::panic::resume_unwind(panic);
        }
    }
}
