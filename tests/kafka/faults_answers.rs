//! Answers that are cut at any byte, come slowly, never, late, twice or under a wrong number, and requests that are cut: the batch is
//! sent again in the same bytes, over a new connection, and is in the log once (KAFKA.md §6, first row).

use std::time::{Duration, Instant};

use devbroker::{Api, Fault};
use serde_json::json;

use crate::rig::{Plan, Rig, in_parallel};

/// Bytes that the answers of this kind have at least and at most: cut behind its end, an answer is whole and the connection closed.
const ANSWERS: [(Api, usize, usize); 4] =
    [(Api::ApiVersions, 100, 190), (Api::Metadata, 80, 150), (Api::InitProducerId, 20, 36), (Api::Produce, 40, 100)];
/// What a Produce request may take: the plugin's `timeout` of 1 s and the grace of 2 s.
const PRODUCE_TIMEOUT: Duration = Duration::from_secs(3);

#[test]
fn every_answer_may_be_cut_at_every_byte() {
    in_parallel(&ANSWERS, |(api, least, most)| {
        // The pauses do not matter here, and there are many of them.
        let kafka = json!({"retry_backoff_ms": 1, "retry_backoff_max_ms": 2, "reconnect_backoff_ms": 1,
                           "reconnect_backoff_max_ms": 2, "request_timeout_ms": 3000});
        let faults: Vec<_> = (0..*most).map(|cut| (*api, Fault::CutAnswer(cut))).collect();
        let rig = if *api == Api::Produce {
            let rig = Rig::warm(&Plan::kafka(kafka));
            faults.into_iter().for_each(|(api, fault)| rig.broker.script().push(api, fault));
            rig
        } else {
            Rig::new(&Plan { faults, ..Plan::kafka(kafka) })
        };
        rig.send(1);
        rig.wait_delivered(rig.sent());
        let used = most - rig.broker.script().left(*api);
        assert!((*least..=*most).contains(&used), "{api:?} was cut {used} times");
        if *api == Api::Produce {
            rig.assert_repeated(1, used);
        }
        rig.broker.script().clear();
        rig.send(3);
        rig.assert_whole();
    });
}

#[test]
fn requests_cut_at_any_byte_are_sent_again_as_they_were() {
    let rig = Rig::warm(&Plan::kafka(json!({"retry_backoff_ms": 1, "retry_backoff_max_ms": 2})));
    let cuts: Vec<Fault> = (0..250).step_by(5).map(Fault::CutRequest).collect();
    rig.produce_faults(&cuts);
    rig.send(1);
    rig.assert_whole();
    rig.send(20);
    rig.assert_whole();
    assert_eq!(rig.broker.appended(&rig.topic, 0)[1].base_sequence, 1, "the number it had at first");
}

#[test]
fn five_in_flight_are_sent_again_in_order_wherever_the_connection_breaks() {
    let cuts = [
        (0, Fault::Cut),
        (1, Fault::CutAnswer(3)),
        (2, Fault::CutAnswer(30)),
        (4, Fault::Cut),
        (4, Fault::CutAnswer(9)),
    ];
    in_parallel(&cuts, |(at, fault)| {
        let rig = Rig::warm(&Plan::default());
        rig.send_with_five_in_flight(&[vec![Fault::Pass; *at], vec![fault.clone()]].concat());
        rig.assert_whole();
        let again = rig.gateway.metric("tollgate_kafka_batches_retried_total");
        assert!(again >= 5 - *at as u64, "{again} of what was in flight were sent again");
        let epochs: Vec<_> = rig.broker.appended(&rig.topic, 0).iter().map(|batch| batch.epoch).collect();
        assert!(epochs.iter().all(|epoch| *epoch == 0), "no new epoch is needed: {epochs:?}");
    });
}

#[test]
fn answers_that_never_come_or_come_too_late_or_too_slowly_are_asked_for_again_after_the_timeout() {
    let late = PRODUCE_TIMEOUT + Duration::from_millis(700);
    // A byte in 100 ms: an answer takes 5 s and more.
    let faults = [Fault::NoAnswer, Fault::Hang, Fault::Delay(late), Fault::Trickle(1, Duration::from_millis(100))];
    in_parallel(&faults, |fault| {
        let rig = Rig::warm(&Plan::kafka(json!({"request_timeout_ms": 1000})));
        rig.produce_faults(std::slice::from_ref(fault));
        let begin = Instant::now();
        rig.send(1);
        rig.wait_held(1);
        rig.wait_delivered(2);
        let took = begin.elapsed();
        assert!((PRODUCE_TIMEOUT..PRODUCE_TIMEOUT + Duration::from_secs(3)).contains(&took), "{fault:?}: {took:?}");
        rig.assert_repeated(1, 2);
        let carriers = rig.carriers(1);
        assert_ne!(carriers[0].connection, carriers[1].connection);
        rig.send(5);
        rig.assert_whole();
    });
}

#[test]
fn questions_that_are_never_answered_are_asked_again_after_the_timeout() {
    in_parallel(&[Api::ApiVersions, Api::Metadata, Api::InitProducerId], |api| {
        let rig =
            Rig::new(&Plan { faults: vec![(*api, Fault::Hang)], ..Plan::kafka(json!({"request_timeout_ms": 1000})) });
        rig.send(5);
        rig.wait_held(5);
        rig.assert_whole();
        let asked = rig.requests(*api);
        let pause = asked[1].at - asked[0].at;
        assert!((Duration::from_millis(990)..Duration::from_millis(2_500)).contains(&pause), "{api:?}: {pause:?}");
    });
}

#[test]
fn slow_trickle_within_the_timeout_needs_no_second_try() {
    let rig = Rig::warm(&Plan::default());
    rig.produce_faults(&[Fault::Trickle(4, Duration::from_millis(40))]);
    rig.send(10);
    rig.assert_whole();
    assert_eq!(rig.gateway.metric("tollgate_kafka_batches_retried_total"), 0);
}

#[test]
fn second_answer_and_one_to_another_request_cost_the_connection_and_no_record() {
    in_parallel(&[Fault::Twice, Fault::WrongCorrelation], |fault| {
        let rig = Rig::warm(&Plan::default());
        rig.produce_faults(std::slice::from_ref(fault));
        rig.send(10);
        rig.assert_whole();
        let connections: Vec<u64> = rig.requests(Api::Produce).iter().map(|seen| seen.connection).collect();
        assert_ne!(connections.first(), connections.last(), "{fault:?}: what sends nonsense is not trusted further");
    });
}

#[test]
fn sync_mode_survives_the_same() {
    let rig = Rig::warm(&Plan::plugin(json!({"producer_type": "sync"})));
    let faults =
        [Fault::Cut, Fault::CutAnswer(0), Fault::CutAnswer(20), Fault::CutRequest(70), Fault::WrongCorrelation];
    rig.produce_faults(&faults);
    rig.send(20);
    rig.assert_whole();
    assert!(rig.requests(Api::Produce).iter().all(|seen| seen.behind == 0), "one in flight");
}
