//! Leaders that move, are missing, or whose topic is gone or made again: followed at once where the answer names the new one, looked up
//! where it does not, never asked in a hurry, and order is kept (KAFKA.md §6, second row).

use std::time::{Duration, Instant};

use devbroker::{Api, Fault, Options};
use serde_json::json;

use crate::rig::{Plan, Rig, in_parallel, let_pass};
use crate::support::wait_for;

const NOT_LEADER: i16 = 6;

/// Pauses so long that whoever waits for one is seen.
fn slow_pauses(nodes: u16) -> Plan {
    Plan { kafka: json!({"retry_backoff_ms": 1500, "retry_backoff_max_ms": 1500}), ..Plan::nodes(nodes) }
}

#[test]
fn leader_that_the_answer_names_is_followed_at_once() {
    let rig = Rig::warm(&slow_pauses(2));
    // It cannot have been learnt from Metadata: that is not answered for a while.
    rig.broker.script().push(Api::Metadata, Fault::Delay(Duration::from_millis(800)));
    rig.broker.move_leader(&rig.topic, 0, 2);
    rig.send(1);
    rig.wait_delivered(2);
    let carriers = rig.carriers(1);
    let refused = carriers[0].answered.expect("with NOT_LEADER_OR_FOLLOWER");
    assert_eq!(carriers.iter().map(|seen| seen.node).collect::<Vec<_>>(), [1, 2]);
    assert!(carriers[1].at - refused < Duration::from_millis(700), "{:?}", carriers[1].at - refused);
    rig.assert_repeated(1, 2);
    rig.send(20);
    rig.assert_whole();
    assert!(!rig.requests(Api::Metadata).is_empty(), "it is looked up all the same");
}

#[test]
fn without_a_name_the_leader_is_looked_up_and_order_is_kept() {
    let cases = [(12, false), (9, true)];
    in_parallel(&cases, |(version, hints)| {
        let rig = Rig::warm(&Plan::nodes(3));
        rig.broker.cap_version(Api::Produce, *version);
        rig.broker.set_leader_hints(*hints);
        // Versions are agreed on with each connection.
        rig.broker.cut_connections();
        for node in [2, 3, 1, 3] {
            rig.broker.move_leader(&rig.topic, 0, node);
            rig.send(15);
            rig.wait_delivered(rig.sent());
        }
        rig.assert_whole();
        let looked_up = rig.requests(Api::Metadata).len();
        assert!((4..30).contains(&looked_up), "{looked_up}");
        let refused = rig.requests(Api::Produce).len() as u64 - rig.broker.appended(&rig.topic, 0).len() as u64;
        assert!((4..60).contains(&refused), "{refused}");
    });
}

#[test]
fn old_leader_that_is_down_is_left_for_the_new_one() {
    let rig = Rig::warm(&Plan::nodes(2));
    rig.produce_faults(&[Fault::NoAnswer]);
    rig.send(2);
    wait_for("the first is appended", || rig.broker.appended(&rig.topic, 0).len().checked_sub(1));
    rig.broker.set_down(1);
    rig.send(5);
    rig.wait_held(7);
    rig.broker.move_leader(&rig.topic, 0, 2);
    rig.wait_delivered(8);
    rig.broker.set_up(1).expect("its port");
    rig.broker.move_leader(&rig.topic, 0, 1);
    rig.send(5);
    rig.assert_whole();
}

#[test]
fn partition_without_a_leader_waits_and_asks_at_a_walk() {
    let rig = Rig::warm(&Plan::kafka(json!({"retry_backoff_ms": 100, "retry_backoff_max_ms": 1000})));
    rig.broker.move_leader(&rig.topic, 0, -1);
    let begin = Instant::now();
    rig.send(10);
    rig.wait_held(10);
    let_pass(begin, Duration::from_secs(1));
    let (sent, asked) = (
        rig.count_within(Api::Produce, begin, Duration::from_secs(1)),
        rig.count_within(Api::Metadata, begin, Duration::from_secs(1)),
    );
    assert!(sent <= 5, "{sent} batches in a second to nobody");
    assert!((1..=10).contains(&asked), "asked {asked} times in a second");
    rig.broker.move_leader(&rig.topic, 0, 1);
    rig.assert_whole();
}

#[test]
fn leader_that_refuses_to_be_one_is_asked_at_a_walk() {
    // Metadata insists on a node that denies it; then its epoch is said to be fenced.
    in_parallel(&[NOT_LEADER, 74, 3, 5], |error| {
        let rig = Rig::warm(&Plan::kafka(json!({"retry_backoff_ms": 100, "retry_backoff_max_ms": 1000})));
        rig.broker.script().push_times(Api::Produce, 1_000, &Fault::Error(*error));
        let begin = Instant::now();
        rig.send(10);
        let_pass(begin, Duration::from_secs(1));
        let sent = rig.count_within(Api::Produce, begin, Duration::from_secs(1));
        let asked = rig.count_within(Api::Metadata, begin, Duration::from_secs(1));
        // Up to five at once, after 100, 200, 400 ms.
        assert!((2..=25).contains(&sent), "{error}: {sent} batches in a second");
        assert!((1..=12).contains(&asked), "{error}: asked {asked} times in a second");
        rig.wait_held(10);
        rig.broker.script().clear();
        rig.assert_whole();
        let epochs: Vec<_> = rig.broker.appended(&rig.topic, 0).iter().map(|batch| batch.epoch).collect();
        assert!(epochs.iter().all(|epoch| *epoch == 0), "{error}: {epochs:?}");
    });
}

#[test]
fn two_nodes_that_name_each_other_are_not_asked_in_a_hurry() {
    let rig =
        Rig::warm(&Plan { kafka: json!({"retry_backoff_ms": 100, "retry_backoff_max_ms": 1000}), ..Plan::nodes(2) });
    for _ in 0..500 {
        rig.produce_faults(&[Fault::NotLeader { leader: 2, epoch: 7 }, Fault::NotLeader { leader: 1, epoch: 7 }]);
    }
    let begin = Instant::now();
    rig.send(1);
    let_pass(begin, Duration::from_secs(1));
    let sent = rig.count_within(Api::Produce, begin, Duration::from_secs(1));
    assert!(sent <= 20, "{sent} batches in a second between two nodes of which neither leads");
    rig.broker.script().clear();
    // Epoch 8: newer than what they said.
    (0..8).for_each(|_| assert!(rig.broker.move_leader(&rig.topic, 0, 1)));
    rig.assert_whole();
}

#[test]
fn topic_made_again_gets_what_was_not_acknowledged_yet() {
    // By id (version 13) the old one is answered with UNKNOWN_TOPIC_ID, by name with UNKNOWN_TOPIC_OR_PARTITION or not at all.
    in_parallel(&[true, false], |topic_ids| {
        let plan = Plan::nodes(2);
        let options = Options { topic_ids: *topic_ids, auto_create: false, ..plan.options.clone() };
        let rig = Rig::warm(&Plan { options, ..plan });
        // The new one is led by another node, in a lower epoch.
        for node in [2, 1, 2] {
            rig.broker.move_leader(&rig.topic, 0, node);
            rig.send(1);
            rig.wait_delivered(rig.sent());
        }
        rig.send(1);
        rig.wait_delivered(5);
        let looked_up = rig.requests(Api::Metadata).len();
        assert!(rig.broker.delete_topic(&rig.topic));
        rig.send(10);
        wait_for("the topic is looked up", || (rig.requests(Api::Metadata).len() > looked_up).then_some(()));
        rig.wait_held(10);
        rig.broker.create_topic(&rig.topic, 1).expect("it is gone");
        rig.wait_delivered(15);
        rig.send(5);
        rig.wait_delivered(20);
        assert_eq!(rig.wait_settled().in_doubt, 0);
        assert_eq!(rig.logged(), (5..20).collect::<Vec<_>>(), "what the old one acknowledged is gone with it");
        let last = rig.requests(Api::Produce).pop().expect("sent");
        assert_eq!(last.version, if *topic_ids { 13 } else { 12 });
    });
}

#[test]
fn topic_made_again_while_an_answer_is_missing_gets_that_record_again() {
    in_parallel(&[true, false], |topic_ids| {
        let plan = Plan::default();
        let options = Options { topic_ids: *topic_ids, auto_create: false, ..plan.options.clone() };
        let rig = Rig::warm(&Plan { options, ..plan });
        rig.produce_faults(&[Fault::NoAnswer]);
        rig.send(1);
        wait_for("it is appended", || rig.broker.offsets(&rig.topic, 0).filter(|(_, next)| *next == 2));
        assert!(rig.broker.delete_topic(&rig.topic));
        rig.broker.create_topic(&rig.topic, 1).expect("it is gone");
        rig.broker.cut_connections();
        rig.send(5);
        let counts = rig.wait_settled();
        assert_eq!((counts.lost, counts.delivered + counts.in_doubt), (0, 7), "{counts:?}");
        // By id the old topic is told from the new one, where it cannot be; by name it may be left in doubt.
        let again: Vec<u64> = if counts.in_doubt == 1 { (2..7).collect() } else { (1..7).collect() };
        assert_eq!((rig.logged(), counts.in_doubt <= 1), (again, true));
        assert!(!topic_ids || counts.in_doubt == 0);
    });
}

#[test]
fn what_was_sent_waits_for_its_partition_and_never_changes_it() {
    let rig = Rig::warm(&Plan { partitions: 3, plugin: json!({"key": ""}), ..Plan::nodes(3) });
    rig.produce_faults(&[Fault::NoAnswer]);
    rig.send(1);
    let first = wait_for("it is sent", || rig.carriers(1).pop()).batches[0].partition;
    wait_for("it is appended", || rig.broker.appended(&rig.topic, first).len().checked_sub(1));
    rig.broker.move_leader(&rig.topic, first, -1);
    rig.broker.cut_connections();
    wait_for("it is known that nobody leads", || (rig.requests(Api::Metadata).len() > 1).then_some(()));
    rig.send(10);
    rig.broker.move_leader(&rig.topic, first, 1 + (first + 1) % 3);
    rig.wait_delivered(12);
    assert_eq!(rig.wait_settled().in_doubt, 0);
    let mut logged = rig.logged();
    logged.sort_unstable();
    assert_eq!(logged, (0..12).collect::<Vec<_>>());
    rig.assert_repeated(1, rig.carriers(1).len());
    assert!(rig.carriers(1).iter().all(|seen| seen.batches[0].partition == first));
}

#[test]
fn leader_that_is_named_and_cannot_be_reached_is_looked_up() {
    let rig = Rig::warm(&Plan::nodes(2));
    rig.broker.set_down(2);
    rig.produce_faults(&[Fault::NotLeader { leader: 2, epoch: 0 }]);
    rig.send(5);
    rig.assert_whole();
}
