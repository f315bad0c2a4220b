//! Batches that the broker finds too large: cut at records and sent on, and only an entry that alone is over the limit is lost, with its
//! size named (KAFKA.md §6, "10 on n>1 and n=1", and §9, "split after 10").

use std::time::Duration;

use devbroker::{Api, Fault};
use serde_json::{Value, json};

use crate::rig::{Plan, Rig, in_parallel};

const TOO_LARGE: i16 = 10;
const INVALID_RECORD: i16 = 87;

/// Requests become one batch: it lingers.
fn gathering(plugin: Value) -> Plan {
    Plan { plugin, ..Plan::kafka(json!({"linger_ms": 300})) }
}

/// Answers with MESSAGE_TOO_LARGE or another error: everything but what was appended.
fn refused(rig: &Rig) -> usize {
    rig.requests(Api::Produce).len() - rig.broker.appended(&rig.topic, 0).len()
}

#[test]
fn batch_too_large_is_cut_and_every_entry_arrives() {
    let cases = [(json!({}), 1_200), (json!({"compression": "lz4"}), 300), (json!({"producer_type": "sync"}), 1_200)];
    in_parallel(&cases, |(plugin, most)| {
        let rig = Rig::warm(&gathering(plugin.clone()));
        rig.broker.set_batch_bytes(*most);
        for _ in 0..3 {
            // In sync mode nothing lingers: they gather behind the first.
            rig.produce_faults(&[Fault::Delay(Duration::from_millis(200))]);
            rig.send_filled(40, 100);
            rig.wait_delivered(rig.sent());
        }
        rig.assert_whole();
        let log = rig.broker.appended(&rig.topic, 0);
        assert!(log.iter().any(|batch| batch.records > 1), "not one by one");
        assert!(
            (1..=60).contains(&refused(&rig)),
            "{plugin}: {} batches were too large: that is learnt",
            refused(&rig)
        );
    });
}

#[test]
fn only_an_entry_that_alone_is_too_large_is_lost_and_its_size_is_named() {
    let rig = Rig::warm(&gathering(json!({})));
    rig.broker.set_batch_bytes(1_500);
    rig.send(10);
    rig.send_filled(1, 3_000);
    rig.send(10);
    let counts = rig.wait_settled();
    assert_eq!((counts.lost, counts.in_doubt), (1, 0));
    assert_eq!(rig.logged(), (0..22).filter(|n| *n != 11).collect::<Vec<_>>());
    assert_eq!(rig.lines("MESSAGE_TOO_LARGE, retryable: false"), 1);
    assert_eq!(rig.lines("length: 31"), 1, "3,000 and what is around them:\n{}", rig.gateway.log());
    rig.send(5);
    assert_eq!(rig.wait_settled().lost, 1);
}

#[test]
fn entry_too_large_in_the_middle_of_five_takes_no_other_along() {
    let rig = Rig::warm(&Plan::default());
    rig.send_with_five_in_flight(&[Fault::Pass, Fault::Pass, Fault::Error(TOO_LARGE)]);
    let counts = rig.wait_settled();
    assert_eq!((counts.lost, counts.in_doubt), (1, 0));
    assert_eq!(rig.logged(), (0..13).filter(|n| *n != 3).collect::<Vec<_>>());
}

#[test]
fn arrays_are_kept_apart_when_their_batch_is_too_large() {
    let rig = Rig::warm(&gathering(json!({"batch_max_size": 4, "inactive_timeout": 1})));
    rig.broker.set_batch_bytes(2_000);
    rig.send_filled(40, 100);
    rig.assert_whole();
    assert!(rig.broker.appended(&rig.topic, 0).len() > 2 && refused(&rig) >= 1);
}

#[test]
fn array_too_large_is_cut_at_its_entries() {
    let rig = Rig::warm(&gathering(json!({"batch_max_size": 40, "inactive_timeout": 1})));
    rig.broker.set_batch_bytes(2_000);
    rig.send_filled(40, 100);
    rig.assert_whole();
}

#[test]
fn what_may_have_been_appended_is_neither_doubled_nor_called_lost_when_its_repeat_is_refused_for_good() {
    let plans = [(Plan::default(), 1), (gathering(json!({})), 10)];
    let cases: Vec<_> = [TOO_LARGE, INVALID_RECORD].into_iter().flat_map(|e| plans.clone().map(|p| (e, p))).collect();
    in_parallel(&cases, |(error, (plan, count))| {
        let rig = Rig::warm(plan);
        // Appended, the answer is lost; then the topic's limit, or the broker's mind, changes.
        rig.produce_faults(&[Fault::CutAnswer(0), Fault::Error(*error)]);
        rig.send(*count);
        let counts = rig.wait_settled();
        assert_eq!((counts.lost, counts.delivered + counts.in_doubt), (0, 1 + count), "{error}, {count}: {counts:?}");
        rig.send(3);
        rig.wait_settled();
        assert_eq!(rig.logged(), (0..count + 4).collect::<Vec<_>>(), "{error}, {count}");
    });
}

#[test]
fn what_was_cut_off_and_is_too_large_is_cut_and_arrives() {
    let rig = Rig::warm(&gathering(json!({})));
    rig.produce_faults(&[Fault::Cut, Fault::Error(TOO_LARGE), Fault::CutAnswer(0)]);
    rig.send(10);
    rig.wait_settled();
    rig.send(3);
    let counts = rig.wait_settled();
    assert_eq!((counts.lost, rig.logged()), (0, (0..14).collect::<Vec<_>>()), "{counts:?}");
}
