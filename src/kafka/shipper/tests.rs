//! The whole machine against the simulated cluster.

use super::*;
use crate::kafka::options::{Acks, Batching, Compression, Mode, Partitioner};
use crate::kafka::sim::{Sim, Weather};

const SLOT: usize = 16 * 1024;

pub(super) fn shipper(slots: usize, seed: u64) -> Shipper<Vec<u8>> {
    let trace = Some(Stream { gateway: 1, start: 2, core: 3, lane: 0 });
    let options =
        ShipperOptions { seed, sticky_bytes: 8 * 1024, batch_bytes: 4 * 1024, trace, ..ShipperOptions::default() };
    Shipper::new(vec![vec![0u8; SLOT]; slots], options)
}

pub(super) fn sim(slots: usize, seed: u64, weather: Weather) -> Sim {
    Sim::new(seed, shipper(slots, seed), weather)
}

pub(super) fn spec() -> SinkSpec {
    SinkSpec::new(vec![("broker-1".to_owned(), 9092), ("broker-2".to_owned(), 9092)])
}

pub(super) fn lane_of(sim: &mut Sim, spec: &SinkSpec, topic: &str) -> LaneId {
    let sink = sim.shipper.sink(spec);
    sim.shipper.lane(&LaneSpec::new(sink, topic))
}

pub(super) const CALM: Weather =
    Weather { cut: 0, hang: 0, error: 0, refuse_connect: 0, throttle: 0, move_leader: 0, restart: 0 };
pub(super) const STORM: Weather =
    Weather { cut: 25, hang: 150, error: 8, refuse_connect: 5, throttle: 20, move_leader: 6, restart: 15 };

/// One run of several lanes through bad weather, then calm until everything is delivered.
fn campaign(seed: u64) {
    let mut rng = Rng::new(seed);
    let mut sim = sim(6 + rng.below(10) as usize, seed, STORM);
    let codec = [Compression::None, Compression::Lz4, Compression::Zstd, Compression::Snappy, Compression::Gzip]
        [rng.below(5) as usize];
    let asynchronous = SinkSpec { compression: codec, ..spec() };
    let synchronous = SinkSpec { mode: Mode::Sync, ..spec() };
    sim.ranges[0].max = 3 + rng.below(11) as i16;
    sim.ranges[1].max = 1 + rng.below(13) as i16;
    let (one, two) = (sim.shipper.sink(&asynchronous), sim.shipper.sink(&synchronous));
    let arrays = Batching::Array { max_entries: 2 + rng.below(9) as u32, inactive_ms: 80, duration_ms: 200 };
    let lanes = [
        (sim.shipper.lane(&LaneSpec::new(one, "plain")), "plain"),
        (sim.shipper.lane(&LaneSpec { key: Some(b"k".to_vec()), ..LaneSpec::new(one, "plain") }), "plain"),
        (sim.shipper.lane(&LaneSpec { batching: arrays, ..LaneSpec::new(one, "arrays") }), "arrays"),
        (sim.shipper.lane(&LaneSpec::new(two, "sync")), "sync"),
    ];
    if rng.below(3) == 0 {
        sim.create("plain", 2, 0);
        sim.topics.get_mut("plain").expect("made").batch_bytes_max = 1_300 + rng.below(2_000) as usize;
    }
    for _ in 0..60 {
        for _ in 0..rng.below(12) {
            let (lane, _) = lanes[rng.below(4) as usize];
            let len = rng.below(900) as usize;
            sim.append(lane, len);
        }
        sim.run(rng.below(60));
    }
    sim.weather = CALM;
    sim.drain(120_000);
    let stats = *sim.shipper.stats();
    assert_eq!(sim.shipper.held_entries(), 0, "seed {seed}: {stats:?}\n{:?}", sim.reports);
    if stats.in_doubt > 0 || stats.lost.total() > 0 {
        eprintln!("{:?}", sim.reports);
    }
    assert_eq!((stats.in_doubt, stats.lost.total()), (0, 0), "seed {seed}: {stats:?}");
    for (lane, topic) in lanes {
        if sim.accepted.iter().any(|(other, _)| *other == lane) {
            sim.assert_exactly_once(topic, lane);
        }
    }
    assert_eq!(stats.delivered, stats.accepted);
}

/// How many runs a campaign makes.
pub(super) fn seeds(usual: u64) -> u64 {
    std::env::var("TOLLGATE_SIM_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

#[test]
fn through_any_weather_each_entry_arrives_once_and_in_order() {
    for seed in 0..seeds(60) {
        if let Err(panic) = std::panic::catch_unwind(|| campaign(seed)) {
            eprintln!("seed {seed} fails");
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn a_topic_that_does_not_exist_yet_loses_no_record() {
    let mut sim = sim(4, 1, CALM);
    let lane = lane_of(&mut sim, &spec(), "new");
    for _ in 0..50 {
        assert_eq!(sim.append(lane, 20), Appended::Accepted);
    }
    sim.drain(5_000);
    sim.assert_exactly_once("new", lane);
    assert_eq!(sim.reports, [], "a topic that is created by being asked for is not worth a line");
}

#[test]
fn an_unknown_topic_is_said_once_and_its_records_are_kept_until_it_is_there() {
    let mut sim = sim(4, 1, CALM);
    sim.auto_create = 0;
    let lane = lane_of(&mut sim, &spec(), "missing");
    sim.append(lane, 20);
    sim.run(60_000);
    assert_eq!(sim.reports.len(), 1, "{:?}", sim.reports);
    assert!(sim.reports[0].1.contains("not found topic") && sim.reports[0].1.contains("missing"));
    assert!(sim.metadata_asked < 90, "{} questions in a minute", sim.metadata_asked);
    sim.create("missing", 1, 0);
    sim.drain(5_000);
    sim.assert_exactly_once("missing", lane);
    assert_eq!(sim.reports.len(), 2);
}

#[test]
fn a_full_ring_reports_full_and_keeps_order() {
    let mut sim = sim(4, 2, CALM);
    sim.create("t", 1, 0);
    sim.down = vec![1, 2, 3];
    let lane = lane_of(&mut sim, &spec(), "t");
    let mut refused = 0;
    for _ in 0..400 {
        refused += u64::from(sim.append(lane, 300) == Appended::Full);
        sim.run(1);
    }
    assert!(refused > 100, "{refused}");
    let stats = *sim.shipper.stats();
    assert_eq!((stats.dropped, stats.accepted + refused), (refused, 400));
    assert_eq!(stats.slots_used, 4);
    let overflows = sim.reports.iter().filter(|(_, text)| text.starts_with("buffer overflow")).count();
    assert!((1..=2).contains(&overflows), "{:?}", sim.reports);
    sim.down.clear();
    sim.drain(30_000);
    sim.assert_exactly_once("t", lane);
    assert_eq!(sim.shipper.stats().slots_used, 0);
}

#[test]
fn a_sink_that_hangs_leaves_slots_to_the_others() {
    let mut sim = sim(16, 3, CALM);
    sim.create("t", 1, 0);
    sim.create("dead", 1, 0);
    let dead = lane_of(&mut sim, &SinkSpec::new(vec![("broker-9".to_owned(), 9092)]), "dead");
    sim.down = vec![9];
    let lane = lane_of(&mut sim, &spec(), "t");
    while sim.append(dead, 800) == Appended::Accepted {}
    for _ in 0..300 {
        assert_eq!(sim.append(lane, 300), Appended::Accepted);
        sim.run(1);
    }
    sim.run(100);
    sim.assert_exactly_once("t", lane);
    assert!(sim.shipper.held_entries() > 0);
}

#[test]
fn a_batch_too_large_is_cut_at_records_and_only_a_record_too_large_is_lost() {
    for compression in [Compression::None, Compression::Lz4] {
        let mut sim = sim(8, 4, CALM);
        sim.create("t", 1, 0);
        sim.topics.get_mut("t").expect("made").batch_bytes_max =
            if compression == Compression::None { 1_500 } else { 400 };
        let lane = lane_of(&mut sim, &SinkSpec { compression, ..spec() }, "t");
        for at in 0..60 {
            sim.append(lane, if at == 20 { 3_000 } else { 100 });
        }
        sim.drain(60_000);
        let stats = *sim.shipper.stats();
        if compression == Compression::None {
            assert_eq!((stats.lost.too_large, stats.delivered), (1, 59));
            let text = &sim.reports.iter().find(|(_, text)| text.contains("MESSAGE_TOO_LARGE")).expect("said").1;
            assert!(text.contains("length: 3"), "{text}");
            assert_eq!(sim.delivered("t", lane)[0], (0..60).filter(|at| *at != 20).collect::<Vec<_>>());
        } else {
            sim.assert_exactly_once("t", lane);
        }
    }
}

#[test]
fn arrays_are_closed_by_count_by_age_and_by_silence() {
    let mut sim = sim(8, 5, CALM);
    sim.create("t", 1, 0);
    let sink = sim.shipper.sink(&spec());
    let batching = Batching::Array { max_entries: 10, inactive_ms: 300, duration_ms: 1_000 };
    let lane = sim.shipper.lane(&LaneSpec { batching, ..LaneSpec::new(sink, "t") });
    sim.run(100);
    let arrays = |sim: &Sim| {
        let count = |value: &Vec<u8>| value.windows(4).filter(|window| *window == b"\"n\":").count();
        sim.topics["t"].partitions[0].log.iter().map(count).collect::<Vec<_>>()
    };
    for _ in 0..25 {
        sim.append(lane, 10);
    }
    sim.run(100);
    assert_eq!(arrays(&sim), [10, 10]);
    sim.run(290);
    assert_eq!(arrays(&sim), [10, 10, 5], "silence closes it");
    for _ in 0..9 {
        sim.append(lane, 10);
        sim.run(200);
    }
    assert_eq!(arrays(&sim)[3], 5, "age closes it though entries keep coming");
    sim.drain(2_000);
    sim.assert_exactly_once("t", lane);
    assert!(sim.topics["t"].partitions[0].log.iter().all(|value| value.starts_with(b"[{") && value.ends_with(b"}]")));
}

#[test]
fn sync_has_one_batch_in_flight_and_does_not_linger() {
    let mut sim = sim(8, 6, CALM);
    sim.create("t", 1, 0);
    let lane = lane_of(&mut sim, &SinkSpec { mode: Mode::Sync, ..spec() }, "t");
    sim.append(lane, 10);
    sim.run(200);
    let before = sim.shipper.stats().batches_sent;
    sim.append(lane, 10);
    assert_eq!(sim.shipper.stats().batches_sent, before + 1, "at once");
    for _ in 0..20 {
        sim.append(lane, 10);
    }
    assert_eq!(sim.shipper.stats().batches_sent, before + 1, "the others wait");
    sim.drain(1_000);
    assert_eq!(sim.shipper.stats().batches_sent, before + 2);
    sim.assert_exactly_once("t", lane);
}

#[test]
fn keys_go_where_java_and_resty_put_them() {
    for (partitioner, expected) in [
        (Partitioner::Murmur2, (murmur2_of(b"foobar") & 0x7fff_ffff) % 7),
        (Partitioner::Crc32, crc32_of(b"foobar") % 7),
    ] {
        let mut sim = sim(4, 7, CALM);
        sim.create("t", 7, 0);
        let sink = sim.shipper.sink(&spec());
        let key = Some(b"foobar".to_vec());
        let lane = sim.shipper.lane(&LaneSpec { key: key.clone(), partitioner, ..LaneSpec::new(sink, "t") });
        sim.append(lane, 10);
        sim.drain(1_000);
        assert_eq!(sim.topics["t"].partitions[expected as usize].keys, [key]);
    }
}

fn murmur2_of(key: &[u8]) -> u32 {
    crate::kafka::partition::murmur2(key)
}

fn crc32_of(key: &[u8]) -> u32 {
    crate::kafka::partition::crc32(key)
}

#[test]
fn without_the_right_to_be_idempotent_records_go_all_the_same_and_it_is_said_once() {
    let mut sim = sim(8, 8, CALM);
    sim.create("t", 1, 0);
    sim.deny_producer_id = true;
    let lane = lane_of(&mut sim, &spec(), "t");
    for _ in 0..50 {
        sim.append(lane, 10);
        sim.run(3);
    }
    sim.drain(5_000);
    sim.assert_exactly_once("t", lane);
    assert!(sim.topics["t"].partitions[0].producers.is_empty());
    assert_eq!(sim.reports.len(), 1, "{:?}", sim.reports);
}

#[test]
fn acks_of_the_leader_deliver_at_least_once() {
    for seed in 0..20 {
        let mut sim = sim(8, seed, STORM);
        let lane = lane_of(&mut sim, &SinkSpec { acks: Acks::Leader, ..spec() }, "t");
        for _ in 0..100 {
            sim.append(lane, 100);
            sim.run(5);
        }
        sim.weather = CALM;
        sim.drain(60_000);
        let mut there: Vec<u64> = sim.delivered("t", lane).into_iter().flatten().collect();
        there.sort_unstable();
        there.dedup();
        assert_eq!(there, sim.accepted[0].1, "seed {seed}");
        assert_eq!(sim.shipper.stats().delivered, sim.shipper.stats().accepted);
    }
}

#[test]
fn what_is_not_a_kafka_is_said_once_and_again_when_it_is_well() {
    let mut sim = sim(4, 9, CALM);
    sim.garbage = true;
    let lane = lane_of(&mut sim, &spec(), "t");
    sim.append(lane, 10);
    sim.run(20_000);
    assert_eq!(sim.reports.len(), 1, "{:?}", sim.reports);
    assert!(sim.reports[0].1.contains("not Kafka's"), "{:?}", sim.reports);
    assert!(sim.connects < 60, "{} connections in 20 s", sim.connects);
    sim.garbage = false;
    sim.drain(10_000);
    assert_eq!((sim.reports.len(), sim.shipper.stats().delivered), (2, 1));
}

#[test]
fn an_error_that_stays_is_said_once_with_the_topic_and_is_retried_at_a_walk() {
    let mut sim = sim(4, 10, CALM);
    sim.create("t", 1, 0);
    sim.forced_error = Some(19);
    let lane = lane_of(&mut sim, &spec(), "t");
    sim.append(lane, 10);
    sim.run(30_000);
    assert_eq!(sim.reports.len(), 1, "{:?}", sim.reports);
    assert!(sim.reports[0].1.contains("NOT_ENOUGH_REPLICAS") && sim.reports[0].1.contains("topic: t"));
    assert!((20..60).contains(&sim.shipper.stats().batches_sent), "{:?}", sim.shipper.stats());
    sim.forced_error = None;
    sim.drain(3_000);
    sim.assert_exactly_once("t", lane);
    assert_eq!(sim.reports.len(), 2);
}

#[test]
fn a_sequence_that_is_never_taken_does_not_spin() {
    let mut sim = sim(4, 11, CALM);
    sim.create("t", 1, 0);
    for error in [45, 47, 59, 3, 6, 100] {
        sim.forced_error = Some(error);
        let lane = lane_of(&mut sim, &spec(), "t");
        sim.append(lane, 10);
        let (sent, asked) = (sim.shipper.stats().batches_sent, sim.metadata_asked);
        sim.run(10_000);
        assert!(sim.shipper.stats().batches_sent - sent < 30, "{error}: {:?}", sim.shipper.stats());
        assert!(sim.metadata_asked - asked < 40, "{error}: {}", sim.metadata_asked);
        sim.forced_error = None;
        sim.drain(5_000);
        sim.assert_exactly_once("t", lane);
    }
}

#[test]
fn retries_that_the_operator_limited_end_in_lost_or_in_doubt() {
    let limited = SinkSpec { max_retry: Some(2), retry_delay_ms: Some(50), ..spec() };
    for (error, lost, in_doubt) in [(19, 1, 0), (7, 0, 1)] {
        let mut sim = sim(4, 12, CALM);
        sim.create("t", 1, 0);
        sim.forced_error = Some(error);
        let lane = lane_of(&mut sim, &limited, "t");
        sim.append(lane, 10);
        sim.run(5_000);
        let stats = *sim.shipper.stats();
        assert_eq!((stats.lost.retries, stats.in_doubt, stats.batches_sent), (lost, in_doubt, 3));
        sim.forced_error = None;
        sim.append(lane, 10);
        sim.drain(5_000);
        assert_eq!(sim.shipper.stats().delivered, 1, "the next one finds its way");
    }
}

#[test]
fn max_pending_entries_refuses_with_apisix_words() {
    let mut sim = sim(4, 13, CALM);
    sim.down = vec![1, 2, 3];
    let sink = sim.shipper.sink(&spec());
    let lane = sim.shipper.lane(&LaneSpec { max_pending_entries: Some(3), ..LaneSpec::new(sink, "t") });
    let taken = (0..10).filter(|_| sim.append(lane, 10) == Appended::Accepted).count();
    assert_eq!((taken, sim.shipper.stats().dropped), (3, 7));
    assert_eq!(
        sim.reports[0].1,
        "max pending entries limit exceeded. discarding entry. total_pushed_entries: 3 total_processed_entries: 0 \
         max_pending_entries: 3 discarded_entries: 1 topic: t brokers: broker-1:9092,broker-2:9092"
    );
    assert_eq!(sim.reports.len(), 1);
}

#[test]
fn an_entry_larger_than_a_slot_is_refused_with_its_size() {
    let mut sim = sim(4, 14, CALM);
    let lane = lane_of(&mut sim, &spec(), "t");
    sim.append(lane, 10);
    let appended = sim.append(lane, 2 * SLOT);
    assert!(matches!(appended, Appended::TooLarge { bytes } if bytes > 2 * SLOT), "{appended:?}");
    sim.append(lane, 10);
    sim.drain(5_000);
    sim.assert_exactly_once("t", lane);
    assert_eq!(sim.shipper.stats().too_large, 1);
}

#[test]
fn a_retired_lane_drains_and_is_forgotten_and_its_sink_disconnects() {
    let mut sim = sim(4, 15, CALM);
    let lane = lane_of(&mut sim, &spec(), "t");
    sim.append(lane, 10);
    sim.shipper.retire(lane);
    sim.drain(5_000);
    sim.run(100);
    sim.assert_exactly_once("t", lane);
    assert_eq!(sim.shipper.stats().connections, 0);
    assert_eq!(sim.append(lane, 10), Appended::Full, "the old handle is of no use");
    let next = lane_of(&mut sim, &spec(), "t");
    assert_ne!(next, lane);
    assert_eq!(sim.append(next, 10), Appended::Accepted);
    sim.drain(5_000);
    assert_eq!(sim.shipper.stats().delivered, 2);
}

#[test]
fn a_lane_that_is_named_again_before_it_drained_goes_on() {
    let mut sim = sim(4, 16, CALM);
    let lane = lane_of(&mut sim, &spec(), "t");
    sim.append(lane, 10);
    sim.shipper.retire(lane);
    assert_eq!(lane_of(&mut sim, &spec(), "t"), lane);
    sim.drain(5_000);
    assert_eq!(sim.append(lane, 10), Appended::Accepted);
    sim.drain(5_000);
    sim.assert_exactly_once("t", lane);
}

#[test]
fn giving_up_counts_what_was_sent_in_doubt_and_the_rest_as_lost() {
    let mut sim = sim(8, 17, CALM);
    sim.create("t", 1, 0);
    let lane = lane_of(&mut sim, &SinkSpec { mode: Mode::Sync, ..spec() }, "t");
    sim.append(lane, 10);
    sim.run(1_000);
    sim.append(lane, 10);
    for _ in 0..5 {
        sim.append(lane, 10);
    }
    let now = sim.now();
    sim.shipper.give_up(now);
    sim.run(1_000);
    let stats = *sim.shipper.stats();
    assert_eq!((stats.delivered, stats.in_doubt, stats.lost.shutdown, stats.slots_used), (1, 1, 5, 0));
    assert_eq!(stats.connections, 0);
}

#[test]
fn flush_sends_what_lingers_and_open_arrays() {
    let mut sim = sim(8, 18, CALM);
    sim.create("t", 1, 0);
    let sink = sim.shipper.sink(&spec());
    let batching = Batching::Array { max_entries: 1_000, inactive_ms: 60_000, duration_ms: 60_000 };
    let lane = sim.shipper.lane(&LaneSpec { batching, ..LaneSpec::new(sink, "t") });
    sim.run(500);
    sim.append(lane, 10);
    let now = sim.now();
    sim.shipper.flush(now);
    sim.drain(500);
    sim.assert_exactly_once("t", lane);
}

#[test]
fn versions_are_negotiated_down_to_what_the_broker_takes() {
    for (api_versions, produce, metadata, expected) in [(4, 13, 13, 13), (3, 9, 9, 9), (0, 3, 1, 3), (2, 13, 9, 12)] {
        let mut sim = sim(4, 19, CALM);
        (sim.ranges[2].max, sim.ranges[0].max, sim.ranges[1].max) = (api_versions, produce, metadata);
        let lane = lane_of(&mut sim, &spec(), "t");
        sim.append(lane, 10);
        sim.drain(5_000);
        sim.assert_exactly_once("t", lane);
        assert_eq!(sim.produce_versions, [expected]);
    }
}

#[test]
fn a_topic_created_again_gets_what_comes_after() {
    let mut sim = sim(8, 20, CALM);
    sim.create("t", 3, 0);
    let lane = lane_of(&mut sim, &spec(), "t");
    for _ in 0..20 {
        sim.append(lane, 1_000);
        sim.run(20);
    }
    sim.drain(1_000);
    sim.create("t", 1, 0);
    let before = sim.shipper.stats().delivered;
    for _ in 0..20 {
        sim.append(lane, 1_000);
        sim.run(20);
    }
    sim.drain(10_000);
    let stats = *sim.shipper.stats();
    assert_eq!((before, stats.delivered, stats.in_doubt), (20, 40, 0));
    assert_eq!(sim.delivered("t", lane), [(20..40).collect::<Vec<_>>()]);
}

#[test]
fn appending_allocates_no_action_while_a_batch_fills() {
    let mut sim = sim(8, 21, CALM);
    sim.create("t", 1, 0);
    let lane = lane_of(&mut sim, &spec(), "t");
    sim.append(lane, 10);
    sim.drain(1_000);
    let now = sim.now();
    for _ in 0..20 {
        let appended = sim.shipper.append(lane, now, &mut |out| out.push(b"{}"));
        assert_eq!(appended, Appended::Accepted);
        assert_eq!(sim.shipper.poll_action(), None);
    }
}
