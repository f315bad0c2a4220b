//! Logins against the simulated cluster.

use super::tests::spec;
use super::*;
use crate::kafka::security::{Credentials, Mechanism, Secret, Security};
use crate::kafka::sim::{Sim, Weather};
use crate::kafka::sim_sasl::Guard;

fn sim() -> Sim {
    sim_with(ShipperOptions::default())
}

fn sim_with(options: ShipperOptions) -> Sim {
    let slots = vec![vec![0u8; 16 * 1024]; 8];
    Sim::new(1, Shipper::new(slots, options), Weather::default())
}

fn credentials(mechanism: Mechanism, password: &str) -> Option<Credentials> {
    Some(Credentials { mechanism, user: "alice".to_owned(), password: Secret::new(password) })
}

fn guard() -> Guard {
    Guard {
        user: "alice".to_owned(),
        password: "alice-secret".to_owned(),
        mechanisms: vec!["PLAIN", "SCRAM-SHA-256"],
        iterations: 4_096,
        ..Guard::default()
    }
}

/// A lane to two bootstrap addresses, of which the first is told `first` and the second `second`.
fn lane(sim: &mut Sim, first: Option<Credentials>, second: Option<Credentials>) -> LaneId {
    let security = Security { sasl: vec![first, second], tls: None };
    let sink = sim.shipper.sink(&SinkSpec { security, ..spec() });
    sim.shipper.lane(&LaneSpec::new(sink, "t"))
}

fn same(sim: &mut Sim, one: Option<Credentials>) -> LaneId {
    lane(sim, one.clone(), one)
}

#[test]
fn brokers_learnt_from_metadata_are_told_what_the_one_that_named_them_was() {
    for mechanism in [Mechanism::Plain, Mechanism::ScramSha256] {
        let mut sim = sim();
        sim.create("t", 3, 0);
        sim.sasl = Some(guard());
        let lane = same(&mut sim, credentials(mechanism, "alice-secret"));
        for _ in 0..20 {
            sim.append(lane, 1_000);
            sim.run(5);
        }
        sim.drain(10_000);
        sim.assert_exactly_once("t", lane);
        assert_eq!(sim.reports, []);
        assert_eq!(sim.sasl.as_ref().map(|guard| guard.refused), Some(0));
    }
}

#[test]
fn a_wrong_password_is_said_once_holds_the_records_and_is_tried_at_a_walk() {
    for mechanism in [Mechanism::Plain, Mechanism::ScramSha256] {
        let mut sim = sim();
        sim.sasl = Some(guard());
        let lane = same(&mut sim, credentials(mechanism, "guessed"));
        sim.append(lane, 10);
        sim.run(20_000);
        assert_eq!(sim.reports.len(), 1, "{:?}", sim.reports);
        let text = &sim.reports[0].1;
        let begin = format!("failed to do {} auth with broker-", mechanism.name());
        for part in [begin.as_str(), ":9092: Authentication failed: Invalid username or password", "check mechanism"] {
            assert!(text.contains(part), "{text}");
        }
        assert!(!text.contains("guessed"), "{text}");
        assert!(sim.connects < 60, "{} connections in 20 s", sim.connects);
        // The operator sets the user's password in Kafka.
        sim.sasl.as_mut().expect("guarded").password = "guessed".to_owned();
        sim.drain(10_000);
        sim.assert_exactly_once("t", lane);
        assert_eq!(sim.reports.len(), 2, "{:?}", sim.reports);
    }
}

#[test]
fn the_address_with_good_credentials_serves_when_the_other_has_bad_ones() {
    let mut sim = sim();
    sim.sasl = Some(guard());
    let bad = credentials(Mechanism::Plain, "guessed");
    let lane = lane(&mut sim, bad, credentials(Mechanism::ScramSha256, "alice-secret"));
    sim.append(lane, 10);
    sim.drain(10_000);
    sim.assert_exactly_once("t", lane);
    assert_eq!(sim.reports, []);
}

#[test]
fn a_session_is_renewed_before_it_ends_and_no_connection_is_lost() {
    let mut sim = sim();
    sim.create("t", 1, 0);
    sim.sasl = Some(Guard { lifetime_ms: 2_000, ..guard() });
    let lane = same(&mut sim, credentials(Mechanism::ScramSha256, "alice-secret"));
    sim.append(lane, 10);
    sim.run(1_000);
    let (connects, logins) = (sim.connects, sim.sasl.as_ref().expect("guarded").logins);
    for _ in 0..1_000 {
        sim.append(lane, 100);
        sim.run(20);
    }
    sim.drain(5_000);
    sim.assert_exactly_once("t", lane);
    let open = sim.shipper.stats().connections;
    let renewed = sim.sasl.as_ref().expect("guarded").logins - logins;
    assert_eq!(sim.connects, connects);
    assert!((10 * open..=12 * open).contains(&renewed), "{renewed} renewals of {open} connections in 20 s");
    assert_eq!((sim.reports.len(), sim.shipper.stats().batches_retried), (0, 0));
}

#[test]
fn a_broker_that_does_not_know_the_password_gets_no_record() {
    let mut sim = sim();
    sim.create("t", 1, 0);
    sim.sasl = Some(Guard { impostor: true, ..guard() });
    let lane = same(&mut sim, credentials(Mechanism::ScramSha256, "alice-secret"));
    sim.append(lane, 10);
    sim.run(10_000);
    assert_eq!(sim.shipper.held_entries(), 1);
    assert_eq!(sim.reports.len(), 1, "{:?}", sim.reports);
    assert!(sim.reports[0].1.contains("signature is wrong"), "{:?}", sim.reports);
}

#[test]
fn hashing_is_done_in_pieces_and_once_for_all_connections() {
    let mut sim = sim();
    sim.create("t", 3, 0);
    sim.sasl = Some(Guard { iterations: 8_192, ..guard() });
    let lane = same(&mut sim, credentials(Mechanism::ScramSha256, "alice-secret"));
    for _ in 0..30 {
        sim.append(lane, 1_000);
        sim.run(10);
    }
    sim.drain(5_000);
    sim.assert_exactly_once("t", lane);
    assert!(sim.sasl.as_ref().expect("guarded").logins > 1);
    assert_eq!(sim.shipper.sinks[0].salted.len(), 1);
}

#[test]
fn what_the_listener_wants_instead_is_said() {
    let cases: [(Option<Guard>, Option<Credentials>, &str); 4] = [
        (None, credentials(Mechanism::Plain, "p"), "this listener has no SASL"),
        (Some(guard()), None, "does this listener want SASL?"),
        (Some(guard()), credentials(Mechanism::ScramSha512, "p"), "the broker takes PLAIN, SCRAM-SHA-256 here"),
        (Some(Guard { iterations: 100, ..guard() }), credentials(Mechanism::ScramSha256, "p"), "fewer than the 4096"),
    ];
    for (guard, credentials, expected) in cases {
        let mut sim = sim();
        sim.sasl = guard;
        let lane = same(&mut sim, credentials);
        sim.append(lane, 10);
        sim.run(10_000);
        assert_eq!(sim.reports.len(), 1, "{:?}", sim.reports);
        assert!(sim.reports[0].1.contains(expected), "{expected}: {:?}", sim.reports);
        assert_eq!(sim.shipper.held_entries(), 1);
    }
}

#[test]
fn a_broker_that_never_ends_its_login_is_left_after_the_connect_timeout() {
    // KIP-601: whatever a single request may take.
    let mut sim = sim_with(ShipperOptions { request_timeout_ms: 60_000, ..ShipperOptions::default() });
    sim.sasl = Some(guard());
    let lane = same(&mut sim, credentials(Mechanism::Plain, "alice-secret"));
    sim.silent_sasl = true;
    sim.append(lane, 10);
    sim.run(11_000);
    assert_eq!(sim.reports.len(), 1, "{:?}", sim.reports);
    assert!(sim.reports[0].1.contains("no answer in time"), "{:?}", sim.reports);
    sim.silent_sasl = false;
    sim.drain(12_000);
    sim.assert_exactly_once("t", lane);
}

#[test]
fn a_corrected_password_takes_along_what_waits_for_the_old_one() {
    let mut sim = sim();
    sim.create("t", 2, 0);
    sim.sasl = Some(guard());
    let wrong = same(&mut sim, credentials(Mechanism::Plain, "guessed"));
    sim.append(wrong, 10);
    sim.run(3_000);
    let right = same(&mut sim, credentials(Mechanism::ScramSha256, "alice-secret"));
    sim.append(right, 10);
    sim.run(3_000);
    assert_eq!(sim.shipper.held_entries(), 1, "a route that still has the old one is not corrected behind its back");
    sim.shipper.retire(wrong);
    sim.drain(5_000);
    sim.assert_exactly_once("t", wrong);
    sim.assert_exactly_once("t", right);
    let again = same(&mut sim, credentials(Mechanism::Plain, "guessed"));
    sim.append(again, 10);
    sim.run(3_000);
    assert_eq!(sim.shipper.held_entries(), 1, "what is wrong again is refused again");
}
