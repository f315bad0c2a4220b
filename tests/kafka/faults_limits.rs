//! Time and room: a broker that asks for silence, a window of five, brokers that are gone or stand still, a ring that is full, an end
//! that comes while nothing moves (KAFKA.md §6, "throttle", "broker gone", "SIGTERM"; §9, "delivery deadline").

use std::time::{Duration, Instant};

use devbroker::{Api, Fault, ProducerState, Seen};
use serde_json::json;

use crate::rig::{Plan, Rig, in_parallel, let_pass};
use crate::support::wait_for;

/// How long the broker asks for silence.
const SILENCE: Duration = Duration::from_secs(2);

/// The request that was answered with a throttle time is `told`; nothing may have come for that long.
fn assert_silent(rig: &Rig, told: &Seen, silence: Duration) {
    let from = told.answered.expect("with a throttle time");
    let all = rig.broker.requests();
    let early: Vec<_> =
        all.iter().filter(|seen| seen.at > from && seen.at < from + silence - Duration::from_millis(5)).collect();
    assert!(early.is_empty(), "{} requests within the silence, the first after {:?}", early.len(), early[0].at - from);
    assert!(all.iter().any(|seen| seen.at > from), "it went on behind it");
}

#[test]
fn nothing_is_sent_while_the_broker_asks_for_silence() {
    in_parallel(&["async", "sync"], |producer_type| {
        let rig = Rig::warm(&Plan::plugin(json!({"producer_type": producer_type})));
        rig.produce_faults(&[Fault::Throttle(SILENCE)]);
        rig.send(1);
        rig.wait_delivered(2);
        rig.send(50);
        rig.wait_held(50);
        rig.assert_whole();
        assert_silent(&rig, &rig.carriers(1)[0], SILENCE);
    });
}

#[test]
fn silence_that_other_answers_ask_for_is_kept_too() {
    in_parallel(&[Api::Metadata, Api::InitProducerId], |api| {
        let silence = Duration::from_millis(700);
        let rig = Rig::new(&Plan::faults(*api, 1, &Fault::Throttle(silence)));
        rig.send(5);
        rig.assert_whole();
        assert_silent(&rig, &rig.requests(*api)[0], silence);
    });
}

#[test]
fn silence_that_the_greeting_asks_for_is_kept_too() {
    let silence = Duration::from_millis(700);
    let rig = Rig::new(&Plan::faults(Api::ApiVersions, 1, &Fault::Throttle(silence)));
    rig.send(5);
    rig.assert_whole();
    assert_silent(&rig, &rig.requests(Api::ApiVersions)[0], silence);
}

#[test]
fn queue_is_bounded_while_the_broker_asks_for_silence() {
    let ring = json!({"bytes": 262_144, "slot_bytes": 65_536});
    let tollgate = json!({"ring": ring, "spool": {"path": "none"}});
    let rig = Rig::warm(&Plan { tollgate, ..Plan::kafka(json!({"batch_bytes": 65_536})) });
    rig.produce_faults(&[Fault::Throttle(SILENCE)]);
    rig.send(1);
    rig.wait_delivered(2);
    rig.send_filled(100, 8_000);
    let dropped = wait_for("every entry is counted", || {
        let dropped = rig.gateway.metric("tollgate_log_entries_dropped_total");
        (rig.counts().accepted + dropped == 102).then_some(dropped)
    });
    assert!((30..98).contains(&dropped), "{dropped}");
    rig.wait_delivered(102 - dropped);
    assert_eq!(rig.logged(), (0..102 - dropped).collect::<Vec<_>>(), "the newest were dropped");
}

#[test]
fn at_most_five_are_in_flight_and_in_sync_mode_one() {
    in_parallel(&[("async", 5), ("sync", 1)], |(producer_type, most)| {
        let rig = Rig::warm(&Plan::plugin(json!({"producer_type": producer_type})));
        rig.broker.script().push_times(Api::Produce, 2, &Fault::Delay(Duration::from_millis(100)));
        rig.send(60);
        rig.assert_whole();
        let in_flight = rig.requests(Api::Produce).iter().map(|seen| seen.behind + 1).max();
        assert_eq!(in_flight, Some(*most), "{producer_type}");
    });
}

#[test]
fn broker_that_is_gone_for_a_while_gets_everything_when_it_is_back() {
    in_parallel(&["async", "sync"], |producer_type| {
        let rig = Rig::warm(&Plan::plugin(json!({"producer_type": producer_type})));
        for gone in [300, 1_500] {
            rig.send(10);
            rig.broker.set_down(1);
            let begin = Instant::now();
            rig.send(40);
            let_pass(begin, Duration::from_millis(gone));
            rig.broker.set_up(1).expect("its port");
        }
        rig.assert_whole();
        let connects = rig.requests(Api::ApiVersions).len();
        assert!(connects < 20, "{connects} connections");
    });
}

#[test]
fn restarts_in_a_row_lose_and_double_nothing() {
    let rig = Rig::warm(&Plan::nodes(2));
    for round in 0..6 {
        rig.send(20);
        rig.broker.restart(if round % 2 == 0 { ProducerState::LastBatch } else { ProducerState::All }).expect("ports");
        rig.broker.move_leader(&rig.topic, 0, 1 + round % 2);
        rig.send(20);
    }
    rig.assert_whole();
}

#[test]
fn broker_that_stands_still_gets_everything_once_when_it_goes_on() {
    // Shorter and longer than a request may take: after it, the first tries are answered to nobody.
    in_parallel(&[500, 3_600], |still| {
        let rig = Rig::warm(&Plan::kafka(json!({"request_timeout_ms": 1000})));
        rig.broker.set_frozen(1, true);
        let begin = Instant::now();
        rig.send(30);
        rig.wait_held(30);
        let_pass(begin, Duration::from_millis(*still));
        rig.broker.set_frozen(1, false);
        rig.assert_whole();
        let epochs: Vec<_> = rig.broker.appended(&rig.topic, 0).iter().map(|batch| batch.epoch).collect();
        assert!(epochs.iter().all(|epoch| *epoch == 0), "{epochs:?}");
    });
}

#[test]
fn one_node_of_three_that_stands_still_does_not_hold_up_the_others() {
    let rig = Rig::new(&Plan { partitions: 3, ..Plan::nodes(3) });
    let topic_of = |node: i32| format!("led-by-{node}");
    for node in 1..=3 {
        rig.broker.create_topic(&topic_of(node), 1).expect("a new topic");
        rig.broker.move_leader(&topic_of(node), 0, node);
        let plugin = json!({"kafka_topic": topic_of(node)});
        rig.put_route(&format!("r{node}"), &format!("/{node}"), &plugin);
    }
    let ask = |node: i32| assert_eq!(rig.gateway.get(&format!("/{node}")).status, 200);
    let there = |node: i32, count: i64| (rig.broker.offsets(&topic_of(node), 0) == Some((0, count))).then_some(());
    (1..=3).for_each(ask);
    (1..=3).for_each(|node| wait_for("each node has one", || there(node, 1)));
    rig.broker.set_frozen(2, true);
    (1..=3).for_each(ask);
    let begin = Instant::now();
    wait_for("those that move have two", || there(1, 2).and(there(3, 2)));
    assert!(begin.elapsed() < Duration::from_secs(1));
    assert_eq!(there(2, 1), Some(()));
    rig.broker.set_frozen(2, false);
    wait_for("all have two", || there(2, 2));
}

#[test]
fn end_comes_by_its_deadline_with_the_window_full_and_says_what_is_missing() {
    in_parallel(&["async", "sync"], |producer_type| {
        let mut rig = Rig::warm(&Plan {
            // Without a place to keep them.
            tollgate: json!({"shutdown_timeout_ms": 1000, "spool": {"path": "none"}}),
            ..Plan::plugin(json!({"producer_type": producer_type}))
        });
        rig.broker.set_frozen(1, true);
        rig.send(20);
        rig.wait_held(20);
        let begin = Instant::now();
        rig.gateway.terminate();
        assert_eq!(rig.gateway.wait_end().code(), Some(1), "losing records is no success");
        assert!(begin.elapsed() < Duration::from_millis(3_500), "{producer_type}: {:?}", begin.elapsed());
        assert_eq!(rig.lines("20 log entries did not reach Kafka"), 1, "{producer_type}:\n{}", rig.gateway.log());
        rig.broker.set_frozen(1, false);
    });
}

#[test]
fn end_waits_for_a_broker_that_answers_before_the_deadline() {
    let mut rig = Rig::warm(&Plan { tollgate: json!({"shutdown_timeout_ms": 5000}), ..Plan::default() });
    rig.produce_faults(&[Fault::Delay(Duration::from_millis(700)), Fault::CutAnswer(5), Fault::Error(19)]);
    rig.send(20);
    rig.gateway.terminate();
    assert_eq!(rig.gateway.wait_end().code(), Some(0), "{}", rig.gateway.log());
    assert_eq!(rig.logged(), (0..21).collect::<Vec<_>>());
}
