//! Brokers that know less: versions of requests are agreed on downwards, and what a version lacks is done without (KAFKA.md §6,
//! "ApiVersions err 35; only Produce<=12; only <=9").

use devbroker::{Api, Fault, Options, Versions};

use crate::rig::{Plan, Rig, in_parallel};

/// A rig whose broker, which can name topics by id, knows requests only up to these versions.
fn capped(caps: &[(Api, i16)]) -> Rig {
    let plan = Plan::nodes(2);
    let mut versions = Versions::default();
    caps.iter().for_each(|(api, most)| versions.cap(*api, *most));
    let options = Options { topic_ids: true, versions, ..plan.options.clone() };
    Rig::new(&Plan { options, ..plan })
}

/// Delivers, also when the leader moves, and asks in these versions.
fn works(rig: &Rig, expected: [(Api, i16); 2]) {
    rig.send(5);
    rig.wait_delivered(5);
    rig.broker.move_leader(&rig.topic, 0, 2);
    rig.send(5);
    rig.wait_delivered(10);
    for (api, version) in expected {
        let asked: Vec<_> = rig.requests(api).iter().map(|seen| seen.version).collect();
        assert!(asked.iter().all(|asked| *asked == version), "{api:?} in version {version}, not {asked:?}");
        // The log is read back by a client that wants more.
        rig.broker.cap_version(api, i16::MAX);
    }
    rig.assert_whole();
}

#[test]
fn newest_versions_are_used_where_they_are_known() {
    works(&capped(&[]), [(Api::Produce, 13), (Api::Metadata, 12)]);
}

#[test]
fn versions_are_agreed_on_downwards() {
    let cases = [
        (vec![(Api::Produce, 12)], 12, 12),
        (vec![(Api::Produce, 9)], 9, 12),
        (vec![(Api::Produce, 3), (Api::Metadata, 1), (Api::InitProducerId, 0)], 3, 1),
        // Without ids in Metadata there are none to ask by.
        (vec![(Api::Metadata, 8)], 12, 8),
        (vec![(Api::Metadata, 9), (Api::Produce, 8)], 8, 9),
    ];
    in_parallel(&cases, |(caps, produce, metadata)| {
        works(&capped(caps), [(Api::Produce, *produce), (Api::Metadata, *metadata)]);
    });
}

#[test]
fn greeting_that_is_too_new_is_repeated_in_a_version_that_is_known() {
    for most in [0, 2, 3] {
        let rig = capped(&[(Api::ApiVersions, most)]);
        works(&rig, [(Api::ApiVersions, most), (Api::Produce, 13)]);
    }
}

#[test]
fn greeting_that_is_refused_is_repeated_in_version_0() {
    let rig = Rig::new(&Plan::faults(Api::ApiVersions, 1, &Fault::Error(35)));
    rig.send(5);
    rig.assert_whole();
    let asked: Vec<_> = rig.requests(Api::ApiVersions).iter().map(|seen| seen.version).collect();
    assert_eq!(asked[..2], [4, 0]);
}

#[test]
fn broker_that_is_too_old_is_named_and_used_once_it_is_new_enough() {
    let rig = capped(&[(Api::Produce, 2)]);
    rig.send(3);
    rig.wait_held(3);
    crate::support::wait_for("it is said", || (rig.lines("Kafka 0.11 or later is needed") == 1).then_some(()));
    rig.broker.cap_version(Api::Produce, 13);
    rig.assert_whole();
    assert_eq!(rig.lines("Kafka 0.11 or later is needed"), 1);
}
