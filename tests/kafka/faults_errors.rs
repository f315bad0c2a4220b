//! Every class of error that a Produce or InitProducerId answer can carry, once: tried again in the same bytes, refused for good and
//! counted, or gone on without idempotence (`kafka::retry`'s table; KAFKA.md §2 and §6).

use std::time::{Duration, Instant};

use devbroker::{Api, Fault};
use serde_json::json;

use crate::rig::{Counts, Plan, Rig, in_parallel, let_pass};
use crate::support::wait_for;

/// Refused for now, not appended.
const NEVER_APPENDED: [i16; 12] = [2, 3, 5, 6, 9, 19, 29, 74, 75, 89, 100, 103];
/// Refused for now, perhaps appended all the same; the last one is none of Kafka's.
const PERHAPS_APPENDED: [i16; 7] = [-1, 7, 13, 20, 56, 72, 1234];
/// Refused for good.
const REFUSED: [i16; 13] = [17, 21, 32, 35, 42, 43, 44, 48, 49, 53, 55, 76, 87];

/// Each entry meets one fault and is sent twice in the same bytes.
fn each_is_sent_twice(rig: &Rig, faults: &[Fault]) {
    for fault in faults {
        rig.produce_faults(std::slice::from_ref(fault));
        rig.send(1);
        rig.wait_delivered(rig.sent());
        rig.assert_repeated(rig.sent() - 1, 2);
    }
    rig.assert_whole();
    let epochs: Vec<_> = rig.broker.appended(&rig.topic, 0).iter().map(|batch| batch.epoch).collect();
    assert!(epochs.iter().all(|epoch| *epoch == 0), "no new epoch is needed: {epochs:?}");
}

#[test]
fn refused_for_now_is_sent_again_under_its_number() {
    let never: Vec<Fault> = NEVER_APPENDED.into_iter().map(Fault::Error).collect();
    let perhaps_not: Vec<Fault> = PERHAPS_APPENDED.into_iter().map(Fault::Error).collect();
    let perhaps_done: Vec<Fault> = PERHAPS_APPENDED.into_iter().map(Fault::ErrorAfter).collect();
    in_parallel(&[never, perhaps_not, perhaps_done], |faults| each_is_sent_twice(&Rig::warm(&Plan::default()), faults));
}

#[test]
fn refused_for_now_at_the_head_of_five_keeps_their_order() {
    let first = [
        Fault::Error(19),
        Fault::Error(3),
        Fault::Error(2),
        Fault::ErrorAfter(7),
        Fault::ErrorAfter(20),
        Fault::Error(56),
    ];
    in_parallel(&first, |fault| {
        let rig = Rig::warm(&Plan::default());
        // Those behind a gap are answered with 45.
        rig.send_with_five_in_flight(&[Fault::Pass, fault.clone()]);
        rig.assert_whole();
        let log = rig.broker.appended(&rig.topic, 0);
        let is_first = log.iter().all(|batch| batch.epoch == 0);
        assert!(is_first, "{fault:?}: a gap in the window is no reason for a new epoch");
        assert!(rig.carriers(3).len() > 1 || *fault == Fault::ErrorAfter(7) || *fault == Fault::ErrorAfter(20));
    });
}

#[test]
fn refused_for_good_is_counted_and_said_and_what_follows_is_delivered() {
    let rig = Rig::warm(&Plan::default());
    for error in REFUSED {
        rig.produce_faults(&[Fault::Error(error)]);
        rig.send(1);
        let counts = rig.wait_settled();
        assert_eq!(counts.lost, rig.sent() / 2, "{error}: {counts:?}");
        rig.send(1);
        rig.wait_settled();
        let (refused, next) = (rig.carriers(rig.sent() - 2).len(), rig.carriers(rig.sent() - 1).len());
        assert_eq!(
            (refused, next),
            (1, 1),
            "{error}: not tried again, and the next is not refused for the number it leaves"
        );
    }
    let lost = REFUSED.len() as u64;
    let expected = Counts { accepted: 1 + 2 * lost, delivered: 1 + lost, lost, ..Counts::default() };
    assert_eq!(rig.wait_settled(), expected);
    assert_eq!(rig.logged(), (0..=2 * lost).step_by(2).collect::<Vec<_>>());
    assert!(
        (1..=REFUSED.len()).contains(&rig.lines("are lost")),
        "said, but not more than once a second:\n{}",
        rig.gateway.log()
    );
}

#[test]
fn refused_for_good_in_the_middle_of_five_takes_no_other_along() {
    let rig = Rig::warm(&Plan::default());
    rig.send_with_five_in_flight(&[Fault::Pass, Fault::Pass, Fault::Error(87)]);
    let counts = rig.wait_settled();
    assert_eq!((counts.lost, counts.in_doubt, counts.delivered), (1, 0, 12));
    assert_eq!(rig.logged(), (0..13).filter(|n| *n != 3).collect::<Vec<_>>());
    assert!(rig.carriers(4).len() > 1, "what was behind it was sent again");
}

#[test]
fn error_that_stays_is_tried_at_a_walk_and_said_once() {
    in_parallel(&[29, 19, 7, 56, -1], |error| {
        let rig = Rig::warm(&Plan::kafka(
            json!({"retry_backoff_ms": 100, "retry_backoff_max_ms": 400, "stalled_report_ms": 500}),
        ));
        rig.broker.script().push_times(Api::Produce, 1_000, &Fault::Error(*error));
        let begin = Instant::now();
        rig.send(5);
        let_pass(begin, Duration::from_secs(1));
        let sent = rig.count_within(Api::Produce, begin, Duration::from_secs(1));
        assert!((2..=25).contains(&sent), "{error}: {sent} batches in a second");
        rig.wait_held(5);
        wait_for("it is said", || (rig.lines("failed to send data to Kafka topic") == 1).then_some(()));
        rig.broker.script().clear();
        rig.assert_whole();
        wait_for("its end is said", || (rig.lines("takes records again") == 1).then_some(()));
        assert_eq!(rig.lines("failed to send data to Kafka topic"), 1, "{error}");
    });
}

#[test]
fn retries_that_the_operator_limited_end_in_lost_or_in_doubt() {
    let cases = [(Fault::Error(19), 1, 0, 0), (Fault::ErrorAfter(7), 0, 1, 1), (Fault::Error(7), 0, 1, 0)];
    in_parallel(&cases, |(fault, lost, in_doubt, there)| {
        let rig = Rig::warm(&Plan::plugin(json!({"max_retry_count": 2, "retry_delay": 0})));
        rig.broker.script().push_times(Api::Produce, 3, fault);
        rig.send(1);
        let counts = rig.wait_settled();
        assert_eq!((counts.lost, counts.in_doubt), (*lost, *in_doubt), "{fault:?}");
        rig.assert_repeated(1, 3);
        rig.send(1);
        rig.wait_delivered(2);
        let expected = if *there == 1 { vec![0, 1, 2] } else { vec![0, 2] };
        assert_eq!(rig.logged(), expected, "{fault:?}: what follows finds its way");
    });
}

#[test]
fn producer_id_is_asked_for_until_it_is_given() {
    in_parallel(&[14, 15, 7, -1], |error| {
        let rig = Rig::new(&Plan::faults(Api::InitProducerId, 3, &Fault::Error(*error)));
        rig.send(5);
        rig.assert_whole();
        assert_eq!(rig.requests(Api::InitProducerId).len(), 4, "{error}");
        assert!(rig.broker.appended(&rig.topic, 0).iter().all(|batch| batch.producer_id >= 0));
    });
}

#[test]
fn without_the_right_to_be_idempotent_records_go_all_the_same_and_it_is_said_once() {
    in_parallel(&[Some(31), Some(53), None], |error| {
        let rig = Rig::new(&Plan::default());
        match error {
            Some(error) => rig.broker.script().push_times(Api::InitProducerId, 1_000, &Fault::Error(*error)),
            None => rig.broker.cap_version(Api::InitProducerId, -1),
        }
        for _ in 0..3 {
            rig.send(5);
            rig.wait_delivered(rig.sent());
        }
        rig.broker.script().clear();
        rig.assert_whole();
        assert!(rig.broker.appended(&rig.topic, 0).iter().all(|batch| batch.producer_id == -1));
        assert_eq!(rig.lines("do not allow an idempotent producer"), 1, "{error:?}:\n{}", rig.gateway.log());
    });
}

#[test]
fn topic_that_may_not_be_seen_is_said_at_once_and_written_to_when_it_may() {
    let rig = Rig::new(&Plan::faults(Api::Metadata, 1_000, &Fault::Error(29)));
    rig.send(5);
    wait_for("it is said", || (rig.lines("grant Write and Describe") == 1).then_some(()));
    rig.wait_held(5);
    rig.broker.script().clear();
    rig.assert_whole();
    assert_eq!(rig.lines("grant Write and Describe"), 1);
}
