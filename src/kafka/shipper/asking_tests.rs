//! What a restart, of a broker or of the gateway, leaves in doubt, against the simulated cluster.

use super::tests::{CALM, STORM, lane_of, seeds, shipper, sim, spec};
use super::*;
use crate::kafka::batch::Sealed;
use crate::kafka::options::{Batching, Compression};
use crate::kafka::ring::{Attempt, Recovered, Ring};
use crate::kafka::sim::Sim;

/// A topic of one partition and a lane that has delivered a first batch.
fn warm(seed: u64, sink: &SinkSpec) -> (Sim, LaneId) {
    let mut sim = sim(12, seed, CALM);
    sim.create("t", 1, 0);
    let lane = lane_of(&mut sim, sink, "t");
    sim.append(lane, 10);
    sim.drain(5_000);
    assert_eq!(sim.shipper.stats().delivered, 1);
    (sim, lane)
}

/// Batches that reach the log while every answer is lost.
fn lose_answers(sim: &mut Sim, lane: LaneId, batches: usize) {
    let log = |sim: &Sim| sim.topics["t"].partitions[0].log.len();
    let before = log(sim);
    sim.cut_answers_to = Some(0);
    for _ in 0..batches {
        sim.append(lane, 10);
        sim.run(8);
    }
    for _ in 0..1_000 {
        if log(sim) > before {
            break;
        }
        sim.run(1);
    }
    sim.cut_answers_to = None;
    assert!(log(sim) > before, "something was appended");
    assert!(sim.shipper.held_entries() > 0);
}

/// What a process that was killed left in its ring, as the next one finds it.
struct Left {
    spec: (SinkSpec, LaneSpec),
    batches: Vec<(Vec<u8>, Vec<u32>, Recovered)>,
    next: (Option<(i64, i16)>, i32, i64),
}

/// Kills the gateway: nothing is told to it any more.
fn kill(sim: &mut Sim, lane: LaneId) -> Left {
    sim.seal_all();
    let shipper = &sim.shipper;
    let it = &shipper.lanes[lane.index as usize];
    let empty = super::super::producer::Queue::default();
    let queue = it.queues.first().unwrap_or(&empty);
    let take = |id: &SlotId| {
        let slot = shipper.ring.slot(*id);
        let batch = &slot.batch;
        let (skip_entries, part_entries) = (batch.skip_entries, batch.part_entries);
        let recovered = Recovered {
            sealed: batch.whole,
            skip_entries,
            part_entries,
            identity: batch.identity,
            attempt: batch.attempt.filter(|_| batch.sent),
        };
        (slot.memory.clone(), batch.record_entries.clone(), recovered)
    };
    let batches: Vec<_> = queue.batches.iter().chain(&it.waiting).map(take).collect();
    let last = batches.iter().rev().find_map(|(_, _, it)| it.identity.map(|identity| (identity, it.sealed.records)));
    let next = last.map_or(0, |(identity, records)| crate::kafka::ring::sequence_after(identity.sequence, records));
    let producer = last.map(|(identity, _)| (identity.producer_id, identity.epoch));
    let spec = (shipper.sinks[it.sink].spec.clone(), it.spec.clone());
    Left { spec, batches, next: (producer, next, queue.scan_from()) }
}

/// Starts the gateway anew over what was left.
fn revive(sim: &mut Sim, seed: u64, left: &Left) -> LaneId {
    let mut next = shipper(12, seed);
    next.options.trace = None;
    let sink = next.sink(&left.spec.0);
    let lane = next.lane(&LaneSpec { sink, ..left.spec.1.clone() });
    let index = lane.index as usize;
    let mut queue = super::super::producer::Queue::default();
    for (memory, record_entries, recovered) in &left.batches {
        let id = next.ring.take(lane.index).expect("free");
        let slot = next.ring.slot_mut(id);
        slot.memory.copy_from_slice(memory);
        slot.batch.record_entries.clone_from(record_entries);
        slot.batch.recover(recovered);
        slot.state = State::Queued;
        let entries = slot.batch.entries_left();
        next.lanes[index].held += entries;
        next.lanes[index].pushed += entries;
        next.lanes[index].slots += 1;
        next.sinks[0].slots += 1;
        next.held += entries;
        next.stats.accepted += entries;
        next.stats.slots_used += 1;
        queue.batches.push_back(id);
    }
    if let (Some(producer), sequence, scan_from) = left.next {
        queue.resume(producer, sequence, scan_from);
    }
    next.lanes[index].queues.push(queue);
    next.list(index);
    next.wake = Some(Mono::default());
    sim.replace_shipper(next);
    lane
}

#[test]
fn all_of_a_window_is_known_by_asking_though_the_broker_kept_only_its_last_batch() {
    let (mut sim, lane) = warm(1, &spec());
    lose_answers(&mut sim, lane, 1);
    let left = kill(&mut sim, lane);
    (1..=3).for_each(|broker| sim.restart(broker));
    let lane = revive(&mut sim, 91, &left);
    sim.drain(20_000);
    sim.assert_exactly_once("t", lane);
    let stats = *sim.shipper.stats();
    assert_eq!((stats.in_doubt, stats.lost.total()), (0, 0), "{stats:?}");
    assert!(sim.inquiries > 0);
}

#[test]
fn a_restart_of_the_gateway_in_any_moment_neither_loses_nor_doubles() {
    for seed in 0..60 {
        let (mut sim, lane) = warm(seed, &spec());
        let mut rng = Rng::new(seed);
        if seed % 2 == 0 {
            sim.cut_answers_to = Some(0);
        }
        for _ in 0..20 {
            for _ in 0..rng.below(6) {
                sim.append(lane, 100);
            }
            sim.run(rng.below(12));
        }
        sim.run(rng.below(20));
        let left = kill(&mut sim, lane);
        sim.cut_answers_to = None;
        if seed % 3 == 0 {
            (1..=3).for_each(|broker| sim.restart(broker));
        }
        if seed % 5 == 0 {
            sim.topics.get_mut("t").expect("made").partitions[0].leader = 1 + (seed % 3) as i32;
        }
        let lane = revive(&mut sim, seed + 100, &left);
        for _ in 0..10 {
            sim.append(lane, 100);
            sim.run(30);
        }
        sim.drain(60_000);
        sim.assert_exactly_once("t", lane);
        assert_eq!(sim.shipper.stats().in_doubt, 0, "seed {seed}");
    }
}

#[test]
fn with_the_state_gone_what_is_in_the_log_is_found_there() {
    let (mut sim, lane) = warm(2, &spec());
    lose_answers(&mut sim, lane, 1);
    let left = kill(&mut sim, lane);
    sim.forget_producers();
    let lane = revive(&mut sim, 92, &left);
    sim.append(lane, 10);
    sim.drain(20_000);
    sim.assert_exactly_once("t", lane);
    assert_eq!(sim.shipper.stats().in_doubt, 0);
}

#[test]
fn with_the_state_gone_what_is_not_in_the_log_is_sent_again_once() {
    for strict in [false, true] {
        let (mut sim, lane) = warm(3, &spec());
        sim.topics.get_mut("t").expect("made").partitions[0].strict = strict;
        sim.lose_requests_to = Some(0);
        sim.append(lane, 10);
        sim.run(30);
        sim.lose_requests_to = None;
        let left = kill(&mut sim, lane);
        assert!(left.batches.iter().any(|(_, _, it)| it.attempt.is_some()), "sent");
        sim.forget_producers();
        let lane = revive(&mut sim, 93, &left);
        sim.drain(20_000);
        sim.assert_exactly_once("t", lane);
        let stats = *sim.shipper.stats();
        assert_eq!((stats.in_doubt, stats.lost.total()), (0, 0), "strict {strict}");
    }
}

#[test]
fn where_asking_is_not_permitted_it_is_there_at_least_once_and_counts_as_in_doubt() {
    let (mut sim, lane) = warm(4, &spec());
    lose_answers(&mut sim, lane, 1);
    let left = kill(&mut sim, lane);
    sim.deny_read = true;
    let lane = revive(&mut sim, 94, &left);
    sim.append(lane, 10);
    sim.drain(20_000);
    sim.assert_exactly_once("t", lane);
    let stats = *sim.shipper.stats();
    assert_eq!((stats.in_doubt, stats.delivered, stats.lost.total()), (left.batches.len() as u64, 1, 0));
    let said = sim.reports.iter().filter(|(_, text)| text.contains("grant Read")).count();
    assert_eq!(said, 1, "{:?}", sim.reports);
}

#[test]
fn in_running_operation_a_window_that_the_broker_no_longer_knows_is_asked_about() {
    // A broker before 2.5 that lost its state refuses what it already has.
    for deny in [false, true] {
        let (mut sim, lane) = warm(5, &spec());
        sim.topics.get_mut("t").expect("made").partitions[0].strict = true;
        lose_answers(&mut sim, lane, 1);
        sim.forget_producers();
        sim.deny_read = deny;
        for _ in 0..5 {
            sim.append(lane, 10);
        }
        sim.drain(20_000);
        let stats = *sim.shipper.stats();
        assert_eq!(stats.in_doubt > 0, deny, "{stats:?}");
        if !deny {
            assert!(sim.inquiries > 0);
        }
        sim.assert_exactly_once("t", lane);
    }
}

#[test]
fn a_broker_without_describe_producers_is_read_instead() {
    let (mut sim, lane) = warm(6, &spec());
    sim.ranges.retain(|range| range.key != 61);
    lose_answers(&mut sim, lane, 2);
    let left = kill(&mut sim, lane);
    let lane = revive(&mut sim, 96, &left);
    sim.drain(20_000);
    sim.assert_exactly_once("t", lane);
    assert_eq!(sim.shipper.stats().in_doubt, 0);
}

#[test]
fn answers_lost_leaders_moved_and_errors_while_asking_are_asked_again() {
    for key in [61, 1, 2] {
        let (mut sim, lane) = warm(7, &spec());
        lose_answers(&mut sim, lane, 2);
        let mut left = kill(&mut sim, lane);
        if key == 2 {
            left.next.2 = -1;
            left.batches
                .iter_mut()
                .for_each(|(_, _, it)| it.attempt = it.attempt.map(|a| Attempt { scan_from: -1, ..a }));
        }
        sim.forget_producers();
        sim.cut_answers_to = Some(key);
        let lane = revive(&mut sim, 97, &left);
        sim.run(3_000);
        assert_eq!(sim.shipper.stats().batches_sent, 0, "nothing before the answer");
        assert!((3..40).contains(&sim.inquiries), "asked again, at a walk: {}", sim.inquiries);
        sim.cut_answers_to = None;
        sim.weather.error = 3;
        sim.weather.move_leader = 4;
        sim.run(2_000);
        sim.weather = CALM;
        sim.drain(60_000);
        sim.assert_exactly_once("t", lane);
        assert_eq!(sim.shipper.stats().in_doubt, 0);
    }
}

#[test]
fn a_topic_created_again_gets_what_was_not_resolved() {
    let (mut sim, lane) = warm(8, &spec());
    sim.cut_answers_to = Some(0);
    sim.append(lane, 10);
    sim.run(30);
    sim.cut_answers_to = None;
    let left = kill(&mut sim, lane);
    sim.create("t", 1, 0);
    let lane = revive(&mut sim, 98, &left);
    sim.drain(20_000);
    assert_eq!(sim.delivered("t", lane), [vec![1]]);
    assert_eq!(sim.shipper.stats().in_doubt, 0);
}

#[test]
fn an_array_too_large_is_cut_between_entries_and_only_an_entry_too_large_alone_is_lost() {
    for (codec, most) in [(Compression::None, 2_000), (Compression::Lz4, 700)] {
        let mut sim = sim(8, 9, CALM);
        sim.create("t", 1, 0);
        sim.topics.get_mut("t").expect("made").batch_bytes_max = most;
        let sink = sim.shipper.sink(&SinkSpec { compression: codec, ..spec() });
        let batching = Batching::Array { max_entries: 40, inactive_ms: 50, duration_ms: 500 };
        let lane = sim.shipper.lane(&LaneSpec { batching, ..LaneSpec::new(sink, "t") });
        for at in 0..100 {
            // One that compresses to little and is too large as it is.
            sim.append(lane, if at == 50 { 4_000 } else { 60 });
        }
        sim.drain(60_000);
        let stats = *sim.shipper.stats();
        assert_eq!(sim.shipper.held_entries(), 0);
        if codec == Compression::None {
            assert_eq!((stats.delivered, stats.lost.too_large, stats.in_doubt), (99, 1, 0), "{:?}", sim.reports);
            assert_eq!(sim.delivered("t", lane)[0], (0..100).filter(|at| *at != 50).collect::<Vec<_>>());
            let text = &sim.reports.iter().find(|(_, text)| text.contains("MESSAGE_TOO_LARGE")).expect("said").1;
            assert!(text.contains("length: 4") && text.contains("1 records"), "{text}");
        } else {
            sim.assert_exactly_once("t", lane);
        }
        let arrays = &sim.topics["t"].partitions[0].log;
        let entries: u32 = arrays.iter().map(|value| crate::kafka::array::count_elements(value)).sum();
        assert_eq!(u64::from(entries), stats.delivered);
        assert!(arrays.iter().all(|value| value.starts_with(b"[{") && value.ends_with(b"}]")));
    }
}

#[test]
fn a_restart_between_the_parts_of_an_array_goes_on_where_it_was() {
    for seed in 0..40 {
        let mut sim = sim(12, seed, CALM);
        sim.create("t", 1, 0);
        sim.topics.get_mut("t").expect("made").batch_bytes_max = 1_200;
        let sink = sim.shipper.sink(&spec());
        let batching = Batching::Array { max_entries: 30, inactive_ms: 50, duration_ms: 500 };
        let lane = sim.shipper.lane(&LaneSpec { batching, ..LaneSpec::new(sink, "t") });
        for _ in 0..60 {
            sim.append(lane, 60);
        }
        sim.run(20 + 3 * seed);
        sim.cut_answers_to = (seed % 2 == 0).then_some(0);
        sim.run(40);
        sim.cut_answers_to = None;
        let left = kill(&mut sim, lane);
        let lane = revive(&mut sim, seed + 100, &left);
        sim.drain(60_000);
        sim.assert_exactly_once("t", lane);
        assert_eq!(sim.shipper.stats().in_doubt, 0, "seed {seed}");
    }
}

#[test]
fn the_slots_memory_is_what_was_sealed_however_often_the_batch_is_cut() {
    let mut sim = sim(8, 11, CALM);
    sim.create("t", 1, 0);
    sim.topics.get_mut("t").expect("made").batch_bytes_max = 350;
    let lane = lane_of(&mut sim, &SinkSpec { compression: Compression::Lz4, ..spec() }, "t");
    let mut seen: Option<(SlotId, Sealed, Vec<u8>)> = None;
    let mut checked = 0;
    for at in 0..400 {
        if at < 60 {
            sim.append(lane, 40 + at * 37 % 90);
        }
        sim.run(1);
        let ring: &Ring<Vec<u8>> = &sim.shipper.ring;
        let records =
            |id: SlotId, sealed: &Sealed| ring.slot(id).memory[crate::kafka::batch::RECORDS_START..sealed.end].to_vec();
        if let Some((id, sealed, bytes)) = &seen
            && matches!(ring.slot(*id).state, State::Queued | State::InFlight)
            && ring.slot(*id).batch.whole == *sealed
        {
            assert_eq!(&records(*id, sealed), bytes);
            checked += u32::from(ring.slot(*id).batch.cut.is_some());
        } else {
            let queue = sim.shipper.lanes[0].queues.first();
            let front = queue.and_then(|queue| queue.batches.front().copied());
            seen = front.map(|id| (id, ring.slot(id).batch.whole, records(id, &ring.slot(id).batch.whole)));
        }
    }
    assert!(checked > 3, "{checked}");
    sim.drain(20_000);
    sim.assert_exactly_once("t", lane);
}

#[test]
fn what_is_sent_again_in_doubt_may_still_lie_where_its_first_attempt_may() {
    let (mut sim, lane) = warm(12, &spec());
    lose_answers(&mut sim, lane, 1);
    let mut left = kill(&mut sim, lane);
    left.next.2 = -1;
    let scan_from = left.batches[0].2.attempt.expect("sent").scan_from;
    assert!(scan_from > 0);
    sim.deny_read = true;
    sim.cut_answers_to = Some(0);
    revive(&mut sim, 99, &left);
    sim.run(1_000);
    assert!(sim.shipper.stats().batches_sent > 0);
    let slot = sim.shipper.lanes[0].queues[0].batches[0];
    assert_eq!(sim.shipper.ring.slot(slot).batch.attempt.expect("sent").scan_from, scan_from);
}

#[test]
fn with_every_known_node_gone_the_bootstrap_list_is_tried_again() {
    let mut sim = sim(8, 13, CALM);
    sim.create("t", 2, 0);
    let list = [1, 4].map(|node| (format!("broker-{node}"), 9092)).to_vec();
    let lane = lane_of(&mut sim, &SinkSpec::new(list), "t");
    sim.append(lane, 10);
    sim.drain(5_000);
    // Other nodes, of which only the bootstrap list knows one.
    (sim.first_broker, sim.down) = (4, vec![1, 2, 3]);
    (1..=3).for_each(|broker| sim.restart(broker));
    for partition in &mut sim.topics.get_mut("t").expect("made").partitions {
        partition.leader += 3;
        partition.epoch += 1;
    }
    for _ in 0..20 {
        sim.append(lane, 10);
        sim.run(100);
    }
    sim.drain(30_000);
    sim.assert_exactly_once("t", lane);
}

#[test]
fn a_broker_that_closes_an_idle_connection_is_connected_to_again_without_a_word() {
    let (mut sim, lane) = warm(14, &spec());
    let connects = sim.connects;
    (1..=3).for_each(|broker| sim.restart(broker));
    sim.run(1_000);
    assert_eq!(sim.connects, connects, "not before there is something to send");
    sim.append(lane, 10);
    sim.drain(5_000);
    sim.assert_exactly_once("t", lane);
    assert_eq!(sim.reports, []);
}

#[test]
fn a_broker_that_asks_for_silence_gets_it_also_while_it_is_asked() {
    let (mut sim, lane) = warm(15, &spec());
    lose_answers(&mut sim, lane, 1);
    let left = kill(&mut sim, lane);
    sim.forget_producers();
    sim.throttle_inquiries_ms = 700;
    let lane = revive(&mut sim, 102, &left);
    sim.run(600);
    assert_eq!(sim.inquiries, 1, "the next question waits");
    sim.drain(20_000);
    assert!(sim.inquiries >= 2);
    sim.assert_exactly_once("t", lane);
}

/// The gateway is killed again and again in bad weather: every time the next process goes on with what was left.
fn restarts(seed: u64) {
    let mut rng = Rng::new(seed);
    let (mut sim, mut lane) = warm(seed, &spec());
    if rng.below(2) == 0 {
        sim = super::tests::sim(12, seed, CALM);
        sim.create("t", 1, 0);
        let sink = sim.shipper.sink(&spec());
        let batching = Batching::Array { max_entries: 2 + rng.below(30) as u32, inactive_ms: 30, duration_ms: 100 };
        lane = sim.shipper.lane(&LaneSpec { batching, ..LaneSpec::new(sink, "t") });
    }
    if rng.below(3) == 0 {
        sim.topics.get_mut("t").expect("made").batch_bytes_max = 1_300;
    }
    sim.weather = STORM;
    for life in 0..4 {
        for _ in 0..10 {
            for _ in 0..rng.below(8) {
                let len = rng.below(400) as usize;
                sim.append(lane, len);
            }
            sim.run(rng.below(60));
        }
        let left = kill(&mut sim, lane);
        lane = revive(&mut sim, seed * 7 + life, &left);
    }
    sim.weather = CALM;
    sim.drain(120_000);
    sim.assert_exactly_once("t", lane);
    let stats = *sim.shipper.stats();
    assert_eq!((stats.in_doubt, stats.lost.total()), (0, 0), "seed {seed}: {stats:?}");
}

#[test]
fn through_any_weather_and_any_number_of_restarts_each_entry_arrives_once_and_in_order() {
    for seed in 0..seeds(100) {
        if let Err(panic) = std::panic::catch_unwind(|| restarts(seed)) {
            eprintln!("seed {seed} fails");
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn a_partition_without_a_leader_for_long_is_asked_about_for_as_long_as_it_takes() {
    let (mut sim, lane) = warm(16, &spec());
    lose_answers(&mut sim, lane, 1);
    let left = kill(&mut sim, lane);
    sim.forget_producers();
    let lane = revive(&mut sim, 103, &left);
    // The first question is answered, the search is not.
    sim.leaderless_for_fetch = true;
    sim.run(60_000);
    assert_eq!(sim.shipper.stats().batches_sent, 0);
    sim.leaderless_for_fetch = false;
    sim.drain(20_000);
    sim.assert_exactly_once("t", lane);
    assert_eq!(sim.shipper.stats().in_doubt, 0);
}
